"""A table of ways to rank held-out, graded lists: baselines, and policies before and after alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from larpo_ir.alignment.heldout import ranking_of
from larpo_ir.evaluation.significance import summarise
from larpo_ir.evaluation.tables import interval, markdown_table

if TYPE_CHECKING:
    from larpo_ir.alignment.loop import AlignResult

NUM_SHUFFLES = 20


def ranking_table(results: Mapping[str, AlignResult]) -> str:
    """Agreement of each way of ranking the held-out lists with their grades, as Markdown; baselines come first."""
    lists = _lists_of(next(iter(results.values())))
    rng = np.random.default_rng(0)
    shuffles = [ranking_of(lists, rng.random(len(lists))) for _ in range(NUM_SHUFFLES)]
    rows = {
        f"random order (mean of {NUM_SHUFFLES})": sum(shuffles[1:], shuffles[0]) / len(shuffles),
        "longest first": ranking_of(lists, lists["text"].str.len()),
        "before: log π": ranking_of(lists, lists["initial"]),
    }
    for name, result in results.items():
        after = _lists_of(result)
        rows[f"{name}: log π"] = ranking_of(after, after["now"])
        rows[f"{name}: implicit reward"] = ranking_of(after, after["implicit"])
    table = pd.DataFrame([{"ranked by": name, **_intervals(values)} for name, values in rows.items()])
    return (
        "# Held-out lists ranked against their grades\n\n"
        f"{lists['qid'].nunique()} lists, {len(lists)} responses; mean and 95 % bootstrap interval over lists. "
        "Before alignment the implicit reward is 0 for every response, so its order is random.\n\n"
        + markdown_table(table)
    )


def _lists_of(result: AlignResult) -> pd.DataFrame:
    """The held-out lists with log π before alignment (`initial`) and `now`, and the `implicit` reward."""
    lists = result.held_out.lists
    assert lists is not None
    return lists


def _intervals(values: pd.DataFrame) -> dict[str, str]:
    """Mean and interval of each measure, as they are printed."""
    return {str(measure): interval(row) for measure, row in summarise(values).iterrows()}
