"""Several rewards as one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyterrier as pt
from numpy.typing import NDArray

from larpo_ir.rewards.columns import Needs, all_of, needs_of
from larpo_ir.rewards.reranker import Reranker

_ROW = "_ensemble_row"


def _zscore(scores: pd.Series[Any], qids: pd.Series[Any]) -> pd.Series[Any]:
    groups = scores.groupby(qids)
    differ = groups.transform("nunique") > 1  # the spread of equal rewards may be a rounding error, not 0
    deviations = (scores - groups.transform("mean")) / groups.transform("std", ddof=0).where(differ, 1.0)
    return deviations.where(differ | scores.isna(), 0.0)


def _rank(scores: pd.Series[Any], qids: pd.Series[Any]) -> pd.Series[Any]:
    groups = scores.groupby(qids)
    below = groups.rank(method="average") - 1
    others = groups.transform("count") - 1
    return (below / others).where((others > 0) | scores.isna(), 0.5)


_NORMALISERS = {None: lambda scores, qids: scores, "zscore": _zscore, "rank": _rank}


class RewardEnsemble(Reranker):
    """Weighted mean of several rewards: `score := Σ w_i r_i / Σ w_i`, row by row.

    Args:
        rewards: rerankers, or pipelines that neither add nor drop rows; or one list of them.
        weights: one number per reward, default all 1.
        normalize: what is done to each reward within each query before the mean. None: nothing; "zscore": subtract
            the mean, divide by the standard deviation (rewards that are all equal become 0); "rank": from 0 (worst)
            to 1 (best), equal rewards sharing their mean rank.

    Every reward sees the same frame. Scores are put together by row: PyTerrier's `+` joins on (qid, docno) instead,
    and a response that was drawn twice would come out four times. A row without one of its rewards has no score.

    Raises:
        ValueError: no rewards, weights that do not fit, unknown `normalize`, a reward that changes the rows.

    >>> from larpo_ir.rewards import VerifiableReward
    >>> results = pd.DataFrame({"qid": "q", "query": "2+2?", "docno": ["a", "b"], "text": ["four", "4"]})
    >>> short, digits = VerifiableReward(lambda text: -len(text)), VerifiableReward(lambda text: text.isdigit())
    >>> RewardEnsemble(short, digits, weights=[1, 3])(results)[["text", "score"]]
       text  score
    0     4    0.5
    1  four   -1.0
    """

    columns = ("qid", "docno")

    def __init__(
        self,
        *rewards: pt.Transformer | Sequence[pt.Transformer],
        weights: Sequence[float] | None = None,
        normalize: str | None = None,
        name: str | None = None,
    ) -> None:
        parts = rewards[0] if len(rewards) == 1 and isinstance(rewards[0], list | tuple) else rewards
        if not parts or not all(isinstance(part, pt.Transformer) for part in parts):
            raise ValueError("RewardEnsemble needs one or more rerankers (pt.Transformer)")
        if normalize not in _NORMALISERS:
            raise ValueError(
                f"unknown normalize {normalize!r}; choose one of {', '.join(map(repr, _NORMALISERS))}"
            )
        self.weights = np.ones(len(parts)) if weights is None else np.asarray(weights, dtype=float)
        if (
            self.weights.shape != (len(parts),)
            or not np.isfinite(self.weights).all()
            or self.weights.sum() == 0
        ):
            raise ValueError(
                f"RewardEnsemble needs {len(parts)} finite weights with a sum other than 0, got {weights}"
            )
        self.rewards = list(parts)
        self.normalize = normalize
        super().__init__(name or f"RewardEnsemble({', '.join(map(str, parts))})")

    def check(self, topics: pd.DataFrame) -> None:
        """As each of the rewards checks them."""
        for reward in self.rewards:
            if isinstance(reward, Reranker):
                reward.check(topics)

    def transform_inputs(self) -> Needs:
        """The columns that its rewards need, all of them together."""
        return all_of([self.columns], *map(needs_of, self.rewards))

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """As for every reranker; columns that one of the rewards refuses are refused."""
        outputs = super().transform_outputs(input_columns)
        for reward in self.rewards:
            with suppress(pt.inspect.InspectError):  # PyTerrier cannot tell of every transformer
                pt.inspect.transformer_outputs(reward, input_columns)
        return outputs

    def score(self, results: pd.DataFrame) -> NDArray[np.float64]:
        """Weighted mean of the rewards of each row."""
        frame = results.reset_index(drop=True)
        frame[_ROW] = np.arange(len(frame))
        normalise = _NORMALISERS[self.normalize]
        total = np.zeros(len(frame))
        for weight, reward in zip(self.weights, self.rewards, strict=True):
            scored = reward.transform(frame.copy())
            if sorted(scored.get(_ROW, [])) != list(range(len(frame))):
                raise ValueError(
                    f"{self.name}: {reward} adds or drops rows or columns; an ensemble takes rerankers only"
                )
            scores = scored.set_index(_ROW)["score"].astype(float).sort_index()
            total += weight * normalise(scores, frame["qid"]).to_numpy()
        mean: NDArray[np.float64] = total / self.weights.sum()
        return mean
