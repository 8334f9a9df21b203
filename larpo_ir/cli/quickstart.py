"""The embedded default: align a small policy with four objectives and show what an IR researcher asks.

One SFT policy per seed (`larpo_ir.tasks.arithmetic`: three-step word problems, demonstrated by a class that
misreads some of them), aligned with each objective from the same first candidates, measured on held-out problems.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from larpo_ir.data.files import write_atomically
from larpo_ir.data.options import whole
from larpo_ir.data.results import rank_results
from larpo_ir.evaluation.workers import idle_cores, one_thread, side_by_side

if TYPE_CHECKING:
    from larpo_ir.alignment.loop import AlignConfig
    from larpo_ir.models.generators import Generator
    from larpo_ir.rewards import Reranker

logger = logging.getLogger("larpo_ir")

OBJECTIVES = ("dpo", "larpo_contrastive", "larpo_lambdarank", "larpo_listmle")
COMPARED = {"pass@1": "Pass@1", "greedy_accuracy": "greedy"}


@dataclass
class QuickstartConfig:
    """Size and settings of the quickstart; the defaults are what `make quickstart` runs."""

    output: str = "runs/quickstart"
    seeds: int = 1
    objectives: list[str] = field(default_factory=lambda: list(OBJECTIVES))
    num_demonstrations: int = 24_000
    num_prompts: int = 800
    num_held_out: int = 200
    num_candidates: int = 8
    iterations: int = 3
    beta: float = 1.0
    learning_rate: float = 1e-4
    epochs: float = 2
    batch_size: int = 16

    def __post_init__(self) -> None:
        from larpo_ir.objectives import get_objective

        for name in (
            "seeds",
            "num_demonstrations",
            "num_prompts",
            "num_held_out",
            "num_candidates",
            "iterations",
        ):
            whole(getattr(self, name), name, 1)
        for objective in self.objectives:
            get_objective(objective)


@dataclass
class SeedResult:
    """What one seed gave: per-prompt measures of the SFT policy and of each aligned policy, and the strategies."""

    seed: int
    sft: pd.DataFrame
    aligned: dict[str, pd.DataFrame]
    strategies: pd.DataFrame


def quickstart(config: QuickstartConfig) -> Path:
    """Run it all; returns the directory, where `report.md` holds the tables and `pass_at_n.png` the picture.

    Objectives are aligned side by side, in one single-threaded process per core: the model is so small that
    threads would wait for each other.
    """
    from larpo_ir.provenance.outputs import environment, record_made

    output, start = Path(config.output), time.perf_counter()
    made_from = dataclasses.asdict(config)
    if _is_reported(output / "report.md", made_from):
        return output
    results = []
    for seed in range(config.seeds):
        directory = output / f"seed-{seed}"
        first = prepare(config, seed, directory)
        calls = [partial(align_objective, config, seed, name, directory) for name in config.objectives]
        measures = dict(zip(config.objectives, side_by_side(calls, idle_cores()), strict=True))
        sft = next(iter(measures.values()))[0]
        aligned = {name: per_query[-1] for name, per_query in measures.items()}
        results.append(SeedResult(seed, sft, aligned, compare_strategies(first, config.num_candidates)))
    table = compare_policies(results)
    strategies = pd.concat(
        [result.strategies.assign(seed=result.seed) for result in results], ignore_index=True
    )
    minutes = (time.perf_counter() - start) / 60
    write_atomically(
        output / "report.md",
        _report(config, table, mean_over_seeds(results), strategies, environment(), minutes),
    )
    table.to_csv(output / "summary.csv", index=False)
    strategies.to_csv(output / "strategies.csv", index=False)
    _figure(results, output / "pass_at_n.png")
    record_made(output / "report.md", made_from)
    return output


def _is_reported(report: Path, made_from: dict[str, Any]) -> bool:
    """Whether the report is there. It may grow, by seeds, objectives and iterations, and lose nothing."""
    from larpo_ir.provenance.outputs import config_beside, made_already, read_config

    growing = ("seeds", "iterations", "objectives")
    made_already(report, made_from, free=("output", *growing))
    if not report.exists():
        return False
    before = read_config(config_beside(report))
    same = all(before[name] == made_from[name] for name in growing)
    lost = set(before["objectives"]) - set(made_from["objectives"])
    if lost or any(before[name] > made_from[name] for name in ("seeds", "iterations")):
        raise ValueError(
            f"{report} has more objectives, seeds or iterations than are asked for now; choose another output"
        )
    return same


def prepare(config: QuickstartConfig, seed: int, directory: Path) -> Path:
    """The SFT policy of a seed, its measures and its first candidates: what all objectives start from."""
    from larpo_ir.alignment.loop import retrieve
    from larpo_ir.tasks import arithmetic

    with one_thread():
        logger.info(f"seed {seed}: training the SFT policy")
        arithmetic.sft_policy(directory / "sft", seed=seed, num_demonstrations=config.num_demonstrations)
        logger.info(f"seed {seed}: measuring it and sampling its candidates")
        return retrieve(
            *parts(config, seed, directory),
            settings(config, seed, directory / "sft-candidates", "dpo"),
            eval_prompts=problems(config, seed, held_out=True),
        )


def align_objective(
    config: QuickstartConfig, seed: int, objective: str, directory: Path
) -> list[pd.DataFrame]:
    """Align the seed's SFT policy with one objective; per-prompt measures before and after every iteration."""
    from larpo_ir.alignment.loop import align

    result = align(
        *parts(config, seed, directory),
        settings(config, seed, directory / objective, objective),
        eval_prompts=problems(config, seed, held_out=True),
        start_from=directory / "sft-candidates",
    )
    return result.per_query


def parts(config: QuickstartConfig, seed: int, directory: Path) -> tuple[Generator, Reranker, pd.DataFrame]:
    from larpo_ir.models.generators import Generator
    from larpo_ir.rewards import VerifiableReward
    from larpo_ir.tasks.arithmetic import MAX_NEW_TOKENS
    from larpo_ir.tasks.gsm8k import is_correct

    generator = Generator(str(directory / "sft"), max_new_tokens=MAX_NEW_TOKENS, batch_size=400)
    return generator, VerifiableReward(is_correct), problems(config, seed)


def problems(config: QuickstartConfig, seed: int, held_out: bool = False) -> pd.DataFrame:
    from larpo_ir.tasks import arithmetic

    return arithmetic.topics(
        config.num_held_out if held_out else config.num_prompts, seed=seed, held_out=held_out
    )


def settings(config: QuickstartConfig, seed: int, directory: Path, objective: str) -> AlignConfig:
    from larpo_ir.alignment.loop import AlignConfig

    return AlignConfig(
        output_dir=str(directory),
        task="arithmetic",
        objective=objective,
        objective_parameters={"beta": config.beta},
        iterations=config.iterations,
        num_candidates=config.num_candidates,
        training={
            "learning_rate": config.learning_rate,
            "num_train_epochs": config.epochs,
            "per_device_train_batch_size": config.batch_size,
        },
        seed=seed,
    )


def compare_strategies(run: Path, n: int) -> pd.DataFrame:
    """Inference strategies of the SFT policy on its own held-out samples, as pipelines in `pt.Experiment`.

    Greedy is the retriever alone; the others rerank the first `n` of its samples: by majority, by likelihood, by
    the verifier (Best-of-n with a perfect reward model). Measure: share of problems answered correctly
    (Success@1), against greedy with a paired t-test, Holm-corrected.
    """
    import pyterrier as pt
    from ir_measures import Success

    from larpo_ir.evaluation.measures import judge
    from larpo_ir.rewards import LogProb, MajorityVote

    greedy = pd.read_parquet(run / "iteration-00" / "held_out_greedy.parquet")
    samples = pd.read_parquet(run / "iteration-00" / "held_out_samples.parquet")
    samples = samples[samples["draw"] < n].reset_index(drop=True)
    in_order_drawn = samples.assign(score=-samples["draw"].astype(float), rank=samples["draw"])
    systems = {
        "greedy": greedy,
        "one sample": in_order_drawn,
        f"most likely of {n}": LogProb().transform(in_order_drawn),
        f"majority of {n}": MajorityVote().transform(in_order_drawn),
        f"best of {n}": rank_results(samples.assign(rank=samples["draw"])),
    }
    qrels = judge([greedy, samples])
    # Only the first rank counts; handing over strictly ordered scores keeps ties out of the backend's hands.
    runs = [frame.assign(score=-frame["rank"].astype(float)) for frame in systems.values()]
    runs = [
        frame[["qid", "query", "docno", "score", "rank"]].drop_duplicates(["qid", "docno"]) for frame in runs
    ]
    table = pt.Experiment(
        runs,
        greedy[["qid", "query"]].drop_duplicates("qid"),
        qrels,
        [Success @ 1],
        names=list(systems),
        baseline=0,
        correction="holm",
    )
    return pd.DataFrame(
        {
            "strategy": table["name"],
            "correct": table["Success@1"],
            "won": table["Success@1 +"],
            "lost": table["Success@1 -"],
            "p (Holm)": table["Success@1 p-value corrected"],
        }
    )


def compare_policies(results: Sequence[SeedResult]) -> pd.DataFrame:
    """One row per seed and objective: before and after with 95 % intervals, and the paired test of the change."""
    from larpo_ir.evaluation.significance import compare, summarise
    from larpo_ir.evaluation.tables import interval

    rows = []
    for result in results:
        before = summarise(result.sft)
        for objective, per_query in result.aligned.items():
            after = summarise(per_query)
            test = compare(per_query[list(COMPARED)], result.sft[list(COMPARED)])
            row: dict[str, Any] = {"seed": result.seed, "objective": objective}
            for measure, name in COMPARED.items():
                row[f"{name} before"] = interval(before.loc[measure])
                row[f"{name} after"] = interval(after.loc[measure])
                row[f"{name} p"] = f"{test.loc[measure, 'p_value']:.4f}"
            was = before.loc["pass@1", "mean"]
            row["Pass@1 ratio"] = f"{after.loc['pass@1', 'mean'] / was:.2f}" if was else "–"
            for measure in ("pass@8", "pass@16"):
                if measure in after.index:
                    row[measure.capitalize()] = (
                        f"{before.loc[measure, 'mean']:.3f} → {after.loc[measure, 'mean']:.3f}"
                    )
            row["log π(best)"] = " → ".join(
                f"{frame.loc['best_logprob', 'mean']:.2f}" for frame in (before, after)
            )
            gamma = "implicit_nDCG@10"  # absent when nothing could be learnt: the policy did not move
            row["nDCG@10 of γ"] = interval(after.loc[gamma] if gamma in after.index else None)
            rows.append(row)
    return pd.DataFrame(rows)


def mean_over_seeds(results: Sequence[SeedResult]) -> pd.DataFrame:
    """One row per objective: each compared measure before and after, averaged over the seeds."""
    rows = []
    for objective in results[0].aligned:
        row: dict[str, Any] = {"objective": objective}
        for measure, name in COMPARED.items():
            before = [result.sft[measure].mean() for result in results]
            after = [result.aligned[objective][measure].mean() for result in results]
            row[name] = f"{sum(before) / len(before):.3f} → {sum(after) / len(after):.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def _figure(results: Sequence[SeedResult], path: Path) -> None:
    from larpo_ir.evaluation.figures import Panel, curves_figure, save_figure
    from larpo_ir.evaluation.tables import curve

    panels = []
    for objective in results[0].aligned:
        before = pd.concat([result.sft for result in results], ignore_index=True)
        after = pd.concat([result.aligned[objective] for result in results], ignore_index=True)
        panels.append(Panel(objective, {"before": curve(before), "after": curve(after)}))
    save_figure(curves_figure(panels, "Pass@N on held-out problems, before and after alignment"), path)


def _report(
    config: QuickstartConfig,
    table: pd.DataFrame,
    means: pd.DataFrame,
    strategies: pd.DataFrame,
    environment: dict[str, Any],
    minutes: float,
) -> str:
    from larpo_ir.evaluation.tables import markdown_table

    seeds = "one SFT policy" if config.seeds == 1 else f"{config.seeds} SFT policies (seeds)"
    wide = strategies.pivot(index="strategy", columns="seed", values="correct")
    wide = wide.reindex(strategies["strategy"].unique()).add_prefix("seed ")
    tests = strategies.pivot(index="strategy", columns="seed", values="p (Holm)").add_prefix("p, seed ")
    tests = tests.map(lambda p: "–" if pd.isna(p) else "< 0.0001" if p < 0.0001 else f"{p:.4f}")
    packages = {name: version for name, version in environment["packages"].items() if version}
    return "\n".join(
        [
            "# Quickstart: alignment as retrieval on three-step word problems\n",
            f"{seeds}, {config.num_prompts} training and {config.num_held_out} held-out problems, "
            f"{config.num_candidates} candidates per problem at T = 1, {config.iterations} iterations, "
            f"β = {config.beta}, learning rate {config.learning_rate}, {config.epochs} epochs per iteration. "
            "Brackets: 95 % bootstrap intervals over problems; p: paired randomisation test, after against "
            "before.\n",
            "## Before and after alignment\n",
            markdown_table(table),
            "Pass@1: one sample at T = 1. log π(best): mean log-probability, in nats, of the best of the SFT "
            "policy's own samples, where some are better than others; a fall is likelihood displacement. nDCG@10 of "
            "γ: the implicit reward ranks these samples.\n",
            *(["Mean over seeds:\n", markdown_table(means)] if config.seeds > 1 else []),
            "## Inference strategies of the SFT policy\n",
            "Share of held-out problems answered correctly; p: paired t-test against greedy, Holm-corrected.\n",
            markdown_table(wide.join(tests.loc[wide.index]).reset_index()),
            "![Pass@N before and after](pass_at_n.png)\n",
            f"{minutes:.1f} minutes on {environment['cpu_cores']} cores, Python {environment['python']}, "
            + ", ".join(f"{name} {version}" for name, version in packages.items())
            + ".\n",
        ]
    )
