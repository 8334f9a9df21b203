"""Learning rates of the main table's methods, on policies and problems that no table reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.paper.main_table import STUDY as MAIN_TABLE
from benchmarks.paper.setup import Setup, merged
from benchmarks.paper.study import Alignments

RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)


@dataclass(frozen=True)
class LearningRates(Alignments):
    """Every condition of the main table at every rate."""

    def of(self, setup: Setup) -> dict[str, Mapping[str, Any]]:
        return {
            f"{name}, {rate:g}": merged(overrides, {"training": {"learning_rate": rate}})
            for name, overrides in MAIN_TABLE.of(setup).items()
            for rate in RATES
        }


STUDY = LearningRates(
    name="tuning",
    title="method, learning rate",
    heading="Learning rates",
    what="Every method of the main table at several learning rates, on policies and problems of no other table.",
)
