"""The commands `index`, `search` and `rerank`. Their options are the arguments of these functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

DEPTH = 100  # results per query


def make_index(
    collection: str, index: str, systems: list[str] | None = None, options: dict[str, Any] | None = None
) -> None:
    """Index a collection's passages.

    Args:
        collection: a folder (BEIR, DPR, Tevatron, TREC) or an ir_datasets id
        index: root folder of the indexes; the passages lie there once, beside every index
        systems: each gets an index: bm25 (the default), pyserini, encoders (minilm, a folder, a name on the hub)
        options: of the system: k1, b; or index (a FAISS factory string), query_prefix, passage_prefix, shard_size, …
    """
    from retrieval_bridge.collections import load_collection
    from retrieval_bridge.retrieval.collection_passages import passages_of
    from retrieval_bridge.retrieval.systems import system

    passages = passages_of(load_collection(collection), index)
    without = f" ({passages.empty} without text)" if passages.empty else ""
    print(f"{len(passages)} passages{without}: {passages.directory}")
    for name in systems or ["bm25"]:
        made: Any = system(name, passages, index, options)
        print(f"{name}: {made.directory}")


def search(
    collection: str,
    output: str,
    system_name: str = "bm25",
    split: str | None = None,
    topics: str | None = None,
    index: str | None = None,
    depth: int = DEPTH,
    options: dict[str, Any] | None = None,
) -> None:
    """Search, and write a TREC run.

    Args:
        collection: a folder or an ir_datasets id
        output: file of the run; a record of what it was made from goes beside it
        system_name: system that searches: bm25, pyserini, an encoder, or a pipeline like "bm25 % 100 >> FOLDER"
        split: which of the collection's topics
        topics: instead of a split: a file of topics, JSON Lines or Parquet with qid and query
        index: root folder of the indexes, made there unless they are; without it they are made for this search
        depth: results per query
        options: of the system, as for index
    """
    from larpo_ir.data.topics import read_topics
    from larpo_ir.data.trec import write_run
    from larpo_ir.provenance.identity import identity
    from larpo_ir.provenance.outputs import is_made, record_made
    from retrieval_bridge.collections import load_collection
    from retrieval_bridge.retrieval.collection_passages import passages_of
    from retrieval_bridge.retrieval.systems import made_of, system, tag_of

    loaded = load_collection(collection)
    asked = loaded.topics(split) if topics is None else read_topics(topics)
    passages = passages_of(loaded, index)
    settings = {
        "command": "search", "passages": passages.fingerprint, "topics": identity(asked), "system": system_name,
        "made_of": made_of(system_name), "depth": depth, "options": options,
    }  # fmt: skip
    if is_made(output, settings):
        return
    results = (system(system_name, passages, index, options) % depth).transform(asked)
    record_made(output, settings)
    _report_run(results, asked, write_run(results, output, tag_of(system_name)))


def rerank(
    collection: str, results: str, model: str, output: str, split: str | None = None, depth: int = DEPTH
) -> None:
    """Rerank a TREC run with a cross-encoder.

    Args:
        collection: a folder or an ir_datasets id, with the texts and topics
        results: a TREC run
        model: a cross-encoder, a folder or a name on the hub
        output: file of the reranked run
        split: which of the collection's topics
        depth: rerank so many results of each query
    """
    from larpo_ir.data.trec import read_results, write_run
    from larpo_ir.provenance.identity import identity
    from larpo_ir.provenance.outputs import is_made, record_made
    from retrieval_bridge.collections import load_collection
    from retrieval_bridge.retrieval.collection_passages import passages_of
    from retrieval_bridge.retrieval.reranker import CrossEncoderReranker
    from retrieval_bridge.retrieval.systems import tag_of, weights_of
    from retrieval_bridge.studies.systems import known_results

    loaded = load_collection(collection)
    topics = loaded.topics(split)
    rows = known_results(read_results(results), topics, results)
    rows = rows[rows["rank"] < depth].merge(topics, on="qid")
    passages = passages_of(loaded)
    candidates = passages.with_texts(rows)
    settings = {
        "command": "rerank", "passages": passages.fingerprint, "topics": identity(topics),
        "results": identity(rows[["qid", "docno", "rank"]]), "model": weights_of(model, reranks=True), "depth": depth,
    }  # fmt: skip
    if is_made(output, settings):
        return
    reranked = CrossEncoderReranker(model).transform(candidates)
    record_made(output, settings)
    _report_run(reranked, topics, write_run(reranked, output, tag_of(model)))


def _report_run(results: pd.DataFrame, topics: pd.DataFrame, path: Path) -> None:
    print(f"{len(results)} results of {results['qid'].nunique()} of {len(topics)} topics: {path}")
