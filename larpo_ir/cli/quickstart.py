"""The embedded default: align a small policy with four objectives and show what an IR researcher asks.

One SFT policy per seed (`larpo_ir.tasks.arithmetic`: three-step word problems, demonstrated by a class that
misreads some of them), aligned with each objective from the same first candidates, measured on held-out problems.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from larpo_ir.data.options import whole
from larpo_ir.data.settings import described, documented
from larpo_ir.evaluation.workers import idle_cores, one_thread, side_by_side

if TYPE_CHECKING:
    import pandas as pd

    from larpo_ir.alignment.config import AlignConfig
    from larpo_ir.models.generators import Generator
    from larpo_ir.rewards import Reranker

logger = logging.getLogger("larpo_ir")

OBJECTIVES = ("dpo", "larpo_contrastive", "larpo_lambdarank", "larpo_listmle")
AT_LEAST_ONE = (
    "seeds",
    "num_demonstrations",
    "num_prompts",
    "num_held_out",
    "num_candidates",
    "iterations",
)


@documented
@dataclass
class QuickstartConfig:
    """Size and settings of the quickstart; the defaults are what `make quickstart` runs.

    Raises `ValueError` for unknown objectives (listing the choices) and numbers out of range.
    """

    output: str = field(
        default="runs/quickstart", metadata=described("Run", "folder of the report and of all alignment runs")
    )
    seeds: int = field(
        default=1, metadata=described("Run", "number of SFT policies, each with a seed of its own")
    )
    objectives: list[str] = field(
        default_factory=lambda: list(OBJECTIVES),
        metadata=described("Run", "names of the objectives, each of which aligns every SFT policy"),
    )
    num_demonstrations: int = field(
        default=24_000,
        metadata=described("Size", "number of demonstrations that an SFT policy is trained on"),
    )
    num_prompts: int = field(default=800, metadata=described("Size", "number of problems to align on"))
    num_held_out: int = field(default=200, metadata=described("Size", "number of held-out problems"))
    num_candidates: int = field(
        default=8, metadata=described("Size", "number of responses sampled per problem and iteration")
    )
    iterations: int = field(default=3, metadata=described("Size", "number of iterations of alignment"))
    beta: float = field(default=1.0, metadata=described("Training", "β of every objective"))
    learning_rate: float = field(default=1e-4, metadata=described("Training", "initial learning rate"))
    epochs: float = field(
        default=2, metadata=described("Training", "number of epochs of an iteration, over its training lists")
    )
    batch_size: int = field(
        default=16, metadata=described("Training", "number of training lists in an optimiser step")
    )

    def __post_init__(self) -> None:
        for name in AT_LEAST_ONE:
            whole(getattr(self, name), name, 1)
        from larpo_ir.objectives import get_objective

        if not self.objectives:
            raise ValueError("objectives is empty; name at least one")
        for objective in self.objectives:
            get_objective(objective)


def run_quickstart(**options: Any) -> None:
    """`larpo-ir quickstart`: run it with these fields of `QuickstartConfig`; print the report and names of files."""
    output = quickstart(QuickstartConfig(**options))
    print((output / "report.md").read_text())
    paths = [output / name for name in ("report.md", "summary.csv", "pass_at_n.png")]
    paths += sorted(output.glob("seed-*/*/summary.json"))
    print("written:", *paths, sep="\n  ")


def quickstart(config: QuickstartConfig) -> Path:
    """Run it all; returns the directory, where `report.md` holds the tables and `pass_at_n.png` the picture.

    Objectives are aligned side by side, in one single-threaded process per core: the model is so small that
    threads would wait for each other.
    """
    from larpo_ir.cli.quickstart_report import SeedResult, compare_strategies, write_report
    from larpo_ir.provenance.outputs import record_made

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
    write_report(config, results, output, minutes=(time.perf_counter() - start) / 60)
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
    """Make what all objectives of a seed start from: the SFT policy, its measures and its first candidates."""
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
    """A seed's SFT policy as generator, the verifier as reward, and the training problems."""
    from larpo_ir.models.generators import Generator
    from larpo_ir.rewards import VerifiableReward
    from larpo_ir.tasks.arithmetic import MAX_NEW_TOKENS
    from larpo_ir.tasks.gsm8k import is_correct

    generator = Generator(str(directory / "sft"), max_new_tokens=MAX_NEW_TOKENS, batch_size=400)
    return generator, VerifiableReward(is_correct), problems(config, seed)


def problems(config: QuickstartConfig, seed: int, held_out: bool = False) -> pd.DataFrame:
    """The topics of a seed: word problems to align on, or held-out ones."""
    from larpo_ir.tasks import arithmetic

    return arithmetic.topics(
        config.num_held_out if held_out else config.num_prompts, seed=seed, held_out=held_out
    )


def settings(config: QuickstartConfig, seed: int, directory: Path, objective: str) -> AlignConfig:
    """Settings of the loop for one objective."""
    from larpo_ir.alignment.config import AlignConfig

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
