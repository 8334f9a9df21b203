"""Retrievers: from topics to results."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Self, TypeAlias

import numpy as np
import pandas as pd
import pyterrier as pt

from larpo_ir.data.results import require_columns
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.results import RESULTS, results_frame

Found: TypeAlias = tuple[list[np.ndarray], list[np.ndarray]]
"""Places of passages, and their scores, for each query."""


class TopicRetriever(pt.Transformer, ABC):
    """Topics (`qid, query`) to results: `qid, query, docno, title, text, score, rank` and the topics' other columns.

    Args:
        passages: the passages that are searched; results name them by place.
        num_results: at most so many results per query.

    Subclasses implement `find_topics`; passages of equal score keep its order. A cutoff is part of the retriever:
    `retriever % 10` retrieves 10. Raises `ValueError` for topics without these columns, with a qid twice, or with a
    query that is no text.
    """

    columns: tuple[str, ...] = ("qid", "query")

    def __init__(self, passages: Passages, num_results: int = 1000) -> None:
        self.passages, self.num_results = passages, _at_least_one(num_results)

    @abstractmethod
    def find_topics(self, topics: pd.DataFrame, k: int) -> Found:
        """Places and scores of each topic's best passages, at most `k`, best first."""

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Retrieve for every topic."""
        require_columns(inp, self.columns, repr(self))
        _check_topics(inp)
        k = min(self.num_results, len(self.passages))
        places, scores = self.find_topics(inp, k) if len(inp) else ([], [])
        return results_frame(inp, places, scores, self.passages)

    def fuse_rank_cutoff(self, k: int) -> Self:
        """This retriever with at most `k` results; it shares the index."""
        fused = copy.copy(self)
        fused.num_results = min(self.num_results, _at_least_one(k))
        return fused

    def __mod__(self, right: int) -> Self:
        # PyTerrier itself fuses only in pipelines that are compiled.
        return self.fuse_rank_cutoff(right)

    def transform_inputs(self) -> list[list[str]]:
        """Columns that PyTerrier's pipeline checks ask for."""
        return [list(self.columns)]

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Columns of the results, for PyTerrier's pipeline checks, which run without data."""
        pt.validate.columns(input_columns, includes=self.transform_inputs()[0], context=self)
        return [*RESULTS, *(column for column in input_columns if column not in RESULTS)]


class Retriever(TopicRetriever):
    """A `TopicRetriever` that reads the query alone. Subclasses implement `find`.

    (`search("a query")` is PyTerrier's own.)
    """

    @abstractmethod
    def find(self, queries: list[str], k: int) -> Found:
        """Places and scores of each query's best passages, at most `k`, best first."""

    def find_topics(self, topics: pd.DataFrame, k: int) -> Found:
        """As `find`; a retriever that reads more of the topics than `query` overrides it."""
        return self.find(topics["query"].tolist(), k)


def _at_least_one(num_results: int) -> int:
    if num_results < 1:
        raise ValueError(f"num_results is {num_results!r}; it must be at least 1")
    return num_results


def _check_topics(topics: pd.DataFrame) -> None:
    twice = topics["qid"][topics["qid"].duplicated()]
    if len(twice):
        raise ValueError(
            f"qid {twice.iloc[0]!r} occurs twice in the topics; a retriever takes one row per query"
        )
    for qid, query in zip(topics["qid"], topics["query"], strict=True):
        if not isinstance(query, str):
            raise ValueError(f"the query of topic {qid!r} is {query!r}; it must be text")
