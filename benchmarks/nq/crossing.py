"""The N at which two curves cross, and tests at their ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from larpo_ir.evaluation.significance import compare, holm


def crossing(lead: ArrayLike, ns: Sequence[int]) -> float:
    """The N at which the second of two curves overtakes the first, which leads at the smallest N; otherwise NaN.

    `lead`: second minus first at each of `ns`, ascending; between them it is linear in log N. If the order
    changes more than once, the last change counts.

    >>> crossing([-0.1, 0.1], [1, 4]), crossing([-0.1, -0.2, 0.2], [1, 4, 16]), crossing([0.1, 0.2], [1, 4])
    (2.0, 8.0, nan)
    """
    lead = np.asarray(lead, dtype=float)
    if lead[0] >= 0 or lead[-1] <= 0:
        return math.nan
    last = int(np.flatnonzero(lead <= 0)[-1])
    share = -lead[last] / (lead[last + 1] - lead[last])
    return float(ns[last] * (ns[last + 1] / ns[last]) ** share)


@dataclass(frozen=True)
class Crossing:
    """The N at which two mean curves cross (`at`, NaN: nowhere), and its spread over resamples of the queries.

    `share` of the resamples cross; `low` and `high` are the 2.5 % and 97.5 % quantiles of their crossings.
    """

    at: float
    low: float
    high: float
    share: float

    @classmethod
    def of(
        cls, first: pd.DataFrame, second: pd.DataFrame, seed: int = 0, num_resamples: int = 5_000
    ) -> Crossing:
        """The crossing of two frames of per-query values with the same queries and columns `measure@N`, ascending."""
        ns = [int(name.split("@")[1]) for name in first]
        leads = (second.loc[first.index, first.columns] - first).to_numpy()
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(len(leads), np.full(len(leads), 1 / len(leads)), size=num_resamples)
        found = np.array([crossing(lead, ns) for lead in weights @ leads / len(leads)])
        found = found[~np.isnan(found)]
        low, high = np.quantile(found, [0.025, 0.975]) if found.size else (math.nan, math.nan)
        return cls(crossing(leads.mean(axis=0), ns), float(low), float(high), found.size / num_resamples)


def ends(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Paired tests (`larpo_ir.evaluation.significance.compare`) at the smallest and largest N; `p_holm` over both."""
    columns = [first.columns[0], first.columns[-1]]
    tests = compare(first[columns], second[columns])
    return tests.assign(p_holm=holm(tests["p_value"]))
