"""BM25 over the passages of a collection, by bm25s (no Java) or by Lucene (Pyserini)."""

from __future__ import annotations

import math
import os
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from larpo_ir.data.files import whole_folder
from larpo_ir.data.prompt_index import K1, B, english_tokenizer
from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.retrieval import manifest
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.retrieval.lucene import Lucene
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.retriever import Found, Retriever

PASSAGES_AT_ONCE = 10_000


class Backend(Protocol):
    """A library that computes BM25: it builds an index in a folder and, opened on such a folder, searches it.

    `folder` is its name under the root, `baked` whether k1 and b are part of the index, `size` its passages.
    """

    folder: str
    baked: bool
    size: int

    def __init__(self, directory: Path, k1: float, b: float, threads: int) -> None: ...

    @staticmethod
    def version() -> str: ...

    @staticmethod
    def build(passages: Passages, directory: Path, k1: float, b: float, threads: int) -> None: ...

    def find(self, queries: list[str], k: int) -> Found: ...


class BM25S:
    """An index of bm25s, memory-mapped; searched on one thread."""

    folder, baked = "bm25s", True

    @staticmethod
    def version() -> str:
        """Name and version of the library that writes the index."""
        return f"bm25s {version('bm25s')}"

    @staticmethod
    def build(passages: Passages, directory: Path, k1: float, b: float, threads: int) -> None:
        """Index all passages at once, as bm25s does."""
        import bm25s

        tokenizer = english_tokenizer()
        texts = chain.from_iterable(passages.full_texts(start, start + PASSAGES_AT_ONCE)
                                    for start in range(0, len(passages), PASSAGES_AT_ONCE))  # fmt: skip
        tokens = list(tokenizer.streaming_tokenize(texts, update_vocab=True, allow_empty=False))
        if not any(tokens):
            raise ValueError(
                f"the {len(passages)} passages hold nothing but stop words: there is nothing to index"
            )
        index = bm25s.BM25(k1=k1, b=b, method="lucene")
        index.index((tokens, tokenizer.get_vocab_dict()), create_empty_token=False, show_progress=False)
        index.save(directory, show_progress=False)

    def __init__(self, directory: Path, k1: float, b: float, threads: int) -> None:
        import bm25s

        self.index = bm25s.BM25.load(directory, mmap=True, show_progress=False)
        self.tokenizer = english_tokenizer()
        self.tokenizer.stem_to_sid = self.index.vocab_dict
        self.size = int(self.index.scores["num_docs"])

    def find(self, queries: list[str], k: int) -> Found:
        """Places and scores of each query's best passages."""
        places, scores = [], []
        for tokens in self.tokenizer.streaming_tokenize(queries, update_vocab=False, allow_empty=False):
            of_all = self.index.get_scores_from_ids(tokens)
            places.append(best(of_all, k))
            scores.append(of_all[places[-1]])
        return places, scores


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the at most `k` highest scores above 0, best first; of equal ones the first place wins.

    >>> best(np.array([0.0, 2.0, 3.0, 2.0, 2.0]), 3).tolist()
    [2, 1, 3]
    """
    found = np.flatnonzero(scores > 0)
    if len(found) > k:
        found = found[scores[found] >= np.partition(scores[found], -k)[-k]]
    return found[np.argsort(-scores[found], kind="stable")][:k]


BACKENDS: dict[str, type[Backend]] = {"bm25s": BM25S, "pyserini": Lucene}


class BM25(Retriever):
    """BM25 retriever, Lucene's variant: summed over every word t of the query,

        score(q, d) = Σ_t ln(1 + (N - n_t + 0.5) / (n_t + 0.5)) · f / (f + k1 · (1 - b + b · |d| / avgdl))

    where t occurs f times in d and in n_t of N passages, |d| is the number of words of d and avgdl their mean
    (Kamphuis, de Vries, Boytsov and Lin, *Which BM25 Do You Mean?*, ECIR 2020, "Lucene (accurate)").

    Args:
        collection: a `Collection`, anything that `load_collection` knows, `Passages`, or a root folder of passages.
        backend: `"bm25s"`, or `"pyserini"`: Lucene itself, which needs `pip install 'larpo_ir[pyserini]'`.
        k1, b: at least 0; from 0 to 1. bm25s bakes them into the index, Lucene takes them when it searches.
        path: root folder; the index lies in `path/bm25s` or `path/lucene`, the passages in `path/passages`. None:
            the folder in which the passages lie, which is temporary unless they were built elsewhere.
        num_results: at most so many results per query.
        threads: of Lucene, when it indexes and searches; None is all processors. bm25s uses one.

    An index that lies there is opened if it is of these passages (and of k1 and b, where baked in), and refused with
    `ValueError` if it is not; otherwise it is built. In a temporary folder every k1 and b has an index of its own.

    Title and text are indexed as one field. Both backends analyse English: words as Unicode separates them, in lower
    case, without possessive 's, Lucene's 33 stop words and suffixes (Porter). Lucene differs in this: it cuts Chinese
    and Japanese into characters, leaves words of two letters whole, stems -logy and -bly further, does not count
    passages without words in N and avgdl, stores |d| in one byte (exact below 40), rounds scores to 4 decimals and
    lowers scores that tie by 1e-6 each.

    Only passages that share a word with the query are found: none for a query of stop words. Equal scores are ordered
    by place in the collection.

    Memory: bm25s holds all word ids and its index while it builds, about 60 bytes per word of the collection; when it
    searches, it maps the index from disk (9 bytes per word) and holds one float per passage. Lucene streams, so take
    it beyond a few million passages.

    Raises `ValueError` for bad arguments and an index that is damaged, `ImportError` without Pyserini or Java.
    """

    def __init__(
        self,
        collection: Collection | Passages | str | os.PathLike[str],
        backend: str = "bm25s",
        k1: float = K1,
        b: float = B,
        *,
        path: str | os.PathLike[str] | None = None,
        num_results: int = 1000,
        threads: int | None = None,
    ) -> None:
        kind = _backend(backend)
        if not (math.isfinite(k1) and k1 >= 0):
            raise ValueError(f"k1 is {k1!r}; it must be a finite number of at least 0")
        if not 0 <= b <= 1:
            raise ValueError(f"b is {b!r}; it must be a number from 0 to 1")
        threads = (os.cpu_count() or 1) if threads is None else threads
        if threads < 1:
            raise ValueError(f"threads is {threads!r}; it must be at least 1")
        super().__init__(passages_of(collection, path), num_results)
        self.backend, self.k1, self.b = backend, k1, b
        root = self.passages.directory.parent if path is None else Path(path)
        parameters = {"k1": k1, "b": b}
        wanted = {
            "kind": backend, "passages_fingerprint": self.passages.fingerprint, **(parameters if kind.baked else {}),
        }  # fmt: skip
        self.directory = root / kind.folder
        if path is None and self.passages.temporary:
            self.directory = manifest.own_folder(self.directory, wanted)
        if not manifest.is_indexed(self.directory, wanted):
            _refuse_foreign(self.directory)
            with whole_folder(self.directory) as filling:
                kind.build(self.passages, filling, k1, b, threads)
                described = {
                    **wanted,
                    **parameters,
                    "passages": len(self.passages),
                    "version": kind.version(),
                }
                manifest.write_manifest(filling, {**described, "files": manifest.sealed(filling)})
        self.index = _open(kind, self.directory, k1, b, threads)
        if self.index.size != len(self.passages):
            raise ValueError(
                f"{self.directory} is damaged: it holds {self.index.size} passages, not {len(self.passages)}; delete "
                "it and index again"
            )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        backend: str = "bm25s",
        *,
        num_results: int = 1000,
        threads: int | None = None,
    ) -> Self:
        """Open an index under a root folder, with its k1 and b. Raises `FileNotFoundError` if there is none."""
        described = manifest.read_manifest(Path(path) / _backend(backend).folder)
        passages = Passages.load(Path(path) / "passages")
        k1, b = described.get("k1", K1), described.get("b", B)
        return cls(passages, backend, k1, b, path=path, num_results=num_results, threads=threads)

    def __repr__(self) -> str:
        return f"BM25({self.passages.name!r}, {self.backend!r}, k1={self.k1}, b={self.b})"

    def find(self, queries: list[str], k: int) -> Found:
        """Places and scores of each query's best passages, at most `k`, best first."""
        return self.index.find(queries, k)


def _backend(name: str) -> type[Backend]:
    if name not in BACKENDS:
        raise ValueError(f"backend is {name!r}; choose one of {', '.join(BACKENDS)}")
    return BACKENDS[name]


def _refuse_foreign(directory: Path) -> None:
    """Raise rather than replace files that somebody else put there."""
    if directory.is_dir() and any(directory.iterdir()):
        raise ValueError(
            f"{directory} holds files but no {manifest.MANIFEST}: it is no index of ours; choose another path"
        )


def _open(kind: type[Backend], directory: Path, k1: float, b: float, threads: int) -> Backend:
    try:
        manifest.check_seal(directory)
        return kind(directory, k1, b, threads)
    except ImportError:
        raise
    except Exception as error:  # bm25s's, NumPy's, Lucene's: damage has many names
        made_by = manifest.read_manifest(directory).get("version")
        raise ValueError(
            f"{directory}: cannot open this index of {made_by} with {kind.version()} "
            f"({' '.join(str(error).split())[:200]}); delete it and index again"
        ) from None
