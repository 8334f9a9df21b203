"""Sampling from a causal language model, fast when many responses share a prompt. Tensors and models only.

    y_t = F_t⁻¹(u_t),   F_t the cumulative distribution of softmax(logits / T) over the vocabulary

* Every distinct prompt of a batch is read once; its keys and values are then repeated for its responses.
* Responses that have ended leave the batch as soon as a quarter of it has.
* One uniform number decides one token, so a response depends on its own numbers, prompt and temperature, and
  on no other response of the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from larpo_ir.models.drawn import Response
from larpo_ir.models.wrappers import unwrap

PREFILL_TOKENS = 16_384  # prompts read in one pass, padding included: bounds the memory of activations
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
    text = _text_of(model, list(distinct), pad_token_id)
    draw = _Draw(temperatures, uniforms, device)
    written = _Written(len(prompts), uniforms.shape[1], device)
    ends = torch.tensor(list(eos_token_ids), dtype=torch.long, device=device)

    rows = torch.arange(len(prompts), device=device)  # of `prompts`, which are in the batch
    going_on = torch.ones_like(rows, dtype=torch.bool)
    samples = torch.tensor([distinct[tuple(ids)] for ids in prompts], device=device)
    logits = text.read_prompts()[samples]
    text.keep(samples)
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
            text.keep(alive)
            rows, tokens, going_on = rows[alive], tokens[alive], going_on[alive]
        logits = text.read(tokens)
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
    """What has been drawn so far, on the device until all is done."""

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


# What the model has read


class _Text(Protocol):
    """Rows of tokens that grow at their ends. Logits are [rows, vocabulary], float32, of the next token."""

    def read_prompts(self) -> Tensor: ...

    def read(self, tokens: Tensor) -> Tensor:
        """One more token for each row."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, in this order; a row may be there several times."""


def _text_of(model: nn.Module, prompts: list[tuple[int, ...]], pad_token_id: int) -> _Text:
    accepted = set(inspect.signature(unwrap(model).forward).parameters)
    device = next(model.parameters()).device
    kind = _CachedText if "past_key_values" in accepted and _remembers_in_cache(model) else _PlainText
    return kind(model, accepted, prompts, pad_token_id, device)


def _remembers_in_cache(model: nn.Module) -> bool:
    """Whether a `DynamicCache` holds all that the model remembers of a text, so that it can be repeated.

    Not so where layers have states of their own (RecurrentGemma) or prompts are learned (PEFT's prompt tuning).
    """
    inner: Any = unwrap(model)
    learns_prompts = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    own_states = any(hasattr(module, "recurrent_states") for module in inner.modules())
    return bool(inner._supports_default_dynamic_cache() and not learns_prompts and not own_states)


class _CachedText:
    """Left-padded rows whose keys and values are kept."""

    def __init__(
        self,
        model: nn.Module,
        accepted: set[str],
        prompts: list[tuple[int, ...]],
        pad_token_id: int,
        device: torch.device,
    ) -> None:
        self._model = model
        self._config: Any = unwrap(model).config
        self._accepted = accepted
        self._width = max(map(len, prompts))
        padding = [self._width - len(ids) for ids in prompts]
        self._is_padded = any(padding)
        self._padding = torch.tensor(padding, device=device)
        self._ids = torch.tensor(
            [[pad_token_id] * left + list(ids) for left, ids in zip(padding, prompts, strict=True)],
            device=device,
        )
        self._cache = self._new_cache()

    def read_prompts(self) -> Tensor:
        count = len(self._ids)
        size = max(1, PREFILL_TOKENS // self._width) if _can_join(self._cache) else count
        caches, logits = [], []
        for start in range(0, count, size):
            part = slice(start, start + size)
            cache = self._new_cache()
            logits.append(self._forward(self._ids[part], self._padding[part], cache))
            caches.append(cache)
        self._cache = _join(caches)
        return torch.cat(logits)

    def read(self, tokens: Tensor) -> Tensor:
        self._width += 1
        return self._forward(tokens.unsqueeze(-1), self._padding, self._cache)

    def keep(self, rows: Tensor) -> None:
        self._padding = self._padding[rows]
        layers: list[Any] = self._cache.layers
        for place, layer in enumerate(layers):
            if type(layer) in (DynamicLayer, _RoomyLayer) and layer.is_initialized:
                there = rows.to(layer.keys.device)  # layers of one model may lie on several devices
                layers[place] = _RoomyLayer(
                    *(states.index_select(0, there) for states in (layer.keys, layer.values))
                )
            else:
                layer.reorder_cache(rows)

    def _new_cache(self) -> DynamicCache:
        return DynamicCache(config=self._config)

    def _forward(self, ids: Tensor, padding: Tensor, cache: DynamicCache) -> Tensor:
        columns = torch.arange(self._width, device=ids.device)
        positions = columns[-ids.shape[1] :] - padding.unsqueeze(-1)
        mask = (columns >= padding.unsqueeze(-1)).long() if self._is_padded else None
        optional = {"position_ids": positions.clamp(min=0), "logits_to_keep": 1}
        outputs = self._model(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **{name: value for name, value in optional.items() if name in self._accepted},
        )
        logits: Tensor = outputs.logits[:, -1].float()
        return logits


class _RoomyLayer(DynamicLayer):
    """Keys and values with room behind them: a step writes one column where `DynamicLayer` copies them all."""

    MIN_ROOM = 64

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self._length = keys.shape[-2]
        self._key_store, self._value_store = self._with_room(keys), self._with_room(values)
        self._shown()

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        start, self._length = self._length, self._length + key_states.shape[-2]
        if self._length > self._key_store.shape[-2]:
            self._key_store, self._value_store = (
                self._with_room(store[:, :, :start]) for store in (self._key_store, self._value_store)
            )
        self._key_store[:, :, start : self._length] = key_states
        self._value_store[:, :, start : self._length] = value_states
        return self._shown()

    def _shown(self) -> tuple[Tensor, Tensor]:
        keys, values = self._key_store[:, :, : self._length], self._value_store[:, :, : self._length]
        self.keys, self.values = keys, values
        return keys, values

    def _with_room(self, states: Tensor) -> Tensor:
        size, heads, length, width = states.shape
        store = states.new_empty(size, heads, self._length + max(self.MIN_ROOM, self._length // 4), width)
        store[:, :, :length] = states
        return store


def _can_join(cache: DynamicCache) -> bool:
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)


def _join(caches: list[DynamicCache]) -> DynamicCache:
    """One cache of the rows of all, which have read equally many columns."""
    layers: list[tuple[Any, ...]] = list(zip(*(cache.layers for cache in caches), strict=True))
    for layer, *more in layers:
        if more and layer.is_initialized:
            layer.keys = torch.cat([layer.keys, *(other.keys for other in more)])
            layer.values = torch.cat([layer.values, *(other.values for other in more)])
            for other in more:
                other.keys = other.values = None  # so that only one layer is in memory twice
    return caches[0]


class _PlainText:
    """Right-padded rows that are read from the start at every step: slow, and right for any causal model."""

    def __init__(
        self,
        model: nn.Module,
        accepted: set[str],
        prompts: list[tuple[int, ...]],
        pad_token_id: int,
        device: torch.device,
    ) -> None:
        self._model = model
        self._accepted = accepted
        self._pad = pad_token_id
        self._lengths = torch.tensor([len(ids) for ids in prompts], device=device)
        width = max(map(len, prompts))
        self._shortest = min(map(len, prompts))
        self._ids = torch.tensor(
            [[*ids, *[pad_token_id] * (width - len(ids))] for ids in prompts], device=device
        )

    def read_prompts(self) -> Tensor:
        columns = torch.arange(self._ids.shape[1], device=self._ids.device)
        optional = {"use_cache": False, "logits_to_keep": len(columns) - self._shortest + 1}
        outputs = self._model(
            input_ids=self._ids,
            attention_mask=(columns < self._lengths.unsqueeze(-1)).long(),
            **{name: value for name, value in optional.items() if name in self._accepted},
        )
        # Counted from the end: the logits of the beginning may be missing, or those of learned prompts before it.
        places = outputs.logits.shape[1] - len(columns) + self._lengths - 1
        logits: Tensor = outputs.logits[torch.arange(len(places), device=places.device), places].float()
        return logits

    def read(self, tokens: Tensor) -> Tensor:
        self._ids = torch.nn.functional.pad(self._ids, (0, 1), value=self._pad)
        self._ids[torch.arange(len(tokens), device=tokens.device), self._lengths] = tokens
        self._lengths = self._lengths + 1
        self._shortest += 1
        return self.read_prompts()

    def keep(self, rows: Tensor) -> None:
        self._ids, self._lengths = self._ids[rows], self._lengths[rows]
