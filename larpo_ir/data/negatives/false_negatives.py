"""The filter that keeps probably right responses out of the negatives of another sampler."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from larpo_ir.data.negatives.arguments import finite
from larpo_ir.data.sampling import Choice, Chooser, Columns, Ranking, Sampler, columns_of, fitted


@dataclass(frozen=True)
class WithoutFalseNegatives(Chooser):
    """Drop what may be as good as the best response, then let `inner` choose from the rest.

    Args:
        inner: the sampler that makes the list.
        margin: drop responses that score within this of the best; 0 drops those that tie with it.
        extract: reads the answer from a text (None: no answer), for example
            `larpo_ir.tasks.gsm8k.extract_answer`; drop responses with the best one's answer.

    Responses whose text is the best one's up to case and white space are dropped too. Where several tie for the
    best, one of them is drawn at random and stays.
    """

    inner: Sampler
    margin: float = 0.0
    extract: Callable[[str], str | None] | None = None

    def __post_init__(self) -> None:
        if not callable(self.inner):
            raise ValueError(f"inner is {self.inner!r}; it must be a sampler, such as TopBottom(1, 3)")
        finite(self.margin, "margin")
        if self.margin < 0:
            raise ValueError(f"margin is {self.margin!r}; it must not be negative")

    def fit(self, candidates: pd.DataFrame) -> WithoutFalseNegatives:
        """Fit `inner`, where it has something to fit."""
        return dataclasses.replace(self, inner=fitted(self.inner, candidates))

    def _may_be_right(self, texts: Iterable[str], best: str) -> np.ndarray:
        """True for each text that gives the answer of the best one, or has its words."""
        answer = None if self.extract is None else self.extract(best)
        words, right = best.lower().split(), []
        for text in texts:
            same = text.lower().split() == words
            right.append(
                same or (self.extract is not None and answer is not None and self.extract(text) == answer)
            )
        return np.array(right, dtype=bool)

    def _keep(self, group: Columns, rng: np.random.Generator) -> np.ndarray:
        """The places of the rows that stay, the best first."""
        ranking = Ranking.of(group, rng)
        if not len(ranking.rows):
            return ranking.rows
        texts = group["text"][ranking.rows]
        drop: np.ndarray = (ranking.scores >= ranking.scores[0] - self.margin) | self._may_be_right(
            texts, texts[0]
        )
        drop[0] = False
        kept: np.ndarray = ranking.rows[~drop]
        return kept

    @property
    def on_arrays(self) -> bool:
        return getattr(self.inner, "on_arrays", False)

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("docno", "score", "text", *getattr(self.inner, "reads", ()))))

    @property
    def fitted_to(self) -> pd.DataFrame | None:
        return getattr(self.inner, "fitted_to", None)

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        kept, inner = self._keep(group, rng), cast(Chooser, self.inner)
        choice = inner.choose({name: values[kept] for name, values in group.items()}, rng)
        if choice is None:
            return None
        rows, foreign = kept[choice.rows], choice.foreign
        if self.fitted_to is not None and len(foreign):
            texts = self.fitted_to["text"].take(foreign)
            foreign = foreign[~self._may_be_right(texts, group["text"][rows[0]])]
        return (
            dataclasses.replace(choice, rows=rows, foreign=foreign) if len(rows) + len(foreign) > 1 else None
        )

    def __call__(self, group: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame | None:
        if self.on_arrays:
            return super().__call__(group, rng)
        return self.inner(group.take(self._keep(columns_of(group, self.reads), rng)), rng)
