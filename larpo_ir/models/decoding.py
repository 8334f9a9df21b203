"""Sampling from a causal language model, fast when many responses share a prompt. Tensors and models only.

    y_t = F_t⁻¹(u_t),   F_t the cumulative distribution of softmax(logits / T) over the vocabulary

* Every distinct prompt of a batch is read once; its keys and values are then repeated for its responses.
* Responses that have ended leave the batch as soon as a quarter of it has.
* One uniform number decides one token, so a response depends on its own numbers, prompt and temperature, and
  on no other response of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from larpo_ir.models.contexts import context_of
from larpo_ir.models.drawn import Response

ALIVE_SHARE = 0.75  # a batch is cut down to its unfinished rows when at most this share is left


@torch.no_grad()
def decode(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    temperatures: Sequence[float],
    uniforms: np.ndarray,
    *,
    eos_token_ids: Sequence[int],
    pad_token_id: int = 0,
    stops: Callable[[Tensor], Tensor] | None = None,
) -> list[Response]:
    """One response for each entry of `prompts`: token ids, equal ones for responses to the same prompt.

    `temperatures`: one each, 0 takes the likeliest token. `uniforms`: [responses, max_new_tokens] numbers in
    [0, 1), one for every token that may be drawn. `stops`: from the tokens written so far, [rows, tokens], to
    whether a row ends there, besides by `eos_token_ids`. The model's mode is the caller's business. Raises
    `ValueError` when the model's logits are not numbers.
    """
    if not len(prompts):
        return []
    device = next(model.parameters()).device
    distinct = {ids: place for place, ids in enumerate(dict.fromkeys(map(tuple, prompts)))}
    context = context_of(model, list(distinct), pad_token_id)
    draw = _Draw(temperatures, uniforms, device)
    written = _Written(len(prompts), uniforms.shape[1], device)
    ends = torch.tensor(list(eos_token_ids), dtype=torch.long, device=device)

    rows = torch.arange(len(prompts), device=device)  # of `prompts`, which are in the batch
    going_on = torch.ones_like(rows, dtype=torch.bool)
    samples = torch.tensor([distinct[tuple(ids)] for ids in prompts], device=device)
    logits = context.read_prompts()[samples]
    context.keep(samples)
    for step in range(uniforms.shape[1]):
        tokens, logprobs = draw(logits, rows, step)
        written.add(rows, step, tokens, logprobs, going_on)
        ended = torch.isin(tokens, ends)
        if stops is not None:
            ended |= stops(written.of(rows, step))
        written.end(rows, going_on & ended)
        going_on = going_on & ~ended
        num_alive = int(going_on.sum())  # the one wait for the device in a step
        if not num_alive or step == uniforms.shape[1] - 1:
            break
        if num_alive <= ALIVE_SHARE * len(rows):
            alive = going_on.nonzero().squeeze(-1)
            context.keep(alive)
            rows, tokens, going_on = rows[alive], tokens[alive], going_on[alive]
        logits = context.read(tokens)
    return written.responses()


def ends_in(tokenizer: Any, strings: list[str]) -> Callable[[Tensor], Tensor] | None:
    """From the tokens written so far, [rows, tokens], to which rows end in one of some strings; None without any."""
    if not strings:
        return None
    from transformers.generation.stopping_criteria import StopStringCriteria

    ends = StopStringCriteria(tokenizer, strings)
    return lambda written: ends(written, None)


class _Draw:
    """Tokens and their log π at temperature 1 from [rows, vocabulary] logits.

    A token is the first whose cumulative probability exceeds u; one of probability 0 is never drawn.
    """

    def __init__(self, temperatures: Sequence[float], uniforms: np.ndarray, device: torch.device) -> None:
        heat = np.asarray(temperatures, dtype=np.float32)
        heat = np.where(heat < 1e-30, 0, heat)  # less would overflow when log-probabilities are divided by it
        self._all_one, self._all_greedy = bool((heat == 1).all()), not heat.any()
        self._some_greedy = not heat.all()
        self._temperatures = torch.as_tensor(heat, device=device)
        exact = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        self._uniforms = torch.as_tensor(uniforms, dtype=exact, device=device)

    def __call__(self, logits: Tensor, rows: Tensor, step: int) -> tuple[Tensor, Tensor]:
        log_probs = logits.log_softmax(-1)
        if self._all_greedy:
            tokens = logits.argmax(-1)
        else:
            temperatures = self._temperatures[rows]
            tokens = self._sample(log_probs, temperatures, self._uniforms[rows, step])
            if self._some_greedy:
                tokens = torch.where(temperatures == 0, logits.argmax(-1), tokens)
        return tokens, log_probs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)

    def _sample(self, log_probs: Tensor, temperatures: Tensor, uniforms: Tensor) -> Tensor:
        if self._all_one:
            probs = log_probs.exp()
        else:
            probs = (log_probs / temperatures.masked_fill(temperatures == 0, 1).unsqueeze(-1)).softmax(-1)
        cumulative = probs.cumsum(-1, dtype=uniforms.dtype)
        total = cumulative[:, -1]
        last = total.nextafter(torch.zeros_like(total))
        point = torch.minimum(uniforms * total, last)  # the product may round up to the total
        tokens = torch.searchsorted(cumulative, point.unsqueeze(-1), right=True).squeeze(-1)
        return tokens.clamp(max=probs.shape[-1] - 1)  # (beyond the end when the logits are not numbers)


class _Written:
    """The tokens that have been drawn so far, on the device until all is done."""

    def __init__(self, size: int, max_new_tokens: int, device: torch.device) -> None:
        self._tokens = torch.zeros(size, max_new_tokens, dtype=torch.long, device=device)
        self._logprobs = torch.zeros(size, device=device)
        self._lengths = torch.zeros(size, dtype=torch.long, device=device)
        self._ended = torch.zeros(size, dtype=torch.bool, device=device)

    def add(self, rows: Tensor, step: int, tokens: Tensor, logprobs: Tensor, going_on: Tensor) -> None:
        self._tokens[rows, step] = tokens
        self._logprobs[rows] += logprobs.masked_fill(~going_on, 0)
        self._lengths[rows] += going_on

    def of(self, rows: Tensor, step: int) -> Tensor:
        """[rows, step + 1] tokens."""
        return self._tokens[rows, : step + 1]

    def end(self, rows: Tensor, now: Tensor) -> None:
        """The rows that are ended by their last token."""
        self._ended[rows] |= now

    def responses(self) -> list[Response]:
        if not self._logprobs.isfinite().all():
            raise ValueError(
                "the model's logits are not numbers (NaN): look at its weights and its precision"
            )
        columns = (self._tokens, self._lengths, self._logprobs, self._ended)
        return [
            Response(ids[:length], logprob, ended)
            for ids, length, logprob, ended in zip(*(column.tolist() for column in columns), strict=True)
        ]
