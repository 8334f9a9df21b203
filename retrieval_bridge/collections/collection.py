"""What every layout of a test collection offers: a corpus, topics, qrels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NoReturn

import pandas as pd

from retrieval_bridge.collections.rows import Passage, judgements


class Collection(ABC):
    """A test collection.

    `name` says which; `splits` names its sets of topics, in the order in which they were found. Wherever a method
    takes a `split`, None means the only one.
    """

    name: str
    splits: list[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, splits={self.splits})"

    @abstractmethod
    def corpus(self) -> Iterator[Passage]:
        """The passages, one after another: `docno`, `title` (may be empty) and `text`."""

    def source(self) -> dict[str, Any] | None:
        """What says cheaply that the corpus is still the same, None where only reading it says so."""
        return None

    @abstractmethod
    def _topics(self, split: str) -> pd.DataFrame: ...

    @abstractmethod
    def _qrels(self, split: str) -> pd.DataFrame: ...

    def _negatives(self, split: str) -> pd.DataFrame:
        return judgements([])

    def topics(self, split: str | None = None) -> pd.DataFrame:
        """`qid, query` and, where they are known, `answers` (a list of strings); each query once."""
        return self._topics(self._split(split)).copy()

    def qrels(self, split: str | None = None) -> pd.DataFrame:
        """`qid, docno, label` (whole numbers). `ValueError` where a split has topics only."""
        return self._qrels(self._split(split)).copy()

    def negatives(self, split: str | None = None) -> pd.DataFrame:
        """`qid, docno, label` (0): negatives that were mined by whoever made the collection; often none."""
        return self._negatives(self._split(split)).copy()

    def _split(self, split: str | None) -> str:
        if split is None and len(self.splits) == 1:
            return self.splits[0]
        if split not in self.splits:
            known = ", ".join(self.splits) or "none; there are no topics"
            if split is None:
                raise ValueError(f"name a split of {self.name}; its splits: {known}")
            raise ValueError(f"{self.name} has no split {split!r}; its splits: {known}")
        return split

    def _no_qrels(self, split: str) -> NoReturn:
        raise ValueError(
            f"{self.name} has no qrels for the split {split!r}, only topics: search, not measure"
        )
