"""Formats of test collections, and the function that opens a collection in any of them.

A new layout is a file beside this one, with a `Collection` and its `FORMAT`, and one line of `FORMATS`. Everything is
read row by row: topics and qrels become frames with PyTerrier's column names; a corpus is streamed and never held in
memory.
"""

from __future__ import annotations

import os
from pathlib import Path

from retrieval_bridge.collections import beir, questions, trec
from retrieval_bridge.collections.catalogue import IRDatasetsCollection
from retrieval_bridge.collections.collection import Collection

# The first that knows a folder opens it.
FORMATS = (
    beir.FORMAT,
    trec.FORMAT,
    questions.FORMAT,
)


def load_collection(folder_or_id: str | os.PathLike[str]) -> Collection:
    """The test collection in a folder or a file, or of an `ir_datasets` id.

    Args:
        folder_or_id: a folder or file in one of the `FORMATS`, which is recognised by its content, or an id of
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
