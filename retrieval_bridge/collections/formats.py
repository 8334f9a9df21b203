"""Test collections: a corpus, topics and qrels, whatever layout they are published in.

`load_collection` goes by the table `FORMATS`; a new layout is one more line of it. Everything is read row by row:
topics and qrels become frames with PyTerrier's column names, a corpus is streamed and never held in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from larpo_ir.data.records import Row, read_records
from retrieval_bridge.collections.beir import BeirCollection
from retrieval_bridge.collections.catalogue import IRDatasetsCollection
from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.collections.questions import (
    LAYOUTS,
    Layout,
    QuestionCollection,
    known_layouts,
    layout_of,
    splits_of,
)
from retrieval_bridge.collections.rows import CORPUS_FILES, bare, corpus_of, find_file
from retrieval_bridge.collections.trec import TrecCollection, trec_files

__all__ = [
    "FORMATS", "LAYOUTS", "BeirCollection", "Collection", "Format", "IRDatasetsCollection", "Layout",
    "QuestionCollection", "TrecCollection", "load_collection",
]  # fmt: skip


def _beir(path: Path) -> Collection | None:
    if not path.is_dir():
        return None
    queries = find_file(path, "queries.jsonl")
    first: Row = next((row for _, row in read_records(queries)), {}) if queries else {}
    return BeirCollection(path) if (path / "qrels").is_dir() or "_id" in first else None


def _trec(path: Path) -> Collection | None:
    topics = trec_files(path, "topics") if path.is_dir() else {}
    if not topics:
        return None
    qrels = {split: file for split, file in trec_files(path, "qrels").items() if split in topics}
    return TrecCollection(corpus_of(path, "TREC folder"), topics, qrels, path.resolve().name)


def _questions(path: Path) -> Collection | None:
    folder = path if path.is_dir() else path.parent
    files = [file for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.is_file()]
    files = [file for file in files if layout_of(file) is not None]
    if not files:
        return None
    return QuestionCollection(bare(path.resolve()).name, splits_of(files), find_file(folder, *CORPUS_FILES))


@dataclass(frozen=True)
class Format:
    """A layout of collections: what it looks like, and how it is opened (None: it is not this one)."""

    name: str
    looks: str
    open: Callable[[Path], Collection | None] = field(repr=False)


FORMATS = (
    Format("BEIR", "queries.jsonl, corpus.jsonl and qrels/*.tsv", _beir),
    Format("TREC", "topics.SPLIT.EXT, qrels.SPLIT.EXT and a corpus", _trec),
    Format("questions", f"JSON, JSON Lines or tables in one of the layouts {known_layouts()}", _questions),
)


def load_collection(folder_or_id: str | os.PathLike[str]) -> Collection:
    """The test collection in a folder or a file, or of an `ir_datasets` id.

    Args:
        folder_or_id: a folder or file in one of the `FORMATS`, which is recognised by what is in it, or an id of
            `ir_datasets`, such as `"beir/nq"`; `"ir_datasets:beir/nq"` says so even if there is a folder `beir/nq`.

    ========= ==================================================================================================
    BEIR      `BeirCollection`: a folder with corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv
    TREC      `TrecCollection`: a folder with topics.SPLIT.EXT, qrels.SPLIT.EXT and a corpus (see `read_corpus`)
    DPR       `QuestionCollection`: biencoder JSON, or tables of questions and answers; a file or a folder of them
    Tevatron  `QuestionCollection`: JSON Lines with passages (legacy) or ids and corpus.jsonl
    ========= ==================================================================================================

    `corpus.jsonl`, `psgs_w100.tsv` or `collection.tsv` beside DPR's or Tevatron's files is their corpus. Topics,
    qrels and passages are read when they are asked for; malformed rows raise `ValueError` with file and line.
    """
    name = os.fspath(folder_or_id)
    path = Path(name)
    if name.startswith("ir_datasets:") or not path.exists():
        return IRDatasetsCollection(name.removeprefix("ir_datasets:"))
    for layout in FORMATS:
        collection = layout.open(path)
        if collection is not None:
            return collection
    known = "; ".join(f"{layout.name} ({layout.looks})" for layout in FORMATS)
    raise ValueError(f"{path}: not a collection in a known format: {known}")
