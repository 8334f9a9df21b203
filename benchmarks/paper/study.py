"""A table or figure of the paper: its conditions, the paper's numbers and claims, and the way to run it here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.paper.claims import Claim, judge_claims
from benchmarks.paper.evaluations import evaluated, joint_leaderboard
from benchmarks.paper.setup import Setup, merged
from larpo_ir.data.files import write_atomically
from larpo_ir.evaluation.figures import save_figure
from larpo_ir.evaluation.studies import Condition, Study, study
from larpo_ir.evaluation.tables import count
from larpo_ir.evaluation.workers import side_by_side
from larpo_ir.models.distributed import is_main_process
from larpo_ir.provenance import RunDirectory

START = "SFT"  # the policy before alignment
MEASURES = {
    "pass@1": "Pass@1",
    "greedy_accuracy": "greedy",
    "pass@16": "Pass@16",
    "best_logprob": "log π(best)",
}
"""Per-prompt measures of a policy (`larpo_ir.alignment.heldout`), with their names in tables."""

Overrides = Mapping[str, Any]


@dataclass(frozen=True)
class PaperStudy(ABC):
    """One experiment of the paper, in a file of this folder.

    `name`: name of its configurations; `title`: property in which its conditions differ; `heading` and `what`: text
    of the page; `claims`: the paper's claims; `reported`: the paper's numbers, by condition and column; `figure`:
    draws a figure in place of the study's own.
    """

    name: str
    title: str
    heading: str
    what: str
    claims: tuple[Claim, ...] = ()
    reported: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    figure: Callable[[Study], Figure] | None = None

    @abstractmethod
    def shared(self, setup: Setup, seed: int) -> list[list[Callable[[], None]]]:
        """Calls to finish before any condition can run: stages, each with calls that can run side by side."""

    @abstractmethod
    def conditions(self, setup: Setup) -> dict[str, Condition]:
        """Conditions in the order of the table, the baseline first."""

    def note(self, setup: Setup, seeds: int) -> str:
        """Problems and seeds of the measurement, for the line above the table."""
        return (
            f"{len(setup.held_out)} held-out problems, {count(seeds, 'seed')} (policies and training prompts)"
        )

    def run(
        self, setup: Setup, output: Path, seeds: int, workers: int = 1, only: Sequence[str] | None = None
    ) -> Study:
        """Run conditions without values on disk and write the study, with `claims.csv`. `only`: some conditions."""
        chosen, first = self._chosen(setup, only), setup.first_seed
        for stage in zip(*(self.shared(setup, first + seed) for seed in range(seeds)), strict=True):
            side_by_side([call for calls in stage for call in calls], workers)
        settings = {key: value for key, value in asdict(setup).items() if key not in ("name", "root")}
        note = f"{self.note(setup, seeds)}.\n"
        result = study(self.title, chosen, output, seeds=seeds, settings=settings, note=note, workers=workers)
        if is_main_process():
            self._write(result, output)
        return result

    def _chosen(self, setup: Setup, only: Sequence[str] | None) -> dict[str, Condition]:
        """All conditions, or the baseline and those in `only`. Their seeds begin with the setup's first seed."""
        conditions = self.conditions(setup)
        if unknown := set(only or ()) - set(conditions):
            raise ValueError(
                f"{self.name} has no condition {', '.join(sorted(unknown))}; there are {', '.join(conditions)}"
            )
        return {
            name: partial(_from_seed, setup.first_seed, condition)
            for number, (name, condition) in enumerate(conditions.items())
            if only is None or name in only or number == 0
        }

    def _write(self, result: Study, output: Path) -> None:
        if self.figure is not None:
            save_figure(self.figure(result), output / "figure.png")
        write_atomically(output / "claims.csv", judge_claims(result, self.claims).to_csv(index=False))
        if (board := joint_leaderboard(output)) is not None:
            write_atomically(output / "leaderboard.csv", board.to_csv(index=False))


@dataclass(frozen=True)
class Alignments(PaperStudy):
    """Policies aligned from one start; `overrides`: each condition's changes of the setup's `align` options."""

    overrides: Mapping[str, Overrides] = field(default_factory=dict)

    def of(self, setup: Setup) -> dict[str, Overrides]:
        """Overrides of each condition; those of the setup come last and prevail."""
        if unknown := set(setup.conditions) - set(self.overrides):
            raise ValueError(
                f"{setup.name}: no condition {', '.join(sorted(unknown))}; there are {', '.join(self.overrides)}"
            )
        return {name: merged(mine, setup.conditions.get(name, {})) for name, mine in self.overrides.items()}

    def shared(self, setup: Setup, seed: int) -> list[list[Callable[[], None]]]:
        samples = {setup.candidates(overrides, seed): overrides for overrides in self.of(setup).values()}
        return [
            [partial(setup.train_policy, seed)],
            [partial(setup.retrieve, overrides, seed) for overrides in samples.values()],
        ]

    def conditions(self, setup: Setup) -> dict[str, Condition]:
        of = self.of(setup)
        first = next(iter(of.values()))
        aligned = {name: partial(align_under, setup, overrides) for name, overrides in of.items()}
        return {START: partial(measure_start, setup, first), **aligned}


@dataclass(frozen=True)
class Measurements(PaperStudy):
    """Measurements of policies as they are, by `measured[condition](setup, seed, folder)`.

    `made`: further calls (setup, seed), one after the other, once the policy before alignment exists.
    """

    measured: Mapping[str, Callable[[Setup, int, Path], pd.DataFrame]] = field(default_factory=dict)
    made: tuple[Callable[[Setup, int], None], ...] = ()

    def shared(self, setup: Setup, seed: int) -> list[list[Callable[[], None]]]:
        makes: list[Callable[[], None]] = [partial(make, setup, seed) for make in self.made]
        return [[partial(setup.train_policy, seed)], *([make] for make in makes)]

    def conditions(self, setup: Setup) -> dict[str, Condition]:
        return {name: partial(measure, setup) for name, measure in self.measured.items()}


def _from_seed(first: int, condition: Condition, seed: int, folder: Path) -> pd.DataFrame:
    return condition(first + seed, folder)


def measure_start(setup: Setup, overrides: Overrides, seed: int, folder: Path) -> pd.DataFrame:
    """Measures of the policy before alignment."""
    per_query = pd.read_parquet(RunDirectory(setup.candidates(overrides, seed)).frame_file(0, "per_query"))
    generator = setup.parts(seed)[0] if setup.evaluations else None
    return _measures(setup, generator, per_query, folder)


def align_under(setup: Setup, overrides: Overrides, seed: int, folder: Path) -> pd.DataFrame:
    """Measures of the policy after alignment."""
    generator, per_query = setup.run(overrides, seed, folder)
    return _measures(setup, generator, per_query, folder)


def _measures(setup: Setup, generator: Any, per_query: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Rows of the evaluations, one per item, then rows of prompts with `MEASURES` under their names in tables.

    If rewards do not tell right from wrong, their mean takes the place of accuracies.
    """
    measures = MEASURES if "pass@1" in per_query else {"reward_mean": "mean reward", **MEASURES}
    there = {column: name for column, name in measures.items() if column in per_query}
    shown = per_query[list(there)].rename(columns=there)
    found = evaluated(generator, setup.evaluations, folder)
    return shown if found.empty else pd.concat([found, shown])


def sampler(name: str, **options: Any) -> dict[str, Any]:
    """A sampler of `larpo_ir.data.negatives` as a configuration names it."""
    return {"class_path": f"larpo_ir.data.negatives.{name}", "init_args": options}
