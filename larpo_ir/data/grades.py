"""Labels from rewards: the relevance grades under which a pool's rewards stand in qrels.

A label is a whole number, 0 for what is not relevant. `Grades` says how a reward becomes one:

    None            rewards that are all whole and not negative are the labels; others are placed on 0..100 percent of
                    the pool's range, round(100 (r - min) / (max - min))
    int n           n levels 0..n-1 of equal width over the pool's range
    thresholds      the label of r is the number of thresholds that r reaches
    function        the label is the value that the function returns

Where all rewards are the same, the range is empty and all labels are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Grades = int | Sequence[float] | Callable[[float], int] | None
Labels = np.ndarray[tuple[int], np.dtype[np.int64]]
PERCENT = 100


def labels_of(rewards: np.ndarray, pool: np.ndarray, grades: Grades) -> Labels:
    """Labels of `rewards`; `pool` holds all rewards, whose range the labels divide.

    >>> labels_of(np.array([0.0, 0.25, 1.0]), np.array([0.0, 0.25, 1.0]), None).tolist()
    [0, 25, 100]
    >>> labels_of(np.array([0.0, 0.25, 1.0]), np.array([0.0, 0.25, 1.0]), 2).tolist()
    [0, 0, 1]
    """
    if callable(grades):
        return _by_function(rewards, grades)
    if grades is None:
        whole = bool(np.all((pool >= 0) & (pool == np.floor(pool))))
        return _whole(rewards if whole else np.rint(PERCENT * _share(rewards, pool)))
    if isinstance(grades, (int, np.integer)):
        return _by_levels(_share(rewards, pool), int(grades), shown=grades)
    return _by_thresholds(rewards, grades)


def _whole(labels: np.ndarray) -> Labels:
    return labels.astype(np.int64)


def _share(rewards: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """The place of each reward in the range of the pool, from 0 to 1."""
    low, width = (pool.min(), np.ptp(pool)) if len(pool) else (0.0, 0.0)
    return (rewards - low) / width if width > 0 else np.zeros_like(rewards)


def _by_function(rewards: np.ndarray, grade: Callable[[float], int]) -> Labels:
    labels = np.array([grade(reward) for reward in rewards.tolist()], dtype=float)
    if not np.all(np.isfinite(labels) & (labels >= 0) & (labels == np.floor(labels))):
        raise ValueError("grades returned a label that is not a whole number from 0")
    return _whole(labels)


def _by_levels(shares: np.ndarray, levels: int, shown: object) -> Labels:
    if isinstance(shown, bool) or levels < 2:
        raise ValueError(f"grades={shown!r}; a number of levels must be at least 2")
    return np.minimum(_whole(shares * levels), levels - 1)


def _by_thresholds(rewards: np.ndarray, grades: Sequence[float]) -> Labels:
    thresholds = sorted(float(threshold) for threshold in grades)
    if not thresholds or not all(math.isfinite(threshold) for threshold in thresholds):
        raise ValueError(f"grades={grades!r}; thresholds must be one or more finite numbers")
    return np.searchsorted(thresholds, rewards, side="right")
