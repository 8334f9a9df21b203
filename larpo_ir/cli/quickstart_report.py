"""Report of the quickstart: tables of policies and of inference strategies, and a figure of Pass@N."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyterrier as pt
from ir_measures import Success

from larpo_ir.data.files import write_atomically
from larpo_ir.data.results import rank_results
from larpo_ir.evaluation.figures import Panel, curves_figure, save_figure
from larpo_ir.evaluation.measures import judge
from larpo_ir.evaluation.significance import compare, summarise
from larpo_ir.evaluation.tables import curve, interval, markdown_table
from larpo_ir.provenance.outputs import environment
from larpo_ir.provenance.run_directory import RunDirectory
from larpo_ir.rewards import LogProb, MajorityVote

if TYPE_CHECKING:
    from larpo_ir.cli.quickstart import QuickstartConfig

COMPARED = {"pass@1": "Pass@1", "greedy_accuracy": "greedy"}
OF_MANY = ("pass@8", "pass@16")  # measures that are shown where they were taken, without a test


@dataclass
class SeedResult:
    """Results of one seed: per-prompt measures of the SFT policy and of each aligned policy, and the strategies."""

    seed: int
    sft: pd.DataFrame
    aligned: dict[str, pd.DataFrame]
    strategies: pd.DataFrame


def write_report(
    config: QuickstartConfig, results: Sequence[SeedResult], output: Path, minutes: float
) -> None:
    """Write `report.md`, the CSV files of its tables and the figure."""
    table = compare_policies(results)
    strategies = pd.concat(
        [result.strategies.assign(seed=result.seed) for result in results], ignore_index=True
    )
    report = _report(config, table, mean_over_seeds(results), strategies, environment(), minutes)
    write_atomically(output / "report.md", report)
    table.to_csv(output / "summary.csv", index=False)
    strategies.to_csv(output / "strategies.csv", index=False)
    _figure(results, output / "pass_at_n.png")


def compare_strategies(run: Path, n: int) -> pd.DataFrame:
    """Inference strategies of the SFT policy on its own held-out samples, as pipelines in `pt.Experiment`.

    Greedy is the retriever alone; the others rerank the first `n` of its samples: by majority, by likelihood, by
    the verifier (Best-of-n with a perfect reward model). Measure: share of problems answered correctly
    (Success@1), against greedy with a paired t-test, Holm-corrected.
    """
    greedy, samples = (
        pd.read_parquet(RunDirectory(run).frame_file(0, name))
        for name in ("held_out_greedy", "held_out_samples")
    )
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
    rows = []
    for result in results:
        before = summarise(result.sft)
        for objective, per_query in result.aligned.items():
            after = summarise(per_query)
            test = compare(per_query[list(COMPARED)], result.sft[list(COMPARED)])
            rows.append({"seed": result.seed, "objective": objective, **_changes(before, after, test)})
    return pd.DataFrame(rows)


def _changes(before: pd.DataFrame, after: pd.DataFrame, test: pd.DataFrame) -> dict[str, str]:
    """Measures before and after alignment, as they are printed."""
    row: dict[str, str] = {}
    for measure, name in COMPARED.items():
        row[f"{name} before"] = interval(before.loc[measure])
        row[f"{name} after"] = interval(after.loc[measure])
        row[f"{name} p"] = f"{test.loc[measure, 'p_value']:.4f}"
    was = before.loc["pass@1", "mean"]
    row["Pass@1 ratio"] = f"{after.loc['pass@1', 'mean'] / was:.2f}" if was else "–"
    for measure in OF_MANY:
        if measure in after.index:
            row[measure.capitalize()] = _arrow(before, after, measure, ".3f")
    row["log π(best)"] = _arrow(before, after, "best_logprob", ".2f")
    gamma = "implicit_nDCG@10"  # absent when nothing could be learnt: the policy did not move
    row["nDCG@10 of γ"] = interval(after.loc[gamma] if gamma in after.index else None)
    return row


def _arrow(before: pd.DataFrame, after: pd.DataFrame, measure: str, form: str) -> str:
    """The two means of a measure, as `before → after`."""
    return " → ".join(format(frame.loc[measure, "mean"], form) for frame in (before, after))


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
