"""Filters of candidates, which leave out negatives that are probably relevant, too."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pandas as pd
import pyterrier as pt

from larpo_ir.data.results import require_columns
from larpo_ir.rewards.reranker import Reranker
from retrieval_bridge.collections.answers import holds_answer
from retrieval_bridge.training.mining import CANDIDATES


class CandidateFilter(pt.Transformer, ABC):
    """Candidates to those of them that stay, with all their columns. Subclasses implement `leaves_out`."""

    columns: tuple[str, ...]
    who: str
    """Name of the filter in the message that columns are missing."""

    @abstractmethod
    def leaves_out(self, candidates: pd.DataFrame) -> np.ndarray:
        """Boolean per row of a frame that is not empty: True for a row that goes."""

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """The rows that stay, in their order."""
        require_columns(inp, self.columns, self.who)
        return inp[~self.leaves_out(inp)].reset_index(drop=True) if len(inp) else inp

    def transform_inputs(self) -> list[list[str]]:
        """Columns that PyTerrier's pipeline checks ask for."""
        return [list(self.columns)]

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Columns of the results, for PyTerrier's pipeline checks, which run without data."""
        pt.validate.columns(input_columns, includes=list(self.columns), context=self)
        return input_columns


class WithoutAnswers(CandidateFilter):
    """Drops passages with a label below `threshold` that hold one of the topic's `answers`."""

    columns = ("text", "label", "answers")
    who = "the filter by answers"

    def __init__(self, threshold: float = 1.0) -> None:
        self.threshold = threshold

    def __repr__(self) -> str:
        return f"WithoutAnswers({self.threshold})"

    def leaves_out(self, candidates: pd.DataFrame) -> np.ndarray:
        """Negatives with an answer; the texts of positives are not read."""
        negative = (candidates["label"] < self.threshold).to_numpy()
        right = np.zeros(len(candidates), dtype=bool)
        rows = candidates.loc[negative, ["text", "answers"]]
        right[negative] = [
            holds_answer(text, answers) for text, answers in zip(rows["text"], rows["answers"], strict=True)
        ]
        return right


class WithoutNear(CandidateFilter):
    """Drops passages whose score comes within `margin` of the topic's best positive: they may be relevant, too.

    Args:
        margin: a negative stays if its score is less than positive − margin, or, if `relative`, less than
            positive · (1 − margin), the rule of Moreira et al. 2024 (arXiv:2407.15831).
        scorer: a reranker whose scores are compared, such as `CrossEncoderReranker(m)` (Qu et al. 2021,
            arXiv:2010.08191); None: each source by its own `source_score`, if it has retrieved the positive, and
            otherwise not at all.
        threshold: label from which on a passage is a positive.

    The frame's `score` stays the relevance.
    """

    who = "the filter by margin"

    def __init__(
        self, margin: float, scorer: Reranker | None = None, relative: bool = False, threshold: float = 1.0
    ) -> None:
        if margin < 0:
            raise ValueError(f"margin is {margin!r}; it must not be negative")
        self.margin, self.scorer, self.relative, self.threshold = margin, scorer, relative, threshold
        self.columns = tuple(dict.fromkeys([*CANDIDATES, *(() if scorer is None else scorer.columns)]))

    def transform_inputs(self) -> list[list[str]]:
        """Columns that PyTerrier's pipeline checks ask for: the scorer may have alternatives."""
        if self.scorer is None:
            return super().transform_inputs()
        return [list(dict.fromkeys([*self.columns, *needed])) for needed in self.scorer.transform_inputs()]

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Columns of the results; the scorer checks for itself those that it reads."""
        if self.scorer is not None:
            self.scorer.transform_outputs(input_columns)
        return super().transform_outputs(input_columns)

    def __repr__(self) -> str:
        return f"WithoutNear({self.margin}, {self.scorer!r}, {self.relative}, {self.threshold})"

    def leaves_out(self, candidates: pd.DataFrame) -> np.ndarray:
        """Negatives near the best positive of their query, or, without a scorer, of their query and source."""
        if self.scorer is None:
            scores, by = candidates["source_score"].to_numpy(float), ["qid", "source"]
        else:
            scores, by = np.asarray(self.scorer.score(candidates), dtype=float), ["qid"]
        positive = (candidates["label"] >= self.threshold).to_numpy()
        best = pd.Series(np.where(positive, scores, np.nan), index=candidates.index)
        best = best.groupby([candidates[name] for name in by], sort=False).transform("max").to_numpy()
        limit = best - (np.abs(best) * self.margin if self.relative else self.margin)
        near: np.ndarray = ~positive & (scores >= limit)
        return near
