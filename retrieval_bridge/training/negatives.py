"""A sampler for passages: judged passages against negatives from one source or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from larpo_ir.data.sampling import Choice, Chooser, Columns, Ranking


@dataclass(frozen=True)
class Negatives(Chooser):
    """The best judged passage against negatives from one source, or from several in turn.

    Args:
        source: a name, or several (a mixture: one from each in turn); None takes from all together.
        num_negatives: so many, or as many as there are.
        num_positives: so many of the most relevant passages.
        skip, depth: take negatives from the ranks `skip` (from 0) up to `depth` of their source.
        hardest: the best-ranked ones instead of a random draw.
        by: the column that tells positives from negatives: `label`, or `score`, which a candidate pool has.
        threshold: passages with at least this much there are positives.

    A topic without a positive, or without a negative, has no list.
    """

    source: str | Sequence[str] | None = None
    num_negatives: int = 7
    num_positives: int = 1
    skip: int = 0
    depth: int | None = None
    hardest: bool = False
    by: str = "label"
    threshold: float = 1.0

    def __post_init__(self) -> None:
        for name in ("num_negatives", "num_positives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be at least 1")
        if self.skip < 0 or (self.depth is not None and self.depth <= self.skip):
            raise ValueError(f"negatives from rank {self.skip} up to {self.depth}: there are none")

    @property
    def reads(self) -> tuple[str, ...]:
        by_rank = ("source_rank",) if self.hardest or self.skip or self.depth is not None else ()
        return ("docno", "score", self.by, *(("source",) if self.source is not None else ()), *by_rank)

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = Ranking.of(group, rng)
        relevant = ranking.rows[group[self.by][ranking.rows] >= self.threshold]
        negative = self._negatives(group, relevant)
        sources = [self.source] if isinstance(self.source, str | None) else self.source
        piles = [
            self._pile(group, negative if source is None else negative & (group["source"] == source), rng)
            for source in sources
        ]
        chosen: dict[Any, int] = {}
        for row in (row for turn in zip_longest(*piles) for row in turn if row is not None):
            if len(chosen) < self.num_negatives:
                chosen.setdefault(group["docno"][row], row)
        if not len(relevant) or not chosen:
            return None
        negatives = np.array(list(chosen.values()))
        negatives = negatives[np.argsort(-group["score"][negatives], kind="stable")]
        return Choice(np.concatenate([relevant[: self.num_positives], negatives]))

    def _negatives(self, group: Columns, relevant: np.ndarray) -> np.ndarray:
        """Boolean per row: graded, below the threshold, at a rank that is asked for, and no positive's docno."""
        negative: np.ndarray = (
            (group[self.by] < self.threshold)
            & np.isfinite(group["score"])
            & ~np.isin(group["docno"], group["docno"][relevant])
        )
        if self.skip or self.depth is not None:
            ranks = group["source_rank"]
            negative &= (ranks >= self.skip) & (ranks < (np.inf if self.depth is None else self.depth))
        return negative

    def _pile(self, group: Columns, among: np.ndarray, rng: np.random.Generator) -> list[int]:
        """Rows of a source in the order in which they are taken."""
        rows = rng.permutation(np.flatnonzero(among))
        if self.hardest:
            rows = rows[np.argsort(group["source_rank"][rows], kind="stable")]
        return [int(row) for row in rows]
