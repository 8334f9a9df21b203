"""Results of retrievers as frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from larpo_ir.data.results import rank_results
from retrieval_bridge.retrieval.passages import Passages, full_text

RESULTS = ["qid", "query", "docno", "title", "text", "score", "rank"]


def results_frame(
    topics: pd.DataFrame, places: Sequence[np.ndarray], scores: Sequence[np.ndarray], passages: Passages
) -> pd.DataFrame:
    """Results of a retriever: `qid, query, docno, title, text, score, rank` and every other column of the topics.

    Args:
        topics: `qid, query`, one row per query.
        places, scores: of each query's passages, in one order; a place below 0 is no result (FAISS's filler).

    Passages of equal score keep that order.
    """
    found = [np.asarray(row) >= 0 for row in places]
    counts = [int(row.sum()) for row in found]
    flat = [np.concatenate([np.asarray(row)[keep] for row, keep in zip(part, found, strict=True)] or [np.empty(0)])
            for part in (places, scores)]  # fmt: skip
    of_query = topics.drop(columns=[name for name in RESULTS[2:] if name in topics.columns])
    results = pd.concat(
        [
            of_query.iloc[np.repeat(np.arange(len(topics)), counts)].reset_index(drop=True),
            passages.frame(flat[0].astype(np.int64)),
        ],
        axis=1,
    )
    ranked = rank_results(results.assign(score=flat[1].astype(float)))
    return ranked[[*RESULTS, *(name for name in ranked.columns if name not in RESULTS)]]


def full_texts(results: pd.DataFrame) -> list[str]:
    """Title, if the frame has the column, and text of every row."""
    titles = results["title"] if "title" in results.columns else [""] * len(results)
    return [full_text(title, text) for title, text in zip(titles, results["text"], strict=True)]
