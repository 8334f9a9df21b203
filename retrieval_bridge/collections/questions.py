"""Files of questions with their passages: DPR's and Tevatron's."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.records import Located, Row, read_lines, read_records, read_table
from larpo_ir.data.results import docno_of
from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.collections.rows import (
    CORPUS_FILES,
    DOCNO_FIELDS,
    Passage,
    answers_of,
    bare,
    existing,
    first_of,
    id_of,
    judgements,
    passage_of,
    read_corpus,
    stamps_of,
    topics_frame,
)


@dataclass(frozen=True)
class Layout:
    """Fields of files in which every question carries its passages, or their ids.

    Of several names of the query the first that is there counts; passages of all names of negatives are joined.
    """

    name: str
    query: tuple[str, ...]
    qid: str | None = None
    positives: str | None = None
    negatives: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def fits(self, row: Row) -> bool:
        needed = [name for name in (self.qid, self.positives, *self.also) if name]
        return all(name in row for name in needed) and any(name in row for name in self.query)


# The most specific first.
LAYOUTS = (
    Layout("DPR", ("question",), None, "positive_ctxs", ("hard_negative_ctxs", "negative_ctxs")),
    Layout("Tevatron, legacy", ("query",), "query_id", "positive_passages", ("negative_passages",)),
    Layout(
        "Tevatron", ("query_text", "query"), "query_id", "positive_document_ids", ("negative_document_ids",)
    ),
    Layout("Tevatron queries", ("query_text", "query"), "query_id"),
    Layout("DPR questions", ("question",), also=("answers",)),
)
SPLIT = re.compile(r"(?<![a-z])(?:train|dev|validation|valid|val|test)(?![a-z])", re.I)
QUESTION_SUFFIXES = (".json", ".jsonl", ".tsv", ".csv")


def _question_rows(path: Path) -> Iterator[Located]:
    """Rows of a question file; DPR's tables are `question <tab> list of answers`, the list as Python writes it."""
    if bare(path).suffix not in (".tsv", ".csv"):
        yield from read_records(path)
        return
    for where, row in read_table(path, ("question", "answers"), quoted=True):
        try:
            answers = ast.literal_eval(row["answers"])
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise ValueError(f"{where}: answers {row['answers']!r} are not a list of strings") from None
        yield where, {**row, "answers": answers}


def layout_of(path: Path) -> Layout | None:
    """The layout of a file of questions, None if it is none."""
    if bare(path).suffix not in QUESTION_SUFFIXES or bare(path).name in CORPUS_FILES:
        return None
    if bare(path).suffix in (".tsv", ".csv"):
        first = next((line for _, line in read_lines(path)), "")
        if not re.fullmatch(r'[^\t]+\t"?\[.*\]"?', first.strip()):
            return None
    first_row = next((row for _, row in _question_rows(path)), {})
    return next((layout for layout in LAYOUTS if layout.fits(first_row)), None)


def splits_of(paths: Iterable[Path]) -> dict[str, Path]:
    """Name files by train, dev, … where that is in their name and says which; otherwise by the whole name."""
    stems = {path: bare(path).stem for path in paths}
    found = {path: SPLIT.findall(stem) for path, stem in stems.items()}
    short = {path: names[-1] if names else stems[path] for path, names in found.items()}
    names = list(short.values())
    return {name if names.count(name) == 1 else stems[path]: path for path, name in short.items()}


class QuestionCollection(Collection):
    """Files in which every question carries its passages or their ids: DPR's and Tevatron's (`LAYOUTS`).

    Args:
        files: the file of every split.
        corpus: a corpus file (see `read_corpus`); None: the union of the passages in the files, each id once. That
            union holds all ids in memory; a corpus file is streamed.

    A passage without `passage_id`, `psg_id` or `docid` gets the hash of title and text as its docno. A question
    without an id is called by split and place: `train-0`. Positive passages have label 1; the mined negatives are
    what `negatives` returns, hard ones first.
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
        for number, (where, row) in enumerate(_question_rows(path)):
            if not layout.fits(row):
                raise ValueError(f"{where}: unlike the first row, this is no row of {_described(layout)}")
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


def _described(layout: Layout) -> str:
    fields = (layout.qid, " or ".join(layout.query), layout.positives, *layout.also)
    return f"{layout.name} ({', '.join(filter(None, fields))})"


def known_layouts() -> str:
    return "; ".join(map(_described, LAYOUTS))
