"""BEIR folders: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.records import Located, Row, read_records, read_table
from retrieval_bridge.collections.collection import Collection, Format
from retrieval_bridge.collections.corpus import read_corpus
from retrieval_bridge.collections.fields import Passage, answers_of, id_of
from retrieval_bridge.collections.frames import qrels_frame, topics_frame
from retrieval_bridge.collections.paths import existing, find_file, stamps_of


class BeirCollection(Collection):
    """A BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/SPLIT.tsv` (the first two maybe as `.gz`).

    The topics of a split are the queries that its qrels name, in that order.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        folder = Path(folder)
        self.name = folder.resolve().name
        self.corpus_path = existing(find_file(folder, "corpus.jsonl") or folder / "corpus.jsonl", "corpus")
        self.queries_path = existing(
            find_file(folder, "queries.jsonl") or folder / "queries.jsonl", "queries"
        )
        self.qrels_paths = {path.stem: path for path in sorted((folder / "qrels").glob("*.tsv"))}
        self.splits = list(self.qrels_paths)
        if not self.splits:
            raise ValueError(f"{folder}: no qrels/*.tsv; a BEIR folder has one such file for every split")
        self._queries, self._judged = cache(self._read_queries), cache(self._read_qrels)

    def corpus(self) -> Iterator[Passage]:
        return read_corpus(self.corpus_path)

    def source(self) -> dict[str, Any] | None:
        return stamps_of([self.corpus_path])

    def _read_queries(self) -> pd.DataFrame:
        def topic(where: str, row: Row) -> tuple[str, Row]:
            metadata = row.get("metadata")
            answers = answers_of({**metadata, **row} if isinstance(metadata, dict) else row, where)
            qid = id_of(row, ("_id",), "query", where)
            return where, {"qid": qid, "query": row.get("text", ""), "answers": answers}

        rows = (topic(where, row) for where, row in read_records(self.queries_path))
        return topics_frame(rows, self.queries_path)

    def _read_qrels(self, split: str) -> pd.DataFrame:
        path, header = self.qrels_paths[split], ["query-id", "corpus-id", "score"]

        def judgement(where: str, row: Row) -> Located:
            if list(row) != header:
                raise ValueError(f"{path}:1: header {', '.join(row)}; it must be {', '.join(header)}")
            return where, dict(zip(("qid", "docno", "label"), row.values(), strict=True))

        rows = (judgement(where, row) for where, row in read_table(path))
        return qrels_frame(rows, self._queries()["qid"], self.queries_path, path)

    def _topics(self, split: str) -> pd.DataFrame:
        qids = self._judged(split)["qid"].unique()
        return self._queries().set_index("qid").loc[qids].reset_index()

    def _qrels(self, split: str) -> pd.DataFrame:
        return self._judged(split)


def _open(path: Path) -> BeirCollection | None:
    if not path.is_dir():
        return None
    queries = find_file(path, "queries.jsonl")
    first: Row = next((row for _, row in read_records(queries)), {}) if queries else {}
    return BeirCollection(path) if (path / "qrels").is_dir() or "_id" in first else None


FORMAT = Format("BEIR", "queries.jsonl, corpus.jsonl and qrels/*.tsv", _open)
