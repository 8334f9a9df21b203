"""Files of questions with their passages: DPR's and Tevatron's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.records import Located, Row
from larpo_ir.data.results import docno_of
from retrieval_bridge.collections.collection import Collection, Format
from retrieval_bridge.collections.corpus import CORPUS_FILES, read_corpus
from retrieval_bridge.collections.fields import DOCNO_FIELDS, Passage, answers_of, first_of, id_of, passage_of
from retrieval_bridge.collections.frames import judgements, topics_frame
from retrieval_bridge.collections.paths import bare, existing, find_file, stamps_of
from retrieval_bridge.collections.question_layouts import (
    Layout,
    described,
    known_layouts,
    layout_of,
    question_rows,
    splits_of,
)


class QuestionCollection(Collection):
    """Files in which every question carries its passages or their ids: DPR's and Tevatron's (`LAYOUTS`).

    Args:
        files: the file of every split.
        corpus: a corpus file (see `read_corpus`); None: the union of the passages in the files, each id once. That
            union holds all ids in memory; a corpus file is streamed.

    A passage without `passage_id`, `psg_id` or `docid` gets the hash of title and text as its docno. A question
    without an id is called by split and place: `train-0`. Positive passages have label 1; `negatives`
    returns the mined negatives, hard ones first.
    """

    def __init__(
        self,
        name: str,
        files: Mapping[str, str | os.PathLike[str]],
        corpus: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = name
        self.files = {split: existing(path, "questions") for split, path in files.items()}
        self.splits = list(self.files)
        self.corpus_path = None if corpus is None else existing(corpus, "corpus")
        self._read = cache(self._read_split)

    def _rows(self, split: str) -> Iterator[tuple[str, int, Row, Layout]]:
        path = self.files[split]
        layout = layout_of(path)
        if layout is None:
            raise ValueError(f"{path}: not a file of questions; known are {known_layouts()}")
        for number, (where, row) in enumerate(question_rows(path)):
            if not layout.fits(row):
                raise ValueError(f"{where}: unlike the first row, this is no row of {described(layout)}")
            yield where, number, row, layout

    def _members(self, row: Row, names: Iterable[str], where: str) -> Iterator[tuple[str, Row | None]]:
        """Ids and, where they are in the row, passages under these names."""
        for name in names:
            members = row.get(name) or []
            if not isinstance(members, list):
                raise ValueError(f"{where}: {name} is {members!r}; it must be a list")
            for member in members:
                yield self._member(member, f"{where}: {name}")

    def _member(self, member: Any, where: str) -> tuple[str, Row | None]:
        if not isinstance(member, dict):
            return id_of({"id": member}, ("id",), "passage", where), None
        if first_of(member, DOCNO_FIELDS) is None:
            passage = passage_of(member, where, docno="")
            return docno_of(passage["title"], passage["text"]), member
        return id_of(member, DOCNO_FIELDS, "passage", where), member

    def corpus(self) -> Iterator[Passage]:
        return self._union() if self.corpus_path is None else read_corpus(self.corpus_path)

    def source(self) -> dict[str, Any] | None:
        return stamps_of(self.files.values() if self.corpus_path is None else [self.corpus_path])

    def _union(self) -> Iterator[Passage]:
        seen: set[str] = set()
        for split in self.splits:
            for where, _, row, layout in self._rows(split):
                names = (layout.positives, *layout.negatives)
                for docno, passage in self._members(row, filter(None, names), where):
                    if passage is not None and docno not in seen:
                        seen.add(docno)
                        yield passage_of(passage, where, docno)
        if not seen:
            raise ValueError(
                f"{self.name} names passages by their ids at most; put one of {', '.join(CORPUS_FILES)} beside it"
            )

    def _qid(self, row: Row, layout: Layout, split: str, number: int, where: str) -> str:
        return f"{split}-{number}" if layout.qid is None else id_of(row, (layout.qid,), "query", where)

    def _read_split(self, split: str) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        topics: list[Located] = []
        positives: list[tuple[str, str, int]] = []
        judged = False
        for where, number, row, layout in self._rows(split):
            qid, query = self._qid(row, layout, split, number, where), first_of(row, layout.query) or ""
            topics.append((where, {"qid": qid, "query": query, "answers": answers_of(row, where)}))
            if layout.positives:
                judged = True
                positives += [(qid, docno, 1) for docno, _ in self._members(row, [layout.positives], where)]
        frame = topics_frame(topics, self.files[split])
        return frame, judgements(positives, self.files[split]) if judged else None

    def _topics(self, split: str) -> pd.DataFrame:
        return self._read(split)[0]

    def _qrels(self, split: str) -> pd.DataFrame:
        qrels = self._read(split)[1]
        return self._no_qrels(split) if qrels is None else qrels

    def _negatives(self, split: str) -> pd.DataFrame:
        return judgements(
            (self._qid(row, layout, split, number, where), docno, 0)
            for where, number, row, layout in self._rows(split)
            for docno, _ in self._members(row, layout.negatives, where)
        )


def _open(path: Path) -> QuestionCollection | None:
    folder = path if path.is_dir() else path.parent
    files = [file for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.is_file()]
    files = [file for file in files if layout_of(file) is not None]
    if not files:
        return None
    return QuestionCollection(bare(path.resolve()).name, splits_of(files), find_file(folder, *CORPUS_FILES))


FORMAT = Format("questions", f"JSON, JSON Lines or tables in one of the layouts {known_layouts()}", _open)
