"""A test collection: corpus, topics, qrels; and a format, by which a layout of its files is recognised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from larpo_ir.data.digests import digest, digest_rows
from retrieval_bridge.collections.fields import Passage
from retrieval_bridge.collections.frames import judgements


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
        """A value, cheap to have, that changes when the corpus does; None if only reading the corpus tells."""
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
        """`qid, docno, label` (0): negatives that the makers of the collection have mined; often none."""
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


def digest_of(collection: Collection, *splits: str | None) -> str:
    """16 hexadecimal digits of the splits' topics, answers and qrels, on which results depend, as on the passages."""
    frames = (frame for split in splits for frame in (collection.topics(split), collection.qrels(split)))
    return digest(*map(digest_rows, frames))


@dataclass(frozen=True)
class Format:
    """A layout of collections: `looks` describes its files; `open` opens a path, or is None for another layout."""

    name: str
    looks: str
    open: Callable[[Path], Collection | None] = field(repr=False)
