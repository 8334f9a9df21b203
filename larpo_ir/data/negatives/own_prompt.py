"""Samplers that take negatives from the responses to the same prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from larpo_ir.data.negatives.arguments import at_least, finite
from larpo_ir.data.sampling import Choice, Chooser, Columns, Ranking


@dataclass(frozen=True)
class TopBottom(Chooser):
    """The `top` best and the `bottom` worst responses; all of them where there are no more than that.

    The paper's lists: `TopBottom(1, 3)` for the contrastive loss, `TopBottom(2, 2)` for LambdaRank and ListMLE.

    >>> import pandas as pd
    >>> group = pd.DataFrame({"qid": "q", "query": "2+2?", "docno": list("abcd"), "text": list("4567"),
    ...                       "score": [1.0, 0.7, 0.3, 0.0]})
    >>> TopBottom(1, 2)(group, np.random.default_rng(0))["docno"].tolist()
    ['a', 'c', 'd']
    """

    top: int = 2
    bottom: int = 2

    def __post_init__(self) -> None:
        at_least(self.top, 1, "top")
        at_least(self.bottom, 1, "bottom")

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = Ranking.of(group, rng)
        if ranking.tied:
            return None
        rows = ranking.rows
        if len(rows) > self.top + self.bottom:
            rows = np.concatenate([rows[: self.top], rows[-self.bottom :]])
        return Choice(rows)


@dataclass(frozen=True)
class TopVersusRest(Chooser):
    """Every response, best first: the first against the rest under the contrastive loss."""

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = Ranking.of(group, rng)
        return None if ranking.tied else Choice(ranking.rows)


@dataclass(frozen=True)
class BestWorst(Chooser):
    """The best and the worst response: a preference pair with the widest margin."""

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = Ranking.of(group, rng)
        return None if ranking.tied else Choice(ranking.rows[[0, -1]])


@dataclass(frozen=True)
class RandomPair(Chooser):
    """A random correct and a random incorrect response (paper, SFT/DPO study).

    Args:
        threshold: responses that score at least this much are correct. None: those above the middle between
            the list's lowest and highest score, which for rewards of 0 and 1 is the same as 1.

    Nothing to learn where all are correct or all are incorrect.
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None:
            finite(self.threshold, "threshold")

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = Ranking.of(group, rng)
        if ranking.tied:
            return None
        best, worst = ranking.scores[0], ranking.scores[-1]
        if self.threshold is None:
            # The best is above the middle by definition; between two neighbouring floats rounding may say no.
            correct = (ranking.scores > worst + (best - worst) / 2) | (ranking.scores == best)
        else:
            correct = ranking.scores >= self.threshold
        if correct.all() or not correct.any():
            return None
        return Choice(np.array([rng.choice(ranking.rows[correct]), rng.choice(ranking.rows[~correct])]))


@dataclass(frozen=True)
class Temperature(Chooser):
    """The best response against worse ones that were sampled at one temperature.

    Cooler negatives are closer to the best response, so harder: the paper compares 1.0 and 0.7.

    Args:
        temperature: of the negatives; the best response may have any.
        negatives: at most so many, drawn at random; None takes all.

    Needs the column `temperature`. Nothing to learn where nothing worse was sampled at that temperature.
    """

    temperature: float
    negatives: int | None = None

    def __post_init__(self) -> None:
        finite(self.temperature, "temperature")
        if self.negatives is not None:
            at_least(self.negatives, 1, "negatives")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("docno", "score", "temperature")

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = Ranking.of(group, rng)
        if ranking.tied:
            return None
        # Ranked apart: a response drawn at two temperatures counts as drawn at this one.
        here = Ranking.of(group, rng, among=np.isclose(group["temperature"], self.temperature))
        best = ranking.rows[0]
        worse = here.rows[
            (here.scores < ranking.scores[0]) & (group["docno"][here.rows] != group["docno"][best])
        ]
        if not len(worse):
            return None
        if self.negatives is not None and len(worse) > self.negatives:
            worse = worse[np.sort(rng.choice(len(worse), self.negatives, replace=False))]
        return Choice(np.append(best, worse))
