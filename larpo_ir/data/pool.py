"""Candidate pool: all that was retrieved, with the policy that wrote it and its judgement.

In retrieval, a pool is the union of the documents that several systems returned for a topic, judged once. Here
the systems are the policies of successive iterations. Everything that a pipeline returned stays; what a training
step or an evaluation sees is a *view*. Run and qrels of one pool come from the same rows, so that a policy's
ranking of its own responses (`by="logprob"`) can be measured against the rewards with any TREC tool.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from larpo_ir.data.chats import as_text
from larpo_ir.data.grades import Grades, labels_of
from larpo_ir.data.list_rows import rows_from_lists
from larpo_ir.data.lists import read_lists
from larpo_ir.data.pool_files import read_pool, typed, write_pool
from larpo_ir.data.prompts import asked_in, key_of
from larpo_ir.data.records import Row
from larpo_ir.data.results import rank_results, require_columns
from larpo_ir.data.trec import write_qrels, write_run

if TYPE_CHECKING:
    from datasets import Dataset

MemoryName = Literal["current", "previous", "all"]
Memory = MemoryName | int
MEMORIES: tuple[MemoryName, ...] = get_args(MemoryName)

_RUN_STEP = 1e-6  # the least difference of scores that survives printing in a TREC run
_ASKED = ["qid", "query", "prompt"]
_NEEDED = ["qid", "query", "docno", "text", "score"]
_IDENTITY = ["iteration", "qid", "docno"]


class CandidatePool:
    """Candidates with memory across iterations, provenance and deduplication by content.

    One row per iteration, prompt and distinct response, with the columns

        qid query docno text    the response; `docno` is the hash of query and text
        prompt                  what the model read, a string or a chat; null: it is asked the query
        score                   its reward (NaN: not judged)
        logprob num_tokens temperature finished token_ids    how it was sampled (null where unknown)
        iteration policy        when, and from which policy
        count                   how many times it was drawn in this iteration

    >>> from larpo_ir.data.results import docno_of
    >>> draws = pd.DataFrame({"qid": "q", "query": "2+2?", "text": ["4", "5", "4"], "score": [1.0, 0.0, 1.0]})
    >>> draws["docno"] = [docno_of(query, text) for query, text in zip(draws["query"], draws["text"])]
    >>> pool = CandidatePool()
    >>> pool.add(draws, iteration=0, policy="sft")
    >>> pool
    CandidatePool(prompts=1, candidates=2, iterations=[0])
    >>> pool.view()[["qid", "text", "score", "rank", "count"]].values.tolist()
    [['q', '4', 1.0, 0, 2], ['q', '5', 0.0, 1, 1]]
    """

    def __init__(self) -> None:
        self._frame = typed(pd.DataFrame())

    def __len__(self) -> int:
        return len(self._frame)

    def __repr__(self) -> str:
        unjudged = len(self) - int(self._judged().sum())
        note = f", unjudged={unjudged}" if unjudged else ""
        return (
            f"CandidatePool(prompts={self._frame['qid'].nunique()}, candidates={len(self)}, "
            f"iterations={self.iterations}{note})"
        )

    @property
    def iterations(self) -> list[int]:
        """The iterations that have candidates, in order."""
        return sorted(self._frame["iteration"].unique().tolist())

    @property
    def frame(self) -> pd.DataFrame:
        """A copy of every row, those without a reward too."""
        return self._frame.copy()

    def _judged(self) -> pd.Series:
        return pd.Series(np.isfinite(self._frame["score"].to_numpy()), index=self._frame.index)

    def add(self, results: pd.DataFrame, iteration: int = 0, policy: str = "") -> None:
        """Add what a pipeline returned.

        Args:
            results: a results frame whose `score` is the reward; columns that the pool does not hold are
                ignored, those that it holds and `results` lacks become null. Columns `policy` and `count` of
                the results, where present, win over the argument and over one draw per row.
            iteration: from 0. Adding to an iteration again merges.
            policy: name of the policy that wrote the responses.

        Duplicates within an iteration become one row: counts add up, score and provenance are those of the
        first copy that has a reward. A reward that is None, NaN or infinite counts as *not judged*: the row is
        kept, with one warning that counts such rows, but no view, run or qrels shows it.
        """
        require_columns(results, _NEEDED, "the candidate pool")
        if isinstance(iteration, bool) or not isinstance(iteration, (int, np.integer)) or iteration < 0:
            raise ValueError(f"iteration is {iteration!r}; it must be a whole number from 0")
        for column in ("qid", "query", "docno", "text"):
            if results[column].isna().any():
                row = int(np.flatnonzero(results[column].isna())[0])
                raise ValueError(
                    f"column {column} is empty in row {row} of the results; every candidate needs one"
                )
        self._check_prompts(results)
        if "rank" in results.columns:  # rows in the order of retrieval, which breaks ties later
            queries = pd.factorize(results["qid"])[0]
            results = results.iloc[np.lexsort((results["rank"].to_numpy(), queries))]
        defaults: dict[str, Any] = {"policy": policy, "count": 1}
        missing = {name: value for name, value in defaults.items() if name not in results.columns}
        new = typed(results.assign(iteration=int(iteration), **missing).reset_index(drop=True))

        unjudged = new[~np.isfinite(new["score"].to_numpy())]
        if len(unjudged):
            warnings.warn(
                f"{len(unjudged)} of {len(new)} candidates have no finite reward (for example of qid "
                f"{unjudged['qid'].iloc[0]}): kept in the pool, left out of views, runs and qrels",
                stacklevel=2,
            )
        together = self._frame["iteration"].to_numpy() == int(iteration)
        merged = _merge(pd.concat([self._frame[together], new], ignore_index=True))
        self._frame = pd.concat([self._frame[~together], merged], ignore_index=True)

    def _check_prompts(self, results: pd.DataFrame) -> None:
        """A query id stands for one prompt, in all iterations: its responses would be trained on another one's."""
        again = self._frame["qid"].isin(results["qid"].astype(str))
        known = pd.concat([self._frame.loc[again, _ASKED], results.reindex(columns=_ASKED)]).drop_duplicates(
            "qid"
        )
        first = dict(zip(known["qid"].astype(str), map(key_of, asked_in(known)), strict=True))
        asked = asked_in(results)
        for qid, prompt in zip(results["qid"].astype(str), asked, strict=True):
            if key_of(prompt) != first[qid]:
                raise ValueError(
                    f"query {qid} has two different prompts, one of them {as_text(prompt)!r:.60}; give every"
                    " prompt its own qid"
                )

    def view(self, memory: Memory = "current", iteration: int | None = None) -> pd.DataFrame:
        """The judged candidates that a policy of `iteration` may learn from, as a results frame.

        Args:
            memory: `current`: sampled in this iteration; `previous`: in it and in the one before; `all`: in
                any up to it; an int n: in it and in the n before.
            iteration: None is the latest.

        All prompts of the chosen iterations are there (Algorithm 1 merges D_0..D_s before it selects lists),
        each response once per prompt: with its latest score and provenance and the sum of its counts. Ranked per
        prompt by score; equal scores keep the order of retrieval.
        """
        return _results(rank_results(self._select(memory, iteration)))

    def _select(self, memory: Memory, iteration: int | None) -> pd.DataFrame:
        """The rows that `view` shows, in order of retrieval."""
        judged = self._frame[self._judged()]
        if iteration is None and not len(self):
            return judged
        latest = self.iterations[-1] if iteration is None and len(self) else iteration
        if latest not in self.iterations:
            have = ", ".join(map(str, self.iterations)) or "none"
            raise ValueError(f"the pool has no candidates of iteration {latest!r}; it has {have}")
        window = _window(memory, latest)
        rows = judged[judged["iteration"].between(latest - window, latest)]
        rows = rows.sort_values("iteration", kind="stable")
        if rows["iteration"].nunique() > 1:
            counts = rows.groupby(["qid", "docno"], sort=False)["count"].transform("sum")
            rows = rows.assign(count=counts).drop_duplicates(["qid", "docno"], keep="last")
        return rows

    def run(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        by: Literal["score", "logprob"] = "score",
        tag: str = "larpo_ir",
        memory: Memory = "all",
        iteration: int | None = None,
    ) -> pd.DataFrame:
        """A TREC run of the pool: `qid, query, docno, score, rank`, also written to `path` if one is given.

        Args:
            by: rank by reward (`score`) or by the policy's log-probability (`logprob`), which makes the
                generator itself the ranker. Candidates without a log-probability are left out of the latter.
            tag: last column of the file.
            memory, iteration: as in `view`; by default the whole pool.

        Evaluation tools break ties in different ways, so scores are strictly decreasing: rounded to 6 decimals,
        and a score that equals its predecessor's is 0.000001 lower. Frame and file hold the same numbers.
        """
        if by not in ("score", "logprob"):
            raise ValueError(f"cannot rank by {by!r}; choose score or logprob")
        rows = self._select(memory, iteration)
        known = rows[by].notna()
        if not known.all():
            if not known.any():
                raise ValueError(f"no candidate of the pool has a {by}; rank by score instead")
            warnings.warn(f"{(~known).sum()} candidates without {by} are left out of the run", stacklevel=2)
        ranked = rank_results(rows[known].assign(score=rows[by]))[["qid", "query", "docno", "score", "rank"]]
        # min over j <= i of (s_j - (i - j) step): each score at least one step below its predecessor
        steps = _RUN_STEP * ranked["rank"]
        lowered = (ranked["score"].round(6) + steps).groupby(ranked["qid"], sort=False).cummin() - steps
        ranked["score"] = lowered.round(6)
        if path is not None:
            write_run(ranked, path, tag)
        return ranked

    def qrels(
        self,
        grades: Grades = None,
        path: str | os.PathLike[str] | None = None,
        *,
        memory: Memory = "all",
        iteration: int | None = None,
    ) -> pd.DataFrame:
        """The pool's rewards as relevance judgements: `qid, docno, label`, also written to `path` if given.

        Args:
            grades: how a reward r becomes a label (a whole number, 0 = not relevant).
                None: rewards that are all whole and not negative are the labels; others are placed on
                0..100 percent of the pool's range, round(100 (r - min) / (max - min)), so that each linear gain is
                within half a percent of the range of the real one. A prompt whose responses all lie in the
                lowest half percent has no relevant response: its nDCG is 0 whatever the order.
                An int n: n levels 0..n-1 of equal width over the pool's range.
                Thresholds: the label is how many of them r reaches.
                A function: the label is what it returns.
            path, memory, iteration: as in `run`.

        The range is that of all judged candidates of the pool, whatever the view, so that labels of two views
        compare; if all rewards are the same, it is empty and all labels are 0.
        """
        rows = self._select(memory, iteration)
        labels = labels_of(rows["score"].to_numpy(), self._frame["score"][self._judged()].to_numpy(), grades)
        qrels = pd.DataFrame({"qid": rows["qid"], "docno": rows["docno"], "label": labels}).reset_index(
            drop=True
        )
        if path is not None:
            write_qrels(qrels, path)
        return qrels

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the pool to a Parquet file, at once or not at all: a reader or a crash never sees half of it."""
        return write_pool(self._frame, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CandidatePool:
        """Read a pool that `save` wrote.

        Raises `FileNotFoundError` or `ValueError`, one line that names the file, if there is none, if it is
        damaged, if it is no pool, or if a later version wrote it.
        """
        pool = cls()
        pool._frame = read_pool(path)
        return pool

    @classmethod
    def from_ranked(
        cls, source: str | os.PathLike[str] | Iterable[Row] | Dataset, policy: str = "offline"
    ) -> CandidatePool:
        """A pool of offline lists, in any layout that `larpo_ir.data.lists.read_lists` knows, as iteration 0.

        `qid` is the list's `id`, or else its row number; `query` the prompt, of a chat its last user message, and
        then `prompt` the chat; `text` the completion, of a chat its last message; `logprob` and `token_ids` come
        from `ref_logps` and `completion_ids`; `policy` is who wrote a candidate where that is recorded, and the
        argument elsewhere.

        >>> pool = CandidatePool.from_ranked([{"prompt": "2+2?", "responses": ["5", "4"], "rewards": [0, 1]}])
        >>> pool.qrels()["label"].tolist(), pool.run()["rank"].tolist()
        ([0, 1], [0, 1])
        """
        pool = cls()
        pool.add(rows_from_lists(read_lists(source), policy))
        return pool


def _window(memory: Memory, latest: int) -> int:
    """The number of iterations before `latest` whose candidates count."""
    named = {"current": 0, "previous": 1, "all": latest}
    window = named.get(memory) if isinstance(memory, str) else memory
    if isinstance(window, bool) or not isinstance(window, int) or window < 0:
        raise ValueError(f"unknown memory {memory!r}; choose {', '.join(MEMORIES)} or a number of iterations")
    return window


def _merge(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per iteration, prompt and response; judged copies before others, then the first."""
    if not frame.duplicated(_IDENTITY).any():
        return frame
    frame["count"] = frame.groupby(_IDENTITY, sort=False)["count"].transform("sum")
    judged_first = np.argsort(~np.isfinite(frame["score"].to_numpy()), kind="stable")
    return frame.iloc[judged_first].drop_duplicates(_IDENTITY).sort_index()


def _results(ranked: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with the columns of a results frame before all others."""
    first = [*_NEEDED, "rank"]
    return ranked[[*first, *(column for column in ranked.columns if column not in first)]]
