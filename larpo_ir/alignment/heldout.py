"""Measures on held-out prompts, taken before alignment and after each of its iterations.

Per prompt, one column each (NaN where a measure is not defined):

    greedy_accuracy   1 if the greedy response is correct (reward >= correct_at), else 0
    pass@1 …          unbiased Pass@N of `num_samples` samples at `temperature`
    reward_mean       mean reward of these samples
    nDCG@10           of these samples ranked by log π(y|x), with rewards as grades: the generator as a retriever

Other columns are measured on *fixed lists*: recorded lists if they are given, otherwise the samples of the policy
before any alignment. On these, policies of different iterations can be compared response by response.

    best_logprob               log π(y|x) of the best response, nats; a fall is likelihood displacement. NaN where
                               all rewards are equal, so that no response is the best
    fixed_nDCG@10              nDCG@10 of log π(y|x)
    implicit_nDCG@10           nDCG@10 of the implicit reward log π(y|x) - log π_0(y|x)
    implicit_kendall_tau       Kendall's τ-b of the implicit reward and the reward

The last two are NaN for π_0 itself, because its implicit rewards are all 0.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.results import rank_results
from larpo_ir.evaluation.measures import evaluate_per_query, kendall_tau
from larpo_ir.models.distributed import shared_transform
from larpo_ir.training.reference import frame_logprobs

if TYPE_CHECKING:
    import pyterrier as pt

    from larpo_ir.models.generators import Generator

logger = logging.getLogger("larpo_ir")

PASS_AT = (1, 2, 4, 8, 16, 32, 64)


@dataclass
class HeldOut:
    """Held-out prompts and lists, and the sampling by which a policy is measured on them.

    `topics`: `qid, query` and the columns that the reward needs. `lists`: fixed candidate lists, a results frame with
    grades as `score`. Either may be None. A response is correct if its reward is at least `correct_at`. By default
    this is 1 if all rewards are 0 or 1; for other rewards (a reward model's), accuracy and Pass@N are not defined.
    """

    topics: pd.DataFrame | None = None
    lists: pd.DataFrame | None = None
    num_samples: int = 16
    temperature: float = 1.0
    correct_at: float | None = None
    seed: int = 1_000_003
    samples: pd.DataFrame = field(init=False, default_factory=pd.DataFrame)
    greedy: pd.DataFrame = field(init=False, default_factory=pd.DataFrame)
    checked: bool = field(init=False, default=False)

    def measure(self, generator: Generator, reward: pt.Transformer | None) -> pd.DataFrame:
        """Per-prompt measures of a policy, indexed by qid. Keeps the generated responses in `samples` and `greedy`.

        The first call also fixes the lists (unless recorded ones were given) and their log π_0.
        """
        if not self.checked:
            self.topics, self.lists = (
                None if frame is None else leave_out_long(generator, frame, "held-out")
                for frame in (self.topics, self.lists)
            )
            self.checked = True
        columns = []
        if self.topics is not None and len(self.topics) and reward is not None:
            columns.append(self._measure_samples(self.topics, generator, reward))
        if self.lists is None and len(self.samples):
            self.lists = self._fixed(self.samples)
        if self.lists is not None and len(self.lists):
            columns.append(self._measure_lists(generator))
        return pd.concat(columns, axis=1) if columns else pd.DataFrame()

    def _measure_samples(
        self, topics: pd.DataFrame, generator: Generator, reward: pt.Transformer
    ) -> pd.DataFrame:
        decode = generator.replace(temperature=0.0, num_candidates=1, seed=self.seed)
        sample = generator.replace(
            temperature=self.temperature, num_candidates=self.num_samples, seed=self.seed
        )
        self.greedy = shared_transform(reward, decode.transform(topics))
        drawn = sample.transform(topics)
        drawn["draw"] = drawn["rank"]  # keeps the order of drawing, because reranking changes `rank`
        self.samples = shared_transform(reward, drawn)
        per_query = self.samples.groupby("qid", sort=False)["score"].mean().to_frame("reward_mean")
        correct_at = self._threshold()
        if correct_at is not None:
            greedy = self.greedy.set_index("qid")["score"] >= correct_at
            judged = self.samples.drop_duplicates(["qid", "docno"])[["qid", "docno", "score"]]
            correct = judged.assign(label=(judged["score"] >= correct_at).astype(int)).drop(columns="score")
            passed = evaluate_per_query(self.samples, correct, [f"Pass@{n}" for n in self._pass_at()])
            passed = passed.rename(columns=str.lower)
            per_query = pd.concat([greedy.astype(float).rename("greedy_accuracy"), passed, per_query], axis=1)
        return per_query.join(_ndcg(self._fixed(self.samples), by="logprob", name="nDCG@10"))

    def _threshold(self) -> float | None:
        if self.correct_at is not None:
            return self.correct_at
        rewards = pd.concat([self.samples["score"], self.greedy["score"]]).dropna()
        return 1.0 if rewards.isin([0.0, 1.0]).all() else None

    def _pass_at(self) -> list[int]:
        return [n for n in PASS_AT if n <= self.num_samples]

    def _fixed(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Distinct judged responses, sorted by their hashes, so that their order does not depend on their quality."""
        lists = samples[np.isfinite(samples["score"].astype(float))].drop_duplicates(["qid", "docno"])
        if "token_ids" in lists:  # as plain lists: pandas reads no Arrow types from a file
            ids = [list(ids) if known else None for ids, known in _known(lists["token_ids"])]
            lists = lists.assign(token_ids=pd.Series(ids, index=lists.index, dtype=object))
        return (
            lists.sort_values(["qid", "docno"]).drop(columns="rank", errors="ignore").reset_index(drop=True)
        )

    def _measure_lists(self, generator: Generator) -> pd.DataFrame:
        assert self.lists is not None
        lists = self.lists = self._fixed(self.lists)
        lists["now"] = frame_logprobs(generator, lists)
        if "initial" not in lists:
            lists["initial"] = lists["now"]
        lists["implicit"] = lists["now"] - lists["initial"]
        rewards = lists.groupby("qid", sort=False)["score"]
        best = (lists["score"] == rewards.transform("max")) & (lists["score"] > rewards.transform("min"))
        columns = [
            lists[best].groupby("qid", sort=False)["now"].mean().rename("best_logprob"),
            _ndcg(lists, by="now", name="fixed_nDCG@10"),
        ]
        if lists["implicit"].abs().max() > 0:
            scored = lists.assign(score=lists["implicit"])
            with warnings.catch_warnings():  # lists of one grade have no τ; the mean is over the others
                warnings.simplefilter("ignore")
                tau = kendall_tau(scored, lists.rename(columns={"score": "label"})[["qid", "docno", "label"]])
            columns += [
                _ndcg(lists, by="implicit", name="implicit_nDCG@10"),
                tau.rename("implicit_kendall_tau"),
            ]
        return pd.concat(columns, axis=1)


def _known(column: pd.Series) -> Iterable[tuple[Any, bool]]:
    return zip(column, column.notna(), strict=True)


def _ndcg(lists: pd.DataFrame, by: str, name: str) -> pd.Series:
    """nDCG@10 per prompt of graded lists ranked by a column. `CandidatePool` grades real-valued rewards."""
    pool = CandidatePool()
    pool.add(lists)
    ranked = rank_results(lists.drop(columns="rank", errors="ignore").assign(score=lists[by]))
    return evaluate_per_query(ranked, pool.qrels(), ["nDCG@10"])["nDCG@10"].rename(name)


def ranking_of(lists: pd.DataFrame, scores: Sequence[float] | pd.Series) -> pd.DataFrame:
    """nDCG@10 and Kendall's τ-b per prompt of graded lists when ranked by any scores (for baselines)."""
    lists = lists.assign(by=np.asarray(scores, dtype=float))
    grades = lists.rename(columns={"score": "label"})[["qid", "docno", "label"]]
    tau = kendall_tau(lists.assign(score=lists["by"]), grades).rename("kendall_tau")
    return pd.concat([_ndcg(lists, by="by", name="nDCG@10"), tau], axis=1)


def leave_out_long(generator: Generator, frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """Rows whose prompt leaves room for a response in the model's context; one warning counts the other prompts."""
    topics = frame[[c for c in ("qid", "query", "prompt") if c in frame]].drop_duplicates("qid")
    fits = generator.fits(topics)
    if not fits.all():
        first = topics["qid"][~fits].iloc[0]
        logger.warning(
            f"{(~fits).sum()} of {len(fits)} {what} prompts leave no room for max_new_tokens="
            f"{generator.max_new_tokens} in the model's context and are left out (first: qid {first})"
        )
    return frame[frame["qid"].isin(topics["qid"][fits])].reset_index(drop=True)
