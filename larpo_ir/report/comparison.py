"""Runs against each other and against the policy before alignment, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from larpo_ir.evaluation.significance import compare, holm
from larpo_ir.provenance.saved_run import SavedRun

BEFORE = "before alignment"


class Outcome(NamedTuple):
    """Numbers of queries on which a system is better than, as good as, and worse than another."""

    wins: int
    ties: int
    losses: int

    def __str__(self) -> str:
        return f"{self.wins} / {self.ties} / {self.losses}"


def compare_runs(runs: Sequence[SavedRun]) -> tuple[pd.DataFrame, list[str]]:
    """The last policy of every run against the one before alignment, and of every two runs against each other.

    Returns:
        Frame with `family, measure, system, baseline`, the columns of `larpo_ir.evaluation.significance.compare`
        (means, difference, its interval, p of the paired randomisation test), `wins, ties, losses` counted over
        queries, and `p_holm`, corrected for each measure over the pairs of its `family` (`change` or `runs`). Also a
        list with a line for each two runs that cannot be compared, because their tasks or held-out prompts differ.
    """
    rows = [
        _pair(run.name, run.per_query(run.last), BEFORE, run.per_query(0)).assign(family="change")
        for run in runs
        if run.last
    ]
    queries, notes = {run.name: run.held_out_queries() for run in runs}, []
    for one, other in combinations(runs, 2):
        if one.settings.get("task") != other.settings.get("task"):
            tasks = " and ".join(repr(run.settings.get("task") or "") for run in (one, other))
            notes.append(
                f"{one.name} and {other.name} are of different tasks ({tasks}): not compared per query"
            )
        elif not queries[one.name] or queries[one.name] != queries[other.name]:
            notes.append(
                f"{one.name} and {other.name} have not the same held-out prompts: not compared per query"
            )
        else:
            pair = _pair(one.name, one.per_query(one.last), other.name, other.per_query(other.last))
            rows.append(pair.assign(family="runs"))
    columns = [
        "family",
        "measure",
        "system",
        "baseline",
        "system_mean",
        "baseline_mean",
        "difference",
        "low",
        "high",
    ]
    columns += ["p_value", "p_holm", "wins", "ties", "losses", "num_queries"]
    rows = [row for row in rows if len(row)]
    if not rows:
        return pd.DataFrame(columns=columns), notes
    table = pd.concat(rows, ignore_index=True)
    table["p_holm"] = table.groupby(["family", "measure"])["p_value"].transform(lambda values: holm(values))
    return table[columns], notes


def _pair(system: str, ours: pd.DataFrame, baseline: str, theirs: pd.DataFrame) -> pd.DataFrame:
    """A row for each common measure, on the common queries."""
    measures = [name for name in ours if name in theirs]
    both = ours.index.intersection(theirs.index)
    if not measures or not len(both):
        return pd.DataFrame()
    ours, theirs = (frame.loc[both, measures].astype(float) for frame in (ours, theirs))
    table = compare(ours, theirs).rename(columns={"system": "system_mean", "baseline": "baseline_mean"})
    gain = np.sign((ours - theirs).where(~np.isclose(ours, theirs, equal_nan=True), 0.0))
    gain = gain.where(ours.notna() & theirs.notna())
    for name, sign in (("wins", 1), ("ties", 0), ("losses", -1)):
        table[name] = (gain == sign).sum()
    table = table[table["num_queries"] > 0]
    return table.rename_axis("measure").reset_index().assign(system=system, baseline=baseline)
