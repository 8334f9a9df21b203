"""Mining negatives: what retrievers bring, as candidates for the samplers of `larpo_ir`.

    candidates = mine(topics, qrels, passages, {"bm25": BM25(c) % 50, "dense": DenseRetriever(encoder, c) % 50})
    candidates = (WithoutAnswers() >> WithoutNear(0.05))(candidates)          # probably false negatives
    lists = sample_lists(candidates, Negatives("bm25", num_negatives=7))      # larpo_ir.data.negatives

Candidates are a results frame: `text` is title and text; `label` what the qrels say, 0 where they say nothing;
`score` the relevance to learn from (as a reward is for responses), at first the label; `source` the retriever that
brought the row, `source_rank` and `source_score` what it was there. A passage that two retrievers bring is two rows
of one docno; judged passages are rows with the source `judged`. Every sampler of `larpo_ir.data.negatives` reads such a
frame, and a reranker grades it: after `CrossEncoderReranker(m)(candidates)` a retriever learns from a cross-encoder.

How hard the negatives are, easiest first (`LADDER`): passages drawn at random, other questions' passages, BM25's, and
those of the dense retriever that is being trained. For responses the ladder is that of `larpo_ir.data.negatives`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyterrier as pt

from larpo_ir.data.files import write_atomically
from larpo_ir.data.negatives import rng_of
from larpo_ir.data.records import id_text, read_records
from larpo_ir.data.results import rank_results, require_columns
from larpo_ir.data.sampling import Choice, Chooser, Columns, Ranking
from larpo_ir.data.text_files import read_lines
from larpo_ir.data.trec import read_results, write_run
from larpo_ir.rewards.reranker import Reranker
from retrieval_bridge.collections.answers import holds_answer
from retrieval_bridge.collections.formats import Collection
from retrieval_bridge.collections.rows import bare
from retrieval_bridge.retrieval.passages import Passages, full_text, passages_of, results_frame

JUDGED = "judged"
LADDER = ("random", "in_batch", "bm25", "dense")
CANDIDATES = ["qid", "query", "docno", "text", "score", "label", "source", "source_rank", "source_score"]


def mine(
    topics: pd.DataFrame,
    qrels: pd.DataFrame,
    collection: Collection | Passages | str | os.PathLike[str],
    sources: Mapping[str, pt.Transformer],
) -> pd.DataFrame:
    """Candidates of every topic that has a relevant passage: its judged passages, and what each source retrieves.

    Args:
        topics: `qid, query` and maybe `answers`, which are kept.
        qrels: `qid, docno, label`; what is not judged has relevance 0.
        collection: where the texts are (what `passages_of` takes).
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
        titles = ranked["title"] if "title" in ranked.columns else [""] * len(ranked)
        texts = [full_text(title, text) for title, text in zip(titles, ranked["text"], strict=True)]
        ranked = ranked.rename(columns={"rank": "source_rank", "score": "source_score"})
        frames.append(ranked.assign(text=texts, source=source))
    labels = qrels.set_index(["qid", "docno"])["label"]
    together = pd.concat(frames, ignore_index=True).drop(columns="title", errors="ignore")
    pairs = pd.MultiIndex.from_frame(together[["qid", "docno"]])
    together["label"] = together["score"] = labels.reindex(pairs).fillna(0).to_numpy(float)
    order = np.argsort(pd.factorize(together["qid"])[0], kind="stable")
    together = together.iloc[order].reset_index(drop=True)
    return together[[*CANDIDATES, *(name for name in together.columns if name not in CANDIDATES)]]


def _judged(topics: pd.DataFrame, qrels: pd.DataFrame, passages: Passages) -> pd.DataFrame:
    rows = qrels[["qid", "docno", "label"]].merge(topics, on="qid")
    texts = passages.frame(passages.places_of(rows["docno"])).drop(columns="docno")
    return pd.concat([rows.drop(columns="label"), texts], axis=1).assign(score=rows["label"].astype(float))
