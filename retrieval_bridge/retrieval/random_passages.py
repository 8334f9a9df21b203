"""Passages at random."""

from __future__ import annotations

import numpy as np
import pandas as pd

from larpo_ir.data.negatives import rng_of
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.retriever import Found, TopicRetriever


class RandomPassages(TopicRetriever):
    """Retriever that knows nothing: `number` passages, drawn without replacement; a stream for each seed and qid."""

    def __init__(self, passages: Passages, number: int = 1000, seed: int = 0) -> None:
        super().__init__(passages, number)
        self.number, self.seed = number, seed

    def find_topics(self, topics: pd.DataFrame, k: int) -> Found:
        """The first `k` of the passages that are drawn for each topic; a cutoff changes no draw."""
        size, number = len(self.passages), min(self.number, len(self.passages))
        places = [rng_of(self.seed, qid).choice(size, number, replace=False)[:k] for qid in topics["qid"]]
        return places, [-np.arange(len(row), dtype=float) for row in places]
