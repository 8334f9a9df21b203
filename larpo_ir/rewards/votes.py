"""Majority vote: the samples of a query judge one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from larpo_ir.rewards.reranker import Reranker, describe
from larpo_ir.rewards.verifiable import call_on_row


class MajorityVote(Reranker):
    """Self-consistency (Wang et al. 2023): `score :=` share of the query's samples that give the same answer.

    Args:
        extract: `text -> answer`, hashable, None where there is no answer. Default
            `larpo_ir.tasks.gsm8k.extract_answer`.

    Every row of a query votes, so a response drawn twice votes twice; responses without an answer never win (score 0)
    but count among the samples. Answers with equally many votes keep the order of retrieval: whose sample was drawn
    first comes first.

    >>> results = pd.DataFrame({"qid": "q", "query": "2+2?", "docno": list("abc"), "text": ["5", "is 4", "it is 4"]})
    >>> MajorityVote(lambda text: text.split()[-1])(results)[["text", "score"]].round(2)
          text  score
    0     is 4   0.67
    1  it is 4   0.67
    2        5   0.33
    """

    def __init__(
        self, extract: Callable[[str], Hashable | None] | None = None, *, name: str | None = None
    ) -> None:
        if extract is not None and not callable(extract):
            raise ValueError(f"MajorityVote: extract must be a function from text to answer, got {extract!r}")
        super().__init__(
            name or ("MajorityVote" if extract is None else f"MajorityVote({describe(extract)})")
        )
        self.extract = extract

    def score(self, results: pd.DataFrame) -> NDArray[np.float64]:
        """Share of the query's rows that agree with each row."""
        extract: Callable[[str], Any]
        if self.extract is None:
            from larpo_ir.tasks.gsm8k import extract_answer as extract
        else:
            extract = self.extract
        ballots = [
            (row["qid"], call_on_row(self.name, row, extract, row["text"]))
            for row in results[["qid", "docno", "text"]].to_dict("records")
        ]
        voters = Counter(qid for qid, _ in ballots)
        votes = Counter(ballots)
        return np.array(
            [0.0 if answer is None else votes[qid, answer] / voters[qid] for qid, answer in ballots]
        )
