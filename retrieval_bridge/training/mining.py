"""Mining negatives: results of retrievers become candidates, from which the samplers of `larpo_ir` choose lists.

    candidates = mine(topics, qrels, passages, {"bm25": BM25(c) % 50, "dense": DenseRetriever(encoder, c) % 50})
    candidates = (WithoutAnswers() >> WithoutNear(0.05))(candidates)          # probably false negatives
    lists = sample_lists(candidates, Negatives("bm25", num_negatives=7))      # larpo_ir.data.negatives

Candidates are a results frame. Its columns:

    text                         title and text of the passage
    label                        the judgement of the qrels, 0 for a passage that they do not judge
    score                        the relevance to learn from (as a reward is for responses), at first the label
    source                       name of the retriever that brought the row, `judged` for a passage of the qrels
    source_rank, source_score    rank and score of the passage there

A passage that two retrievers bring is two rows of one docno. Every sampler of `larpo_ir.data.negatives` reads such a
frame, and a reranker grades it: after `CrossEncoderReranker(m)(candidates)` a retriever learns from a cross-encoder.

`LADDER` orders negatives from easy to hard: passages drawn at random, other questions' passages, BM25's, and those of
the dense retriever that is being trained. For responses the ladder is that of `larpo_ir.data.negatives`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyterrier as pt

from larpo_ir.data.results import rank_results, require_columns
from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.results import full_texts

JUDGED = "judged"
LADDER = ("random", "in_batch", "bm25", "dense")
CANDIDATES = ["qid", "query", "docno", "text", "score", "label", "source", "source_rank", "source_score"]


def mine(
    topics: pd.DataFrame,
    qrels: pd.DataFrame,
    collection: Collection | Passages | str | os.PathLike[str],
    sources: Mapping[str, pt.Transformer],
) -> pd.DataFrame:
    """Candidates of every topic that has a relevant passage: its judged passages, and each source's results.

    Args:
        topics: `qid, query` and maybe `answers`, which are kept.
        qrels: `qid, docno, label`; a passage that is not judged has relevance 0.
        collection: anything that `passages_of` takes; the texts come from there.
        sources: retrievers by name, cut to the depth that is wanted (`BM25(c) % 50`).

    Raises `ValueError` for empty qrels, qrels and topics without a common query, a judged passage that is not there.
    """
    passages = passages_of(collection)
    twice = qrels[qrels.duplicated(["qid", "docno"])]
    if len(twice):
        raise ValueError(
            f"the qrels judge {twice['docno'].iloc[0]!r} twice for query {twice['qid'].iloc[0]!r}"
        )
    if qrels.empty:
        raise ValueError("the qrels are empty: no topic has a relevant passage to learn from")
    relevant = set(qrels.loc[qrels["label"] > 0, "qid"])
    asked = topics[topics["qid"].isin(relevant)]
    if asked.empty:
        raise ValueError(
            f"no topic has a relevant passage: topics have query ids like {topics['qid'].iloc[0]!r}, "
            f"qrels like {qrels['qid'].iloc[0]!r}"
        )
    judged = qrels[qrels["qid"].isin(set(asked["qid"]))]
    results = {JUDGED: _judged(asked, judged, passages)}
    results |= {name: source.transform(asked) for name, source in sources.items()}
    return candidates_of(results, judged)


def candidates_of(results: Mapping[str, pd.DataFrame], qrels: pd.DataFrame) -> pd.DataFrame:
    """Candidates from results frames by source: texts joined with their titles, relevance from the qrels (else 0)."""
    frames = []
    for source, frame in results.items():
        require_columns(frame, ["qid", "query", "docno", "text", "score"], f"results of {source}")
        ranked = rank_results(frame)
        texts = full_texts(ranked)
        ranked = ranked.rename(columns={"rank": "source_rank", "score": "source_score"})
        frames.append(ranked.assign(text=texts, source=source))
    together = pd.concat(frames, ignore_index=True).drop(columns="title", errors="ignore")
    together["label"] = together["score"] = labels_of(together, qrels)
    order = np.argsort(pd.factorize(together["qid"])[0], kind="stable")
    together = together.iloc[order].reset_index(drop=True)
    return together[[*CANDIDATES, *(name for name in together.columns if name not in CANDIDATES)]]


def labels_of(candidates: pd.DataFrame, qrels: pd.DataFrame) -> np.ndarray:
    """The qrels' label of every row, 0 for a passage that they do not judge."""
    labels = qrels.set_index(["qid", "docno"])["label"]
    pairs = pd.MultiIndex.from_frame(candidates[["qid", "docno"]])
    of_rows: np.ndarray = labels.reindex(pairs).fillna(0).to_numpy(float)
    return of_rows


def _judged(topics: pd.DataFrame, qrels: pd.DataFrame, passages: Passages) -> pd.DataFrame:
    rows = qrels[["qid", "docno", "label"]].merge(topics, on="qid")
    return passages.with_texts(rows.drop(columns="label")).assign(score=rows["label"].astype(float))
