"""Training lists of all prompts: a sampler is asked for each prompt, with a random stream of its own."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from larpo_ir.data.list_rows import lists_from_rows
from larpo_ir.data.negatives.arguments import at_least
from larpo_ir.data.results import require_columns
from larpo_ir.data.sampling import Chooser, Sampler, columns_of, fitted, rows_of

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

SamplerLike = Sampler | Callable[[pd.DataFrame, np.random.Generator], "pd.DataFrame | None"]
Group = tuple[
    int, int, np.random.Generator
]  # first row of a prompt, the row after its last, its random stream


def rng_of(seed: int, qid: str) -> np.random.Generator:
    """A random stream that belongs to a seed and a query, whatever other queries there are."""
    digest = hashlib.blake2b(qid.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def _sample(candidates: pd.DataFrame, sampler: SamplerLike, seed: int) -> tuple[pd.DataFrame, list[int]]:
    """The rows of all training lists, list after list, and the number of rows of each list."""
    codes, qids = pd.factorize(candidates["qid"])
    candidates = candidates.take(np.argsort(codes, kind="stable"))
    sizes = np.bincount(codes, minlength=len(qids))
    groups = [
        (int(end - size), int(end), rng_of(seed, str(qid)))
        for end, size, qid in zip(np.cumsum(sizes), sizes, qids, strict=True)
    ]
    if isinstance(sampler, Chooser) and sampler.on_arrays:
        return _sample_arrays(candidates, sampler, groups)
    chosen = [sampler(candidates.iloc[start:stop], rng) for start, stop, rng in groups]
    frames = [frame for frame in chosen if frame is not None]
    return pd.concat([candidates.iloc[:0], *frames]), [len(frame) for frame in frames]


def _sample_arrays(
    candidates: pd.DataFrame, sampler: Chooser, groups: list[Group]
) -> tuple[pd.DataFrame, list[int]]:
    """The same from arrays: every prompt's choice first, then the rows of all lists at once."""
    columns, choices = columns_of(candidates, sampler.reads), []
    for start, stop, rng in groups:
        choice = sampler.choose({name: values[start:stop] for name, values in columns.items()}, rng)
        if choice is not None:
            choices.append((start, choice))
    return rows_of(candidates, choices, sampler.fitted_to), [len(choice) for _, choice in choices]


def sample_lists(candidates: pd.DataFrame, sampler: SamplerLike, seed: int = 0) -> Dataset:
    """Training lists of all prompts: a `datasets.Dataset` of ranked lists (see `larpo_ir.data.lists`).

    Args:
        candidates: a results frame, such as `CandidatePool.view()`.
        sampler: chooses from each prompt's candidates; a `Sampler`, or a function that is called like one. If it
            has `fit`, it is first fitted to all candidates.
        seed: not negative. Each prompt has its own random stream, of `seed` and its `qid`, so that a list depends
            neither on the other prompts nor on their order.

    Columns `id` (the qid), `prompt` (the candidates' `prompt`, where they have one, else `query`), `completions`,
    `relevance` (the candidates' `score`), `docnos`, and

    * `completion_ids`, if every chosen row has its `token_ids`;
    * `ref_logps`, if besides every chosen row has its `logprob` and all candidates come from one iteration and
      policy: log-probabilities of several policies, or of tokens unknown, are no reference, and left to be computed.

    A prompt with nothing to learn has no list; prompts minus `len(lists)` are how many those are (also logged).

    >>> from larpo_ir.data.negatives import BestWorst
    >>> group = pd.DataFrame({"qid": "q", "query": "2+2?", "docno": ["a", "b"], "text": ["5", "4"], "score": [0, 1]})
    >>> sample_lists(group, BestWorst())[0]
    {'id': 'q', 'prompt': '2+2?', 'completions': ['4', '5'], 'relevance': [1.0, 0.0], 'docnos': ['b', 'a']}
    """
    require_columns(candidates, ["qid", "query", "docno", "text", "score"], "sample_lists")
    at_least(seed, 0, "seed")
    rows, lengths = _sample(candidates, fitted(sampler, candidates), seed)
    prompts = candidates["qid"].nunique()
    logger.debug("%d of %d prompts gave nothing to learn", prompts - len(lengths), prompts)
    origin = [column for column in ("iteration", "policy") if column in candidates.columns]
    one_policy = all(candidates[column].nunique(dropna=False) == 1 for column in origin)
    if not one_policy or "token_ids" not in rows.columns or rows["token_ids"].isna().any():
        rows = rows.drop(columns="logprob", errors="ignore")
    return lists_from_rows(rows, lengths)
