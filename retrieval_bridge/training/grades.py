"""Grades of candidates by something else than the qrels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from larpo_ir.rewards.reranker import Reranker
from retrieval_bridge.collections.answers import holds_answer


class AnswerGrades(Reranker):
    """Graded relevance from answer strings: 2 for passages judged relevant, 1 for others with an answer, or 0."""

    columns = ("qid", "docno", "text", "answers", "label")

    def score(self, results: pd.DataFrame) -> np.ndarray:
        right = [
            holds_answer(text, answers)
            for text, answers in zip(results["text"], results["answers"], strict=True)
        ]
        return np.where(results["label"] >= 1, 2.0, np.array(right, dtype=float))
