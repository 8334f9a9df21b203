"""The base of all rewards: a reranker turns a frame of candidates into one score per row."""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyterrier as pt
from numpy.typing import ArrayLike

from larpo_ir.data.results import rank_results, require_columns
from larpo_ir.rewards.columns import Needs, require_one


class Reranker(pt.Transformer):
    """Reranker of responses: `score := self.score(results)`, then ranked; every other column is kept.

    Subclasses implement `score`, which gives one number per row, in the order of the rows, NaN where there is none.
    Equal scores keep the order of retrieval, NaN is ranked last, and an empty frame comes back empty with the columns
    `score` and `rank`.

    >>> class Shortest(Reranker):
    ...     def score(self, results):
    ...         return -results["text"].str.len()
    >>> results = pd.DataFrame({"qid": ["q", "q"], "query": "2+2?", "docno": ["a", "b"], "text": ["four", "4"]})
    >>> Shortest()(results)[["docno", "score", "rank"]]
      docno  score  rank
    0     b   -1.0     0
    1     a   -4.0     1
    """

    columns: tuple[str, ...] = ("qid", "query", "docno", "text")
    # Attributes that make no difference to a score: of a run's identity, see `larpo_ir.provenance.identity`.
    INDIFFERENT: ClassVar[frozenset[str]] = frozenset({"name", "batch_size", "max_tokens", "device"})

    def __init__(self, name: str | None = None) -> None:
        self.name = name or type(self).__name__

    def __repr__(self) -> str:
        return self.name

    @abstractmethod
    def score(self, results: pd.DataFrame) -> ArrayLike:
        """One reward per row of a frame that is not empty."""

    def check(self, topics: pd.DataFrame) -> None:
        """Raise a one-line `ValueError` that names the query, where responses to these topics cannot be scored.

        Called before anything is sampled; what a subclass cannot know by then it need not check.
        """

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score and rank the candidates of every query."""
        require_columns(inp, self.columns, self.name)
        scores = np.asarray(self.score(inp), dtype=float) if len(inp) else np.empty(0)
        return rank_results(inp.assign(score=scores))

    def transform_inputs(self) -> Needs:
        """The columns that the results must have, for PyTerrier's inspection: alternatives, if there are several."""
        return [list(self.columns)]

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Columns of the results, for PyTerrier's inspection, which needs no data."""
        require_one(self.transform_inputs(), input_columns, self)
        return self._with_score(input_columns)

    def _with_score(self, columns: list[str]) -> list[str]:
        return list(dict.fromkeys([*columns, "score", "rank"]))


def describe(thing: Any) -> str:
    """Short name of a function, a model or a path, for tables of results."""
    if isinstance(thing, str | os.PathLike):
        return Path(thing).name
    return getattr(thing, "__name__", None) or type(thing).__name__
