"""Log-probabilities of a policy that does not change: a reference, or the current policy on fixed lists.

One pass without gradients, divided among the processes of a launch. With a cache on disk, no policy scores a response
twice, in this run or another.

Every process makes the same number of forward passes. This is necessary if each holds a part of the policy (FSDP,
ZeRO-3), because all wait for the part of a process that makes fewer. So the main process decides for all which values
are known and how the rest is scored.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm.auto import tqdm

from larpo_ir.models.distributed import (
    compute_device,
    from_main,
    gather,
    is_main_process,
    num_processes,
    process_index,
)
from larpo_ir.models.fingerprints import fingerprint
from larpo_ir.models.frames import lists_of_frame
from larpo_ir.models.layouts import BATCH_OF, fill, units
from larpo_ir.models.scoring import MAX_TOKENS, Way, batch_logprobs, choose_way, to_device
from larpo_ir.models.tokenization import TokenizedList, pad_token_of
from larpo_ir.models.wrappers import context_length, unwrap
from larpo_ir.training.batching import whole_steps
from larpo_ir.training.logprob_cache import LogprobCache

if TYPE_CHECKING:
    from larpo_ir.models.generators import Generator


@torch.no_grad()
def fixed_logprobs(
    model: nn.Module,
    lists: Sequence[TokenizedList],
    *,
    layout: str = "auto",
    pad_token_id: int = 0,
    max_tokens: int = MAX_TOKENS,
    cache: str | os.PathLike[str] | None = None,
    precision: str | None = None,
    progress: str = "Log-probabilities",
) -> list[list[float]]:
    """log π(y|x) of every response of every list, in nats, on every process; all must call it with the same lists.

    `model`: whole in every process, or sharded and wrapped for training. `max_tokens`: tokens of one forward
    pass. `cache`: a directory for `LogprobCache`; None computes everything. `precision`: precision of the computation
    if it is not that of the weights (autocast); the cache keeps the values of each precision apart.
    """
    memory = None if cache is None else _Memory(cache, model, precision)
    known: list[list[float | None]] = [[None] * len(tokens.completion_ids) for tokens in lists]
    if memory is not None:
        known = from_main(memory.get(lists) if is_main_process() else known)
    todo = [tokens for tokens, values in zip(lists, known, strict=True) if None in values]
    if todo:
        way = from_main(choose_way(model, layout))
        computed = iter(_computed(model, todo, way, pad_token_id, max_tokens, memory, progress))
        known = [[next(computed) for _ in values] if None in values else values for values in known]
    return [[float(value) for value in values if value is not None] for values in known]


def _computed(
    model: nn.Module,
    lists: Sequence[TokenizedList],
    way: Way,
    pad_token_id: int,
    max_tokens: int,
    memory: _Memory | None,
    progress: str,
) -> list[float]:
    """The values of all responses of all lists, in order."""
    values = [0.0] * sum(len(tokens.completion_ids) for tokens in lists)
    # (parts without a token are not run: their processes would make fewer passes)
    parts = [part for part in units(lists, way.layout, max_tokens) if any(part.tokens.completion_ids)]
    costs = [part.cost for part in parts]
    batches = fill(costs, max_tokens, padded=way.layout == "plain")
    mine = whole_steps(batches, costs, num_processes())[process_index() :: num_processes()]
    hidden = None if is_main_process() else True
    total = sum(len(parts[i].tokens.completion_ids) for chosen in mine for i in chosen)
    device, training = compute_device(model), model.training
    found: dict[int, list[float]] = {}  # by the number of the first response
    model.eval()
    with tqdm(total=total, desc=progress, unit="response", disable=hidden) as bar:
        for chosen in mine:
            batch = [parts[i].tokens for i in chosen]
            sizes = [len(tokens.completion_ids) for tokens in batch]
            inputs = to_device(BATCH_OF[way.layout](batch, pad_token_id), device)
            scored = torch.split(batch_logprobs(model, inputs, sum(sizes), way), sizes)
            rows = [row.tolist() for row in scored]
            found.update(zip((parts[i].first_response for i in chosen), rows, strict=True))
            if memory is not None:
                memory.put(batch, rows)
            bar.update(sum(sizes))
    model.train(training)
    for first, row in gather(list(found.items())):
        values[first : first + len(row)] = row
    return values


class _Memory:
    """One policy's part of a `LogprobCache`."""

    def __init__(self, cache: str | os.PathLike[str], model: nn.Module, precision: str | None) -> None:
        attention = getattr(getattr(unwrap(model), "config", None), "_attn_implementation", "")
        self._cache, self._policy = LogprobCache(cache), from_main(fingerprint(model))
        self._variant = f"{precision or ''} {attention}"

    def get(self, lists: Sequence[TokenizedList]) -> list[list[float | None]]:
        return self._cache.get(self._policy, lists, variant=self._variant)

    def put(self, lists: Sequence[TokenizedList], values: Sequence[Sequence[float]]) -> None:
        self._cache.put(self._policy, lists, values, variant=self._variant)


def frame_logprobs(
    generator: Generator,
    frame: pd.DataFrame,
    *,
    max_length: int | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """log π(y|x) of every row of a results frame under the generator's model as it is now, in nats.

    `max_length`: tokens of prompt and response, default the model's context. `cache`: see `fixed_logprobs`.
    """
    limit = max_length or context_length(generator.model)
    lists, places = lists_of_frame(generator.tokenizer, frame, limit)
    scores = fixed_logprobs(
        generator.model, lists, pad_token_id=pad_token_of(generator.tokenizer), cache=cache
    )
    values = np.full(len(frame), np.nan)
    for place, row in zip(places, scores, strict=True):
        values[place] = row
    return values
