"""Attention over a row in which several responses share their prompt (see `larpo_ir.models.layouts`).

A token attends to the tokens before it in its own segment and to the prompt of its list, and to nothing else; in
layers with a sliding window, to those of them less than the window's length away by position. Each of
transformers' attention implementations is told so in the way that it computes best:

* `sdpa`: the row is cut into blocks, prompts [lists, P] and responses [responses, R] behind their prompts, and
  the model's own attention runs on those. The work grows with the number of unique tokens, as the rest of the
  model's does; with a mask over the row it would grow with its square.
* `eager`: a mask over the row, since models keep their eager attention (with Gemma 2's soft-capping, say) to
  themselves.
* `flex_attention`: a block mask, whose empty blocks are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

KINDS_OF_LAYERS = {"full_attention", "sliding_attention"}


def attention_inputs(model: nn.Module, packing: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The arguments of `model.forward` that make it attend to a shared row as it should."""
    config: Any = model.config
    return IMPLEMENTATIONS[config._attn_implementation](config, packing, dtype)


def allowed(packing: dict[str, Tensor], window: int | None = None) -> Callable[..., Tensor]:
    """`mask_mod(batch, head, query, key)`: may the row's token `query` attend to the token `key`?"""
    segment, parent = packing["segment_ids"], packing["parent_ids"]
    position = packing["positions"]

    def mask_mod(batch: Any, head: Any, query: Tensor, key: Tensor) -> Tensor:
        related = (segment[query] == segment[key]) | (parent[query] == segment[key])
        seen = related & (key <= query)
        return seen if window is None else seen & (position[query] - position[key] < window)

    return mask_mod


def _dense(config: Any, packing: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Any]:
    every = torch.arange(len(packing["segment_ids"]), device=packing["segment_ids"].device)

    def mask(window: int | None) -> Tensor:
        seen = allowed(packing, window)(None, None, every[:, None], every[None, :])[None, None]
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(
            ~seen, torch.finfo(dtype).min
        )

    return {"attention_mask": _per_layer(config, mask)}


def _flex(config: Any, packing: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Any]:
    from torch.nn.attention.flex_attention import create_block_mask

    length, device = len(packing["segment_ids"]), packing["segment_ids"].device

    def mask(window: int | None) -> Any:
        return create_block_mask(
            allowed(packing, window), B=None, H=None, Q_LEN=length, KV_LEN=length, device=str(device)
        )

    return {"attention_mask": _per_layer(config, mask)}


def window_of(config: Any) -> int | None:
    """The sliding window of a model's attention, if it uses one."""
    return getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None


def _per_layer(config: Any, mask: Callable[[int | None], Any]) -> Any:
    """One mask, or one for each kind of layer where a model has several."""
    kinds = getattr(config, "layer_types", None)
    if not kinds:
        return mask(window_of(config))
    return {kind: mask(window_of(config) if kind == "sliding_attention" else None) for kind in set(kinds)}


def _blocks(config: Any, packing: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Any]:
    _register()
    # a mask with four axes is passed on as it is, and spares the model making one; blocks have their own
    everything = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=packing["segment_ids"].device)
    return {"attention_mask": everything, "packing": packing}


IMPLEMENTATIONS: dict[str, Callable[[Any, dict[str, Tensor], torch.dtype], dict[str, Any]]] = {
    "sdpa": _blocks,
    "eager": _dense,
    "flex_attention": _flex,
}


@cache
def _register() -> None:
    """Teach transformers' `sdpa` to attend in blocks when it is given a `packing`; it is as ever without one.

    An argument, not a switch: gradient checkpointing runs layers a second time, after the forward pass is over.
    """
    from transformers import AttentionInterface

    sdpa = AttentionInterface._global_mapping["sdpa"]

    def attention(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        packing: dict[str, Tensor] | None = None,
        **options: Any,
    ) -> tuple[Tensor, None]:
        if packing is None:
            plain: tuple[Tensor, None] = sdpa(module, query, key, value, attention_mask, **options)
            return plain
        return block_attention(sdpa, module, query, key, value, packing, **options)

    AttentionInterface.register("sdpa", attention)


def block_attention(
    attend: Callable[..., tuple[Tensor, None]],
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packing: dict[str, Tensor],
    **options: Any,
) -> tuple[Tensor, None]:
    """[1, heads, tokens, dim] -> [1, tokens, heads, dim]: `attend` on prompts, and on responses behind prompts."""
    window = options.get("sliding_window")
    packing.setdefault("windows", set()).add(window)  # type: ignore[arg-type]
    prompts, responses, prompt_of = packing["prompts"], packing["responses"], packing["prompt_of"]
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))  # [tokens, heads, dim]

    def rows(states: Tensor, block: Tensor) -> Tensor:
        return states.index_select(0, block.flatten()).view(*block.shape, *states.shape[1:]).transpose(1, 2)

    prompt_k, prompt_v = rows(k, prompts), rows(v, prompts)
    own_mask, masks = block_masks(packing, window)
    of_prompts, _ = attend(
        module, rows(q, prompts), prompt_k, prompt_v, own_mask, **{**options, "is_causal": True}
    )
    of_responses, _ = attend(
        module,
        rows(q, responses),
        torch.cat([prompt_k.index_select(0, prompt_of), rows(k, responses)], dim=2),
        torch.cat([prompt_v.index_select(0, prompt_of), rows(v, responses)], dim=2),
        masks,
        **{**options, "is_causal": False},
    )
    outputs = torch.cat([of_prompts.flatten(0, 1), of_responses.flatten(0, 1)])
    return outputs.index_select(0, packing["places"]).unsqueeze(0), None


def block_masks(packing: dict[str, Any], window: int | None) -> tuple[Tensor | None, Tensor]:
    """Masks of the blocks, True = seen: in prompts (None: all that came before), and [responses, 1, R, P + R]
    in responses behind their prompts. Made once per forward pass and window, for all layers."""
    made: dict[int | None, tuple[Tensor | None, Tensor]] = packing.setdefault("masks", {})
    if window not in made:
        lengths = packing["prompt_lengths"]
        device = lengths.device
        place = torch.arange(packing["prompts"].shape[1], device=device)
        step = torch.arange(packing["responses"].shape[1], device=device)
        ago = place[:, None] - place[None, :]
        within_prompt = None if window is None else ((ago >= 0) & (ago < window))[None, None]
        # with one list all responses see alike, and one mask does for them
        starts = (lengths if len(lengths) == 1 else lengths[packing["prompt_of"]]).view(-1, 1, 1)
        ago = torch.cat(
            [
                starts + step.view(-1, 1) - place,
                (step.view(-1, 1) - step).expand(len(starts), -1, -1),
            ],
            dim=-1,
        )
        there = torch.cat(
            [place < starts, torch.ones_like(step, dtype=torch.bool).expand(len(starts), 1, -1)], -1
        )
        seen = there & (ago >= 0)
        made[window] = within_prompt, (seen if window is None else seen & (ago < window)).unsqueeze(1)
    return made[window]
