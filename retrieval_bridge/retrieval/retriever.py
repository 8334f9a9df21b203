"""What all retrievers share: from topics to results, and the manifest beside every index."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyterrier as pt

from larpo_ir.data.digests import digest
from larpo_ir.data.files import write_atomically
from larpo_ir.data.results import require_columns
from retrieval_bridge.collections.rows import written_at
from retrieval_bridge.retrieval.passages import INDEX as MANIFEST
from retrieval_bridge.retrieval.passages import RESULTS, Passages, results_frame

Found = tuple[list[np.ndarray], list[np.ndarray]]


class Retriever(pt.Transformer, ABC):
    """Topics (`qid, query`) to results: `qid, query, docno, title, text, score, rank` and the topics' other columns.

    Args:
        passages: what is searched; results name them by place.
        num_results: at most so many results per query.

    Subclasses implement `find` (`search("a query")` is PyTerrier's own), and passages of equal score keep its order.
    A cutoff is part of the retriever: `retriever % 10` retrieves 10. Raises `ValueError` for topics without these
    columns, with a qid twice, or with a query that is no text.
    """

    columns: tuple[str, ...] = ("qid", "query")

    def __init__(self, passages: Passages, num_results: int = 1000) -> None:
        self.passages, self.num_results = passages, _at_least_one(num_results)

    @abstractmethod
    def find(self, queries: list[str], k: int) -> Found:
        """Places and scores of each query's best passages, at most `k`, best first."""

    def find_topics(self, topics: pd.DataFrame, k: int) -> Found:
        """As `find`; a retriever that reads more of the topics than `query` overrides it."""
        return self.find(topics["query"].tolist(), k)

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
        pt.validate.columns(input_columns, includes=list(self.columns), context=self)
        return [*RESULTS, *(column for column in input_columns if column not in RESULTS)]


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


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Say what the index in a folder is."""
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the index in a folder is. Raises `FileNotFoundError` for no index, `ValueError` for a damaged manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no index there; make it with retrieval-bridge index")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        raise ValueError(f"{path}: damaged; delete {folder} and index again")
    return manifest


def is_indexed(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the index that `wanted` describes lies in a folder; only the keys of `wanted` count.

    Raises `ValueError` where another index lies there.
    """
    if not (folder / MANIFEST).is_file():
        return False
    for key, there, here in _differences(folder, wanted):
        raise ValueError(
            f"{folder} holds another index: its {key} is {there!r}, not {here!r}; choose another "
            f"path, or delete {folder} to index again"
        )
    return True


def own_folder(folder: Path, wanted: Mapping[str, Any]) -> Path:
    """The folder, or where another index lies there, one beside it whose name tells the two apart."""
    if not (folder / MANIFEST).is_file() or not any(_differences(folder, wanted)):
        return folder
    return folder.with_name(f"{folder.name}-{digest(dict(wanted))[:8]}")


def _differences(folder: Path, wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    manifest = read_manifest(folder)
    return ((key, manifest.get(key), value) for key, value in wanted.items() if manifest.get(key) != value)


# What lies in a folder, as it was written


def sealed(folder: Path) -> dict[str, list[Any]]:
    """Of every file in a folder but the manifest: size, time of the last change, hash of the content."""
    files = (file for file in sorted(folder.iterdir()) if file.is_file() and file.name != MANIFEST)
    return {file.name: [*written_at(file), _hash_of(file)] for file in files}


def check_seal(folder: Path) -> None:
    """Raise `ValueError` unless an index is as it was written: its libraries crash on what is damaged, or find it.

    Only files that another time or size says have changed, or were copied, are read.
    """
    manifest = read_manifest(folder)
    seal, copied = manifest.get("files"), False
    if not isinstance(seal, dict):  # of an earlier version
        return
    for name, known in seal.items():
        file = folder / name
        if not file.is_file():
            raise ValueError(f"{name} is missing")
        stamp = written_at(file)
        if stamp != known[:2]:
            if stamp[0] != known[0] or _hash_of(file) != known[2]:
                raise ValueError(f"{name} has changed since it was written")
            known[:2], copied = stamp, True
    if copied:
        with suppress(OSError):
            write_manifest(folder, manifest)


def _hash_of(file: Path) -> str:
    import xxhash

    hashed = xxhash.xxh3_128()
    with file.open("rb") as handle:
        while block := handle.read(1 << 24):
            hashed.update(block)
    return str(hashed.hexdigest())
