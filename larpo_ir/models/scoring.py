"""log π(y|x) of whole candidate lists, for any decoder-only `transformers` model.

    log π(y|x) = Σ_t log π(y_t | x, y_<t),  in nats, over the response's tokens

The unit is the list: one prompt and its candidate responses. `tokenize_lists` (`larpo_ir.models.tokenization`) makes
tokens of lists, and `score_lists` scores the tokens. Training scores the same lists many times, so it makes their
tokens once and keeps them. `list_logprobs` does both steps in one call.

Two things make scoring cheap:

* A list's prompt goes through the model once, whatever the number of its responses (`larpo_ir.models.layouts`,
  `larpo_ir.models.attention`).
* Only the hidden states that predict a response's token go through the language-model head, and they go a chunk at
  a time, so that logits of [tokens, vocabulary] never exist at once.

Both give the model's own log-probabilities, up to rounding. `choose_way` tries both on the model at hand before they
are used. A model that they do not fit is scored in the plain layout, and the log says so.
"""

from __future__ import annotations

import inspect
import logging
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from larpo_ir.data.chats import Messages
from larpo_ir.models.attention import IMPLEMENTATIONS, KINDS_OF_LAYERS, attention_inputs, window_of
from larpo_ir.models.layouts import BATCH_OF, Batch, fill, units
from larpo_ir.models.tokenization import TokenizedList, pad_token_of, tokenize_lists
from larpo_ir.models.wrappers import context_length, evaluating, learns_a_prompt, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger("larpo_ir")

LAYOUTS = ("auto", "shared", "plain")
MAX_TOKENS = 8192
LOGITS_AT_ONCE = 2**25  # a chunk: 128 MiB in float32
CHUNKS_KEPT = (
    4  # logits of so many chunks are kept for the backward pass; of more, none is, and they are made twice
)


def list_mask(lists: Sequence[Sequence[Any]], device: torch.device | str | None = None) -> Tensor:
    """[batch, list], True where a candidate exists, for ragged lists.

    >>> list_mask([["a", "b"], ["c"]]).tolist()
    [[True, True], [True, False]]
    """
    sizes = torch.tensor([len(items) for items in lists], device=device)
    width = int(sizes.max()) if len(lists) else 0
    return torch.arange(width, device=device) < sizes.unsqueeze(-1)


# Log-probabilities of a batch


@dataclass(frozen=True)
class Way:
    """A way of scoring a model: `layout`, and whether its own forward applies its head (`own_logits`), or this module
    does, in chunks. `reason`: why it is not the fastest way."""

    layout: str
    own_logits: bool = False
    reason: str = ""


def batch_logprobs(model: nn.Module, batch: Batch, num_responses: int, way: Way) -> Tensor:
    """[responses]: log π of every response of a batch, summed over its tokens, in float32.

    `batch`: as `larpo_ir.models.layouts` makes it.

    Differentiable unless under `torch.no_grad()`; the model's train or eval mode is left as it is.
    """
    predictors, targets, owners = (batch[name] for name in ("predictors", "targets", "owners"))
    total = torch.zeros(num_responses, device=targets.device)
    if not len(targets):
        return total
    inner: Any = unwrap(model)
    inputs = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"], "use_cache": False}
    if "packing" in batch:
        inputs |= attention_inputs(inner, batch["packing"], inner.dtype)
    else:
        inputs["attention_mask"] = batch["attention_mask"]
    parameters = inspect.signature(inner.forward).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        inputs = {name: value for name, value in inputs.items() if name in parameters}
    if way.own_logits:
        width = batch["input_ids"].shape[1]  # a learnt prompt, if any, stands in front
        logits = model(**inputs).logits[:, -width:]
        logprobs = _pick(logits.flatten(0, 1)[predictors], targets)
    else:
        logprobs = _instead_of_forward(
            model, inner, lambda **given: _head_logprobs(inner, given, predictors, targets), inputs
        )
    return total.index_add(0, owners, logprobs)


def _instead_of_forward(
    model: nn.Module, inner: nn.Module, method: Callable[..., Tensor], inputs: dict[str, Any]
) -> Tensor:
    """Call the wrapped model so that `method` runs in place of the inner model's forward.

    The hooks of data-parallel and sharding wrappers run as they would, and the head's logits need not exist.
    """
    patch = vars(inner).get("forward")  # accelerate's, in mixed precision

    def once(*args: Any, **given: Any) -> Tensor:
        return method(*args, **{name: value for name, value in given.items() if value is not None})

    inner.forward = once
    try:
        output: Tensor = model(**inputs)
    finally:
        del inner.forward
        if patch is not None:
            inner.forward = patch
    return output


# Operations of models on the logits after the head: configuration entry -> function of logits and its value.
AFTER_THE_HEAD: dict[str, Callable[[Tensor, float], Tensor]] = {
    "final_logit_softcapping": lambda logits, cap: cap * torch.tanh(logits / cap),  # Gemma 2
    "logit_scale": lambda logits, scale: logits * scale,  # Cohere
    "logits_scaling": lambda logits, scale: logits / scale,  # Granite
}


def _head_logprobs(inner: Any, inputs: dict[str, Any], predictors: Tensor, targets: Tensor) -> Tensor:
    hidden = inner.base_model(**inputs)[0].flatten(0, 1)[predictors]
    head = inner.get_output_embeddings()
    after = [
        (function, getattr(inner.config, name))
        for name, function in AFTER_THE_HEAD.items()
        if getattr(inner.config, name, None) is not None
    ]

    def chunk_logprobs(hidden: Tensor, targets: Tensor) -> Tensor:
        logits = head(hidden)
        for function, value in after:
            logits = function(logits, value)
        return _pick(logits, targets)

    size = max(1, LOGITS_AT_ONCE // inner.config.vocab_size)
    chunks = zip(hidden.split(size), targets.split(size), strict=True)
    if not torch.is_grad_enabled() or len(targets) <= CHUNKS_KEPT * size:
        return torch.cat([chunk_logprobs(*chunk) for chunk in chunks])
    return torch.cat([checkpoint(chunk_logprobs, *chunk, use_reentrant=False) for chunk in chunks])


class _Pick(torch.autograd.Function):
    """[tokens, vocabulary], [tokens] -> [tokens]: log-softmax in float32, of which the targets are picked.

    cross_entropy computes the same, but keeps one more array of the logits' size for the backward pass, and such
    arrays are the greatest part of the memory.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        logprobs = F.log_softmax(logits, dim=-1, dtype=torch.float32)
        ctx.save_for_backward(logprobs, targets)
        ctx.dtype = logits.dtype
        return logprobs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logprobs, targets = ctx.saved_tensors
        gradient = gradient.unsqueeze(-1)
        of_logits = logprobs.exp().mul_(-gradient).scatter_add_(-1, targets.unsqueeze(-1), gradient)
        return of_logits.to(ctx.dtype), None


def _pick(logits: Tensor, targets: Tensor) -> Tensor:
    pick: Callable[[Tensor, Tensor], Tensor] = _Pick.apply
    return pick(logits, targets)


# Which way a model can be scored

_WAYS: weakref.WeakKeyDictionary[nn.Module, dict[tuple[str, ...], Way]] = weakref.WeakKeyDictionary()


def choose_way(model: nn.Module, layout: str = "auto") -> Way:
    """The fastest exact way to score a model; what it is, and why, is logged once.

    Raises `ValueError` for unknown layouts, and for `"shared"` where the model cannot be served that way.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    inner: Any = unwrap(model)
    key = (layout, str(getattr(getattr(inner, "config", None), "_attn_implementation", None)))
    known = _WAYS.setdefault(inner, {})
    if key not in known:
        known[key] = _find_way(model, inner, layout)
        way, name = known[key], type(inner).__name__
        if way.reason and way.layout != layout:
            logger.info(f"{name} is scored with the {way.layout} layout: {way.reason}")
    return known[key]


def _find_way(model: nn.Module, inner: Any, layout: str) -> Way:
    closed, reason = _closed(model, inner), "as asked for"
    if layout != "plain":
        reason = closed or _obstacle(inner) or _tried(model, inner, Way("shared"))
        if not reason:
            return Way("shared")
        if layout == "shared":
            raise ValueError(f"{type(inner).__name__} cannot share prompts: {reason}; use layout='auto'")
    failure = closed or _tried(model, inner, Way("plain"))
    return Way(
        "plain", own_logits=bool(failure), reason=reason if failure in reason else f"{reason}; {failure}"
    )


def _closed(model: nn.Module, inner: Any) -> str:
    """The reason why nothing but a model's own forward can be run; "" if there is none."""
    if hasattr(model, "_orig_mod"):
        return "it is compiled, and its forward fixed"
    if not hasattr(inner, "get_output_embeddings") or learns_a_prompt(model):
        return "it is more than a backbone and a head"
    return ""


def _obstacle(inner: Any) -> str:
    """The obstacle to a shared prompt that is known without trying; "" if there is none."""
    config = getattr(inner, "config", None)
    implementation = getattr(config, "_attn_implementation", None)
    foreign = set(getattr(config, "layer_types", None) or []) - KINDS_OF_LAYERS
    if getattr(inner, "_is_stateful", False):
        return "it carries a state from token to token"
    if foreign or getattr(config, "attention_chunk_size", None):
        kinds = ", ".join(sorted(foreign)) or "attention in chunks"
        return f"it has layers of another kind than full and sliding attention ({kinds})"
    if implementation not in IMPLEMENTATIONS:
        return f"its attention is {implementation!r}, not one of {', '.join(IMPLEMENTATIONS)}"
    return ""


LONGEST_TRIAL = 4096


def _trial(config: Any) -> list[TokenizedList]:
    """Lists that tell a model's mistakes: several responses, of several lengths, behind prompts of several lengths;
    and one that is longer than a sliding window, if the model has one that is not too long."""
    lists = [TokenizedList([5, 3, 7], [[4, 6], [8, 9, 3], [4]]), TokenizedList([6], [[3, 5, 4], [9, 8]])]
    window = window_of(config)
    if window and window <= min(LONGEST_TRIAL, getattr(config, "max_position_embeddings", LONGEST_TRIAL) - 8):
        lists.append(TokenizedList([3 + i * i % 7 for i in range(window + 4)], [[4, 6], [8, 9]]))
    return lists


@torch.no_grad()
def _tried(model: nn.Module, inner: Any, way: Way) -> str:
    """The fault of a way of scoring a model, beside the model's own logits, on small lists; "" if there is none."""
    if any(hasattr(parameter, "ds_id") for parameter in inner.parameters()):
        return ""  # sharded by ZeRO-3, and not to be run outside its engine
    device = next(inner.parameters()).device
    lists = _trial(getattr(inner, "config", None))
    num_responses = sum(len(tokens.completion_ids) for tokens in lists)

    try:
        with evaluating(model):
            batch = to_device(BATCH_OF[way.layout](lists, 0), device)
            found = batch_logprobs(model, batch, num_responses, way)
            expected = torch.stack([one for tokens in lists for one in _one_by_one(model, tokens, device)])
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError, AssertionError) as error:
        return f"it does not take the inputs ({' '.join(str(error).split())[:100]})"
    tolerance = max(1e-4, 8 * torch.finfo(next(inner.parameters()).dtype).eps) * expected.abs().clamp(min=1)
    if not ((found - expected).abs() <= tolerance).all():
        return f"log-probabilities would be off by {(found - expected).abs().max():.1g}"
    if way.layout == "shared" and inner.config._attn_implementation == "sdpa":
        return _unseen_window(inner.config, batch["packing"])
    return ""


def _one_by_one(model: nn.Module, tokens: TokenizedList, device: torch.device) -> list[Tensor]:
    """The model's own log-probabilities: each response alone, without padding, positions or masks of ours."""
    scores = []
    for response in tokens.completion_ids:
        ids = torch.tensor([tokens.prompt_ids + response], device=device)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -len(response) - 1 : -1]
        scores.append(_pick(logits, ids[0, -len(response) :]).sum())
    return scores


def _unseen_window(config: Any, packing: dict[str, Any]) -> str:
    """A trial may be shorter than the window: that attention is told of it is seen from its arguments, too."""
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention"])
    expected = {window_of(config) if kind == "sliding_attention" else None for kind in kinds}
    told = packing.get("windows", set())
    return "" if told == expected else f"its layers' windows {expected} do not reach their attention ({told})"


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """The tensors of a batch, nested ones included, on a device."""
    return {
        name: to_device(value, device) if isinstance(value, dict) else value.to(device)
        for name, value in batch.items()
    }


# Lists


def score_lists(
    model: nn.Module,
    lists: Sequence[TokenizedList],
    *,
    layout: str = "auto",
    pad_token_id: int = 0,
    max_tokens: int = MAX_TOKENS,
) -> Tensor:
    """[batch, list] log-probabilities of tokenised lists, 0 where a list has no such candidate.

    `max_tokens`: tokens that go through the model at once (more only where one response needs more). Lists of
    similar length share a batch. Differentiable unless under `torch.no_grad()`; the model's train or eval mode is
    left as it is.
    """
    device = next(model.parameters()).device
    mask = list_mask([tokens.completion_ids for tokens in lists], device)
    scores = torch.zeros(mask.shape, device=device)
    way = choose_way(model, layout)
    parts = list(units(lists, way.layout, max_tokens))
    if not parts:
        return scores
    values, order = [], []
    for chosen in fill([part.cost for part in parts], max_tokens, padded=way.layout == "plain"):
        batch = to_device(BATCH_OF[way.layout]([parts[i].tokens for i in chosen], pad_token_id), device)
        places = [
            parts[i].first_response + n for i in chosen for n in range(len(parts[i].tokens.completion_ids))
        ]
        values.append(batch_logprobs(model, batch, len(places), way))
        order += places
    place = torch.empty(len(order), dtype=torch.long, device=device)
    place[torch.tensor(order, device=device)] = torch.arange(len(order), device=device)
    return scores.masked_scatter(mask, torch.cat(values)[place])


def list_logprobs(
    model: PreTrainedModel | nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Messages],
    completions: Sequence[Sequence[str | Messages]],
    *,
    layout: str = "auto",
    append_eos: bool | Sequence[Sequence[bool]] = True,
    max_length: int | None = None,
    max_tokens: int = MAX_TOKENS,
) -> Tensor:
    """log π(y|x) of every candidate of every list, `[batch, list]`, 0 where a ragged list has none.

    `prompts`: strings or chats. `completions`: one list per prompt. `layout`: how lists are laid out for the
    model, `"shared"` (the prompt once, all candidates behind it), `"plain"` (each candidate with its own copy of the
    prompt) or `"auto"` (shared where that is exact, otherwise plain). `max_length`: tokens of prompt and response,
    default the model's context; responses cut to fit are counted in one warning. `max_tokens`: tokens that go
    through the model at once. `list_mask(completions)` tells which entries exist. Differentiable unless under
    `torch.no_grad()`.
    """
    max_length = context_length(model) if max_length is None else max_length
    lists = tokenize_lists(tokenizer, prompts, completions, append_eos=append_eos, max_length=max_length)
    cut = sum(tokens.num_truncated for tokens in lists)
    if cut:
        total = sum(len(tokens.completion_ids) for tokens in lists)
        warnings.warn(
            f"{cut} of {total} responses were cut to {max_length} tokens with their prompt", stacklevel=2
        )
    return score_lists(
        model, lists, layout=layout, pad_token_id=pad_token_of(tokenizer), max_tokens=max_tokens
    )
