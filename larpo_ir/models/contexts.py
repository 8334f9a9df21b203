"""Contexts of a model that writes: rows of tokens that grow at their ends, and the logits of each next token.

    context = context_of(model, prompts, pad_token_id)
    context.read_prompts()      [prompts, vocabulary] logits of the token behind each prompt
    context.keep(rows)          go on with these rows; a prompt is repeated for its responses
    context.read(tokens)        one more token for each row, and the logits behind it

`CachedContext` keeps the keys and values of what was read. `PlainContext` reads everything again at every step, for
models that remember something else.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from larpo_ir.models.wrappers import learns_a_prompt, unwrap

PREFILL_TOKENS = 16_384  # prompts read in one pass, padding included: bounds the memory of activations
Prompts = Sequence[tuple[int, ...]]


class Context(ABC):
    """Rows of tokens that grow at their ends. Logits are [rows, vocabulary], float32, of the next token."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._accepted = parameters_of(model)
        self._device = next(model.parameters()).device

    @abstractmethod
    def read_prompts(self) -> Tensor:
        """The logits behind every prompt."""

    @abstractmethod
    def read(self, tokens: Tensor) -> Tensor:
        """One more token for each row."""

    @abstractmethod
    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, in this order; a row may be there several times."""

    def _logits(self, optional: dict[str, Any], **inputs: Any) -> Tensor:
        """The model's own logits. It gets those of the optional inputs that its `forward` takes."""
        taken = {name: value for name, value in optional.items() if name in self._accepted}
        logits: Tensor = self._model(**inputs, **taken).logits
        return logits


def parameters_of(model: nn.Module) -> set[str]:
    """Names of the inputs that a model takes."""
    return set(inspect.signature(unwrap(model).forward).parameters)


def context_of(model: nn.Module, prompts: Prompts, pad_token_id: int) -> Context:
    """Different prompts, not yet read, in the way that suits the model."""
    if "past_key_values" in parameters_of(model) and _remembers_in_cache(model):
        return CachedContext(model, prompts, pad_token_id)
    return PlainContext(model, prompts, pad_token_id)


def _remembers_in_cache(model: nn.Module) -> bool:
    """Whether a `DynamicCache` holds all that the model remembers of a text, so that it can be repeated.

    Not so where layers have states of their own (RecurrentGemma) or prompts are learned (PEFT's prompt tuning).
    """
    inner: Any = unwrap(model)
    own_states = any(hasattr(module, "recurrent_states") for module in inner.modules())
    return bool(inner._supports_default_dynamic_cache() and not learns_a_prompt(model) and not own_states)


class CachedContext(Context):
    """Left-padded rows whose keys and values are kept."""

    def __init__(self, model: nn.Module, prompts: Prompts, pad_token_id: int) -> None:
        super().__init__(model)
        self._config: Any = unwrap(model).config
        self._width = max(map(len, prompts))
        padding = [self._width - len(ids) for ids in prompts]
        self._is_padded = any(padding)
        self._padding = torch.tensor(padding, device=self._device)
        self._ids = torch.tensor(
            [[pad_token_id] * left + list(ids) for left, ids in zip(padding, prompts, strict=True)],
            device=self._device,
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
            if type(layer) in (DynamicLayer, RoomyLayer) and layer.is_initialized:
                there = rows.to(layer.keys.device)  # layers of one model may lie on several devices
                layers[place] = RoomyLayer(
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
        logits = self._logits(
            optional, input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True
        )
        return logits[:, -1].float()


class RoomyLayer(DynamicLayer):
    """Keys and values with room behind them: a step writes one column where `DynamicLayer` copies them all."""

    MIN_ROOM = 64

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
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


class PlainContext(Context):
    """Right-padded rows that are read from the start at every step: slow, and right for any causal model."""

    def __init__(self, model: nn.Module, prompts: Prompts, pad_token_id: int) -> None:
        super().__init__(model)
        self._pad = pad_token_id
        self._lengths = torch.tensor([len(ids) for ids in prompts], device=self._device)
        width = max(map(len, prompts))
        self._shortest = min(map(len, prompts))
        self._ids = torch.tensor(
            [[*ids, *[pad_token_id] * (width - len(ids))] for ids in prompts], device=self._device
        )

    def read_prompts(self) -> Tensor:
        columns = torch.arange(self._ids.shape[1], device=self._ids.device)
        optional = {"use_cache": False, "logits_to_keep": len(columns) - self._shortest + 1}
        mask = (columns < self._lengths.unsqueeze(-1)).long()
        logits = self._logits(optional, input_ids=self._ids, attention_mask=mask)
        # Counted from the end: the logits of the beginning may be missing, or those of learned prompts before it.
        places = logits.shape[1] - len(columns) + self._lengths - 1
        return logits[torch.arange(len(places), device=places.device), places].float()

    def read(self, tokens: Tensor) -> Tensor:
        self._ids = torch.nn.functional.pad(self._ids, (0, 1), value=self._pad)
        self._ids[torch.arange(len(tokens), device=tokens.device), self._lengths] = tokens
        self._lengths = self._lengths + 1
        self._shortest += 1
        return self.read_prompts()

    def keep(self, rows: Tensor) -> None:
        self._ids, self._lengths = self._ids[rows], self._lengths[rows]
