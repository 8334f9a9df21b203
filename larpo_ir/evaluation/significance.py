"""Intervals and tests for per-query values, to decide if a difference between two systems is more than chance.

A measure gives one value per query; the functions here take such values: from
`larpo_ir.evaluation.measures.evaluate_per_query`, or any other frame with one row per query and one column per
measure. The query is the unit that is resampled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

_CHUNK = 2_000_000  # resampled values held at a time: 16 MB


def summarise(
    per_query: pd.DataFrame | pd.Series[Any],
    *,
    seed: int = 0,
    num_resamples: int = 5_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Mean of each column of per-query values, with a percentile bootstrap interval over queries.

    Queries are drawn with replacement `num_resamples` times; `low` and `high` are the `(1 ± confidence) / 2`
    quantiles of the resampled means (Efron and Tibshirani 1993, chapter 13). The same seed gives the same interval,
    whatever other columns the frame has. Missing values (NaN: not defined for this query) are left out; `num_queries`
    counts the rest.

    Returns:
        Frame indexed by measure (the column's name) with `mean, low, high, num_queries`.

    >>> summarise(pd.DataFrame({"accuracy": [1.0, 0.0, 1.0, None]})).round(2)
              mean  low  high  num_queries
    measure
    accuracy  0.67  0.0   1.0            3
    """
    _check_resampling(num_resamples, confidence)
    rows = []
    frame = per_query.to_frame() if isinstance(per_query, pd.Series) else per_query
    for column in frame.columns:
        values = frame[column].dropna().to_numpy(dtype=float)
        low, high = _bootstrap_interval(values, seed, num_resamples, confidence)
        rows.append((column, values.mean() if values.size else np.nan, low, high, values.size))
    return pd.DataFrame(rows, columns=["measure", "mean", "low", "high", "num_queries"]).set_index("measure")


def _check_resampling(num_resamples: int, confidence: float) -> None:
    if num_resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"num_resamples must be at least 1 and confidence between 0 and 1, got {num_resamples} and {confidence}"
        )


def _resampled(
    values: NDArray[np.float64], num_resamples: int, draw: Callable[..., Any]
) -> NDArray[np.float64]:
    """Means of resamples, in blocks of bounded size. `draw((rows, len(values)))` gives the values of a block."""
    step = max(1, _CHUNK // values.size)
    sizes = [min(step, num_resamples - start) for start in range(0, num_resamples, step)]
    return np.concatenate([draw((size, values.size)).mean(axis=1) for size in sizes])


def _bootstrap_interval(
    values: NDArray[np.float64], seed: int, num_resamples: int, confidence: float
) -> tuple[float, float]:
    if not values.size:
        return np.nan, np.nan
    rng = np.random.default_rng(seed)
    means = _resampled(values, num_resamples, lambda shape: values[rng.integers(0, values.size, shape)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def compare(
    system: pd.DataFrame | pd.Series[Any],
    baseline: pd.DataFrame | pd.Series[Any],
    *,
    seed: int = 0,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Paired test of two systems from their per-query values (`evaluate_per_query`).

    `difference` is the mean over queries of system − baseline, `low` and `high` its percentile bootstrap interval,
    and `p_value` that of the two-sided paired randomisation test (Fisher 1935; Smucker et al. 2007): the share of
    random swaps of each query's two values that give a mean difference at least as large. With few queries all sign
    flips are enumerated; otherwise `num_resamples` are drawn and the p-value is `(hits + 1) / (draws + 1)`.

    Returns:
        Frame indexed by measure: `system, baseline` (means), `difference, low, high, p_value, num_queries`. Queries
        where either value is missing are left out. Correct several p-values with `holm`.

    Raises:
        ValueError: the two systems do not have the same queries and measures.

    >>> index = pd.Index(["a", "b", "c"], name="qid")
    >>> compare(pd.Series([1.0, 1.0, 1.0], index, name="RR"), pd.Series([0.0, 0.5, 0.0], index, name="RR")).round(3)
             system  baseline  difference  low  high  p_value  num_queries
    measure
    RR          1.0     0.167       0.833  0.5   1.0     0.25            3
    """
    _check_resampling(num_resamples, confidence)
    ours, theirs = (
        frame.to_frame() if isinstance(frame, pd.Series) else frame for frame in (system, baseline)
    )
    if ours.index.has_duplicates or theirs.index.has_duplicates or set(ours.index) != set(theirs.index):
        raise ValueError("a paired test needs both systems' values for the same queries, one row each")
    if set(ours.columns) != set(theirs.columns):
        raise ValueError(
            f"measures differ: {', '.join(map(str, ours))} against {', '.join(map(str, theirs))}"
        )
    rows = []
    for column in ours.columns:
        pairs = pd.concat(
            [ours[column], theirs[column].reindex(ours.index)], axis=1, keys=["ours", "theirs"]
        ).dropna()
        gain = (pairs["ours"] - pairs["theirs"]).to_numpy(dtype=float)
        low, high = _bootstrap_interval(gain, seed, num_resamples, confidence)
        p_value = _sign_flip_test(gain, seed, num_resamples)
        means = [pairs["ours"].mean(), pairs["theirs"].mean(), gain.mean() if gain.size else np.nan]
        rows.append((column, *means, low, high, p_value, gain.size))
    columns = ["measure", "system", "baseline", "difference", "low", "high", "p_value", "num_queries"]
    return pd.DataFrame(rows, columns=columns).set_index("measure")


def _sign_flip_test(gain: NDArray[np.float64], seed: int, num_resamples: int) -> float:
    gain = gain[gain != 0]  # flipping a zero changes nothing, so it need not be enumerated
    if not gain.size:
        return 1.0
    at_least = (
        abs(gain.mean()) - 1e-12 * np.abs(gain).max()
    )  # so that the observed signs count despite rounding
    if gain.size < 63 and 2**gain.size <= num_resamples:
        signs = 1 - 2 * (np.arange(2**gain.size)[:, None] >> np.arange(gain.size) & 1)
        return float((np.abs(signs @ gain / gain.size) >= at_least).mean())
    rng = np.random.default_rng(seed)
    means = _resampled(gain, num_resamples, lambda shape: np.where(rng.random(shape) < 0.5, gain, -gain))
    return float(((np.abs(means) >= at_least).sum() + 1) / (num_resamples + 1))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down correction of a family of p-values (NaN: not tested, stays out of the family).

    The i-th smallest of m is multiplied by m − i + 1, made monotone and cut at 1 (Holm 1979).

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    corrected = np.array(p_values, dtype=float)
    tested = np.flatnonzero(~np.isnan(corrected))
    order = tested[np.argsort(corrected[tested], kind="stable")]
    steps = corrected[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
