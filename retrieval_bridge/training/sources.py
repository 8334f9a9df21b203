"""Sources of negatives besides retrievers: relevant passages of other topics, and lists that others have mined."""

from __future__ import annotations

import numpy as np
import pandas as pd

from larpo_ir.data.negatives import rng_of
from larpo_ir.data.results import rank_results
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.retriever import Found, TopicRetriever

NO_PLACES = np.empty(0, dtype=np.int64)


class OtherTopicsPassages(TopicRetriever):
    """Relevant passages of other topics, at random: a topic meets them as in-batch negatives (Karpukhin et al. 2020).

    They are mined, so that lists of one length differ in nothing but their negatives. (`train_retriever(...,
    in_batch=True)` takes all passages of the batch.)
    """

    def __init__(self, passages: Passages, qrels: pd.DataFrame, number: int = 50, seed: int = 0) -> None:
        super().__init__(passages, number)
        self.number, self.seed = number, seed
        relevant = qrels[qrels["label"] > 0]
        self._own = {qid: set(docnos) for qid, docnos in relevant.groupby("qid")["docno"]}
        self._pool = relevant["docno"].drop_duplicates().to_numpy()

    def find_topics(self, topics: pd.DataFrame, k: int) -> Found:
        """The first `k` of the passages that are drawn for each topic; a cutoff changes no draw."""
        places = [self._draw(qid)[:k] for qid in topics["qid"]]
        return places, [-np.arange(len(row), dtype=float) for row in places]

    def _draw(self, qid: str) -> np.ndarray:
        own = self._own.get(qid, set())
        rng, wanted = rng_of(self.seed, qid), min(self.number + len(own), len(self._pool))
        docnos = [docno for docno in rng.choice(self._pool, wanted, replace=False) if docno not in own]
        return self.passages.places_of(docnos[: self.number])


class Listed(TopicRetriever):
    """Passages that somebody else has mined and listed (`qid, docno`, maybe `rank` and `score`), as a source.

    `read_negatives(file)` and `Collection.negatives(split)` are such lists; `name` is for messages. Raises
    `ValueError` where no topic has any.
    """

    def __init__(self, listed: pd.DataFrame, passages: Passages, name: str = "the list of negatives") -> None:
        listed = listed.drop(columns="label", errors="ignore")
        if "score" not in listed:
            listed["score"] = -listed.groupby("qid", sort=False).cumcount().astype(float)
        self.name, self.listed = name, rank_results(listed)
        super().__init__(passages, int(self.listed["rank"].max()) + 1 if len(listed) else 1)

    def find_topics(self, topics: pd.DataFrame, k: int) -> Found:
        """The first `k` of the passages that are listed for each topic."""
        rows = self.listed[self.listed["qid"].isin(set(topics["qid"]))]
        if rows.empty:
            listed = f"it lists {self.listed['qid'].iloc[0]!r}" if len(self.listed) else "it is empty"
            raise ValueError(f"{self.name} has nothing for topics like {topics['qid'].iloc[0]!r}: {listed}")
        places, scores = self.passages.places_of(rows["docno"]), rows["score"].to_numpy(float)
        of_query = rows.groupby("qid", sort=False).indices
        chosen = [of_query.get(qid, NO_PLACES)[:k] for qid in topics["qid"]]
        return [places[rows_of] for rows_of in chosen], [scores[rows_of] for rows_of in chosen]
