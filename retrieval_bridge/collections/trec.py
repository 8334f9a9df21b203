"""TREC's topics, qrels and corpora, wherever they are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.records import Located, read_table
from larpo_ir.data.text_files import first_line, read_lines
from retrieval_bridge.collections.collection import Collection, Format
from retrieval_bridge.collections.corpus import corpus_of, read_corpus
from retrieval_bridge.collections.fields import Passage
from retrieval_bridge.collections.frames import qrels_frame, topics_frame
from retrieval_bridge.collections.paths import existing, stamps_of


class TrecCollection(Collection):
    """TREC files, wherever they are.

    Args:
        corpus: a corpus file or folder (see `read_corpus`).
        topics: the file of topics of every split: one query per line behind its id (and a tab, a blank or a colon),
            or in a form that `pt.io.read_topics` reads: TREC's `<top>` (the title is the query), XML (`<query>` or
            `<title>`).
        qrels: the file of qrels, `qid iteration docno label`, of those splits that have one.
    """

    def __init__(
        self,
        corpus: str | os.PathLike[str],
        topics: Mapping[str, str | os.PathLike[str]],
        qrels: Mapping[str, str | os.PathLike[str]] | None = None,
        name: str = "TREC collection",
    ) -> None:
        self.name = name
        self.corpus_path = existing(corpus, "corpus")
        self.topics_paths = {split: existing(path, "topics") for split, path in topics.items()}
        self.qrels_paths = {split: existing(path, "qrels") for split, path in (qrels or {}).items()}
        self.splits = list(self.topics_paths)
        if unknown := set(self.qrels_paths) - set(self.splits):
            raise ValueError(f"{name}: qrels but no topics for the split(s) {', '.join(sorted(unknown))}")
        self._read = cache(self._read_topics)

    def corpus(self) -> Iterator[Passage]:
        return read_corpus(self.corpus_path)

    def source(self) -> dict[str, Any] | None:
        return stamps_of([self.corpus_path])

    def _read_topics(self, split: str) -> pd.DataFrame:
        path = self.topics_paths[split]
        first = next((line for _, line in read_lines(path) if line.strip()), "")
        if first.lstrip().startswith("<"):
            return topics_frame(_marked_topics(path, first), path)
        rows = read_table(path, ("qid", "query")) if "\t" in first else _line_topics(path)
        return topics_frame(rows, path)

    def _topics(self, split: str) -> pd.DataFrame:
        return self._read(split)

    def _qrels(self, split: str) -> pd.DataFrame:
        if split not in self.qrels_paths:
            self._no_qrels(split)
        path = self.qrels_paths[split]
        rows = read_table(path, ("qid", "iteration", "docno", "label"), delimiter=None)
        return qrels_frame(rows, self._topics(split)["qid"], self.topics_paths[split], path)


TOPIC_LINE = re.compile(r"\s*([^:\s]+)[:\s]+(\S.*)")


def _line_topics(path: Path) -> Iterator[Located]:
    """A query on every line, behind its id and a blank or colon; lines that begin with # are comments."""
    for number, line in read_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        if (found := TOPIC_LINE.match(line)) is None:
            raise ValueError(f"{path}:{number}: no query behind an id; expected `qid query` on every line")
        yield f"{path}:{number}", {"qid": found[1], "query": found[2].strip()}


def _marked_topics(path: Path, first: str) -> Iterator[Located]:
    """Topics in TREC's mark-up, as PyTerrier reads it."""
    import pyterrier as pt

    try:
        if first.lstrip().lower().startswith("<top>"):
            topics = pt.io.read_topics(str(path), "trec")
        else:
            topics = pt.io.read_topics(str(path), "trecxml", tags=["query", "title"])
    except (
        Exception
    ) as error:  # its parsers fail in their own ways, and none of them names the fault of the file
        raise ValueError(f"{path}: not topics that PyTerrier can read ({first_line(error)})") from None
    for row in topics.to_dict("records"):
        yield str(path), row


TREC_FILE = re.compile(r"(?P<kind>topics|qrels)\.(?P<split>.+?)(\.[A-Za-z]+)?(\.gz)?")


def _files(folder: Path, kind: str) -> dict[str, Path]:
    matches = ((TREC_FILE.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return {match["split"]: path for match, path in matches if match and match["kind"] == kind}


def _open(path: Path) -> TrecCollection | None:
    topics = _files(path, "topics") if path.is_dir() else {}
    if not topics:
        return None
    qrels = {split: file for split, file in _files(path, "qrels").items() if split in topics}
    return TrecCollection(corpus_of(path, "TREC folder"), topics, qrels, path.resolve().name)


FORMAT = Format("TREC", "topics.SPLIT.EXT, qrels.SPLIT.EXT and a corpus", _open)
