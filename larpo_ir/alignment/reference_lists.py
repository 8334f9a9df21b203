"""Training lists of an iteration: selected from the merged pool, with log π_ref of each response.

The log-probability is known where π_ref itself sampled the response. One pass of π_ref computes it for the others
(memory, recorded candidates).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from datasets import Dataset

from larpo_ir.alignment.config import AlignConfig
from larpo_ir.data.chats import clean_chat
from larpo_ir.data.negatives import sample_lists
from larpo_ir.data.prompts import asked_in
from larpo_ir.models.templates import render_prompt
from larpo_ir.models.tokenization import tokenize_prompts
from larpo_ir.objectives import get_objective
from larpo_ir.training.reference import frame_logprobs

if TYPE_CHECKING:
    from larpo_ir.models.generators import Generator


@dataclass(frozen=True)
class ReferenceLists:
    """Makes training lists from the candidates of an alignment.

    `policy`: the policy as it is now. `initial_policy()` reads π_0. `is_recorded`: True if the candidates were
    recorded elsewhere, so that their log-probabilities may be those of any policy.
    """

    config: AlignConfig
    policy: Generator
    initial_policy: Callable[[], Generator]
    is_recorded: bool

    def select(self, candidates: pd.DataFrame, iteration: int) -> Dataset:
        """Training lists from ranked candidates, with `ref_logps` if the objective needs them."""
        lists = sample_lists(
            self._of_one_kind(candidates), self.config.chosen_sampler, seed=self.config.seed + iteration
        )
        if len(lists) and get_objective(self.config.objective).needs_reference:
            return self._with_reference(lists, candidates, iteration)
        return lists

    def _of_one_kind(self, candidates: pd.DataFrame) -> pd.DataFrame:
        """Candidates whose prompts are all strings or all chats, because a column of lists holds one type.

        In a mixture, the template writes the chats as strings.
        """
        asked = asked_in(candidates)
        if len({isinstance(prompt, str) for prompt in asked}) < 2:
            return candidates
        return candidates.assign(prompt=[render_prompt(self.policy.tokenizer, prompt) for prompt in asked])

    def _with_reference(self, lists: Dataset, candidates: pd.DataFrame, iteration: int) -> Dataset:
        source = iteration if self.config.reference == "behavior" else 0
        rows = _rows_of(lists).merge(self._known(candidates, source, lists), on=["qid", "docno"], how="left")
        missing = rows["logprob"].isna().to_numpy()
        if missing.any():
            policy = self.policy if source == iteration else self.initial_policy()
            rows.loc[missing, "logprob"] = self._computed(policy, self._as_trained(rows, lists)[missing])
        flat = iter(rows["logprob"].tolist())
        logps = [[next(flat) for _ in docnos] for docnos in lists["docnos"]]
        if "ref_logps" in lists.column_names:
            lists = lists.remove_columns("ref_logps")
        return lists.add_column("ref_logps", logps)

    @property
    def _max_length(self) -> int | None:
        return self.config.training.get("max_length")

    def _known(self, candidates: pd.DataFrame, source: int, lists: Dataset) -> pd.DataFrame:
        """`qid, docno, logprob` of the candidates that π_ref sampled and that the trainer does not cut."""
        own = (candidates["iteration"] == source) & (not self.is_recorded) & candidates["token_ids"].notna()
        known = candidates.loc[own, ["qid", "docno", "logprob", "token_ids"]]
        if self._max_length is not None and len(known):
            # The trainer cuts longer responses, but the known log-probability is that of the whole response.
            room = self._max_length - self._prompt_lengths(known["qid"], lists)
            known = known[known["token_ids"].map(len) <= room]
        return known.drop(columns="token_ids")

    def _prompt_lengths(self, qids: pd.Series[Any], lists: Dataset) -> pd.Series[Any]:
        ids = tokenize_prompts(self.policy.tokenizer, [clean_chat(prompt) for prompt in lists["prompt"]])
        return qids.map(dict(zip(lists["id"], map(len, ids), strict=True))).fillna(0)

    def _as_trained(self, rows: pd.DataFrame, lists: Dataset) -> pd.DataFrame:
        """Rows with prompt, text, tokens and end as the trainer will read them."""
        prompts = dict(zip(lists["id"], lists["prompt"], strict=True))
        rows = rows.assign(
            prompt=pd.Series([prompts[qid] for qid in rows["qid"]], dtype=object),
            query="",
            text=_flat(lists["completions"]),
            finished=self.config.training.get("append_eos", True),
        )
        if "finished" in lists.column_names:
            rows["finished"] &= np.array(_flat(lists["finished"]))
        if "completion_ids" in lists.column_names:
            rows["token_ids"] = _flat(lists["completion_ids"])
        return rows

    def _computed(self, policy: Generator, rows: pd.DataFrame) -> np.ndarray:
        cache = self.config.training.get("reference_cache")
        return frame_logprobs(policy, rows, max_length=self._max_length, cache=cache)


def _rows_of(lists: Dataset) -> pd.DataFrame:
    """`qid, docno` of every response of every list, in their order."""
    qids = [qid for qid, docnos in zip(lists["id"], lists["docnos"], strict=True) for _ in docnos]
    return pd.DataFrame({"qid": qids, "docno": _flat(lists["docnos"])})


def _flat(column: Any) -> list[Any]:
    return [value for row in column for value in row]
