"""log π(y|x) of whole candidate lists, for any decoder-only `transformers` model.

The unit is the list: one prompt and its candidate responses. A list is tokenised once (`tokenize_lists`),
scored as often as needed (`score_lists`), and whoever wants both at once calls `list_logprobs`.

    log π(y|x) = Σ_t log π(y_t | x, y_<t),  in nats, over the response's tokens

* A string prompt is tokenised as it is, with the tokenizer's own special tokens; a chat (list of messages) goes
  through the chat template by TRL's rules: a generation prompt is added after a user or tool message, a final
  assistant message is continued.
* A string response is tokenised as the continuation of its prompt, so that no tokenizer puts a space of its own
  before it. Where tokens would merge across the border, the prompt's tokens stay as the generator sees them and
  the response is tokenised alone. Responses given as chat messages get what the template writes for them.
* EOS is part of a response exactly when the generator emitted it: `append_eos` says so for all responses or
  for each; it is never doubled, and never appended to message responses (the template ends them).
* Responses that do not fit the context are cut at its end, without EOS, and counted; a prompt that leaves no
  room for a response is an error.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Messages = list[dict[str, Any]]
LAYOUTS = ("auto", "plain")


@dataclass(frozen=True)
class TokenizedList:
    """One prompt and its responses as token ids; `num_truncated` responses were cut to fit the context."""

    prompt_ids: list[int]
    completion_ids: list[list[int]]
    num_truncated: int = 0


def list_mask(lists: Sequence[Sequence[Any]], device: torch.device | str | None = None) -> Tensor:
    """[batch, list], True where a candidate exists, for ragged lists.

    >>> list_mask([["a", "b"], ["c"]]).tolist()
    [[True, True], [True, False]]
    """
    sizes = torch.tensor([len(items) for items in lists], device=device)
    width = int(sizes.max()) if len(lists) else 0
    return torch.arange(width, device=device) < sizes.unsqueeze(-1)


def context_length(model: nn.Module) -> int | None:
    """The longest sequence the model's configuration allows, if it says so."""
    config = getattr(unwrap(model), "config", None)
    return getattr(config, "max_position_embeddings", None)


def unwrap(model: nn.Module) -> nn.Module:
    """The transformers model inside data-parallel, compiled and PEFT wrappers."""
    from accelerate.utils import extract_model_from_parallel

    # (not its `recursive` mode: that takes the layers out of their FSDP wrappers, for good)
    model = extract_model_from_parallel(model, keep_torch_compile=False)
    base: nn.Module = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return base


# Tokenising


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str | Messages) -> str:
    """The text a prompt becomes: itself, or its chat template by TRL's rules.

    Raises `ValueError` when a chat is empty or ends in a role other than user, tool or assistant.
    """
    if isinstance(prompt, str):
        return prompt
    try:
        role = prompt[-1]["role"]
    except (TypeError, LookupError):
        raise ValueError(
            f"a prompt must be a string or a list of chat messages, got {prompt!r:.60}"
        ) from None
    if role not in ("user", "tool", "assistant"):
        raise ValueError(f"a chat prompt must end with a user, tool or assistant message, not {role!r}")
    rendered = tokenizer.apply_chat_template(
        prompt,
        tokenize=False,
        add_generation_prompt=role != "assistant",
        continue_final_message=role == "assistant",
    )
    return str(rendered)


def tokenize_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str | Messages]
) -> list[list[int]]:
    """Token ids of prompts, exactly as the generator reads them.

    Chat templates write their own special tokens; an EOS that a tokenizer puts behind plain text is taken off.
    """
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return [ids or start for ids in _encode(tokenizer, prompts, [""] * len(prompts))]


def _encode(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str | Messages], continuations: Sequence[str]
) -> list[list[int]]:
    """Ids of prompt and continuation as one text. Plain and templated texts differ in special tokens."""
    encoded: list[list[int]] = [[] for _ in prompts]
    ends_plain_text = tokenizer("x")["input_ids"][-1:] == [tokenizer.eos_token_id]
    for plain in (True, False):
        rows = [row for row, prompt in enumerate(prompts) if isinstance(prompt, str) is plain]
        texts = [render_prompt(tokenizer, prompts[row]) + continuations[row] for row in rows]
        if texts:
            for row, ids in zip(rows, tokenizer(texts, add_special_tokens=plain)["input_ids"], strict=True):
                encoded[row] = list(ids[:-1] if plain and ends_plain_text else ids)
    return encoded


def tokenize_lists(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Messages],
    completions: Sequence[Sequence[str | Messages]],
    *,
    append_eos: bool | Sequence[Sequence[bool]] = True,
    max_length: int | None = None,
) -> list[TokenizedList]:
    """Tokenise prompts and their candidate responses (rules: see the module).

    `append_eos`: for all responses, or one flag per response. `max_length`: tokens of prompt and response
    together. Raises `ValueError` for a prompt that is empty or leaves no room for a response.
    """
    if len(prompts) != len(completions):
        raise ValueError(f"{len(prompts)} prompts but {len(completions)} lists of completions")
    for i, texts in enumerate(completions):
        if isinstance(texts, str) or len({isinstance(text, str) for text in texts}) > 1:
            raise ValueError(
                f"completions of prompt {i} must be a list, of strings or of chats: got {texts!r:.60}"
            )
    prompt_ids = tokenize_prompts(tokenizer, prompts)
    rows = [(i, text) for i, texts in enumerate(completions) for text in texts if isinstance(text, str)]
    joint = iter(_encode(tokenizer, [prompts[i] for i, _ in rows], [text for _, text in rows]))

    lists = []
    for i, (prompt, texts) in enumerate(zip(prompts, completions, strict=True)):
        context, responses = prompt_ids[i], []
        flags = [append_eos] * len(texts) if isinstance(append_eos, bool) else append_eos[i]
        templated = [_template(tokenizer, prompt, text) for text in texts if not isinstance(text, str)]
        if templated:  # a template may render the end of the prompt differently once an answer follows it
            context = context[: min(_common_prefix(context, ids) for ids in templated)]
        rest = iter(templated)
        for text, ends in zip(texts, flags, strict=True):
            if not isinstance(text, str):
                responses.append(next(rest)[len(context) :])
                continue
            ids = _continuation(tokenizer, prompt_ids[i], next(joint), text)
            if ends and tokenizer.eos_token_id is None:
                raise ValueError("the tokenizer has no EOS token to append: give it one or append_eos=False")
            if ends and ids[-1:] != [tokenizer.eos_token_id]:
                ids = [*ids, tokenizer.eos_token_id]
            responses.append(ids)
        lists.append(fit(TokenizedList(context, responses), max_length, where=f"prompt {i}"))
    return lists


def fit(tokens: TokenizedList, max_length: int | None, where: str) -> TokenizedList:
    """Cut responses so that prompt and response have at most `max_length` tokens; count the cut ones."""
    if not tokens.prompt_ids:
        raise ValueError(
            f"{where} is empty and the tokenizer has no BOS token: there is nothing to condition on"
        )
    if max_length is None:
        return tokens
    room = max_length - len(tokens.prompt_ids)
    if room < 1:
        raise ValueError(
            f"{where} has {len(tokens.prompt_ids)} tokens and the limit is {max_length}: shorten or drop it, "
            "or raise max_length if the model's context allows"
        )
    cut = sum(len(ids) > room for ids in tokens.completion_ids)
    return TokenizedList(tokens.prompt_ids, [ids[:room] for ids in tokens.completion_ids], cut)


def _template(tokenizer: PreTrainedTokenizerBase, prompt: str | Messages, completion: Messages) -> list[int]:
    if isinstance(prompt, str):
        raise ValueError("completions are chat messages but the prompt is a string: give both as messages")
    text = str(tokenizer.apply_chat_template([*prompt, *completion], tokenize=False))
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _common_prefix(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _continuation(
    tokenizer: PreTrainedTokenizerBase, prompt: list[int], joint: list[int], text: str
) -> list[int]:
    if joint[: len(prompt)] == prompt:
        return joint[len(prompt) :]
    # Tokens merge across the border. After a line break no tokenizer puts a space of its own before the text.
    alone, start, after = tokenizer([text, "\n", f"\n{text}"], add_special_tokens=False)["input_ids"]
    return list(after[len(start) :] if after[: len(start)] == start else alone)


# Scoring


def pad_rows(rows: Iterable[tuple[list[int], list[int]]], pad_token_id: int) -> dict[str, Tensor]:
    """(prompt ids, response ids) rows as right-padded `input_ids, attention_mask, completion_mask` [rows, tokens]."""
    rows = list(rows)
    width = max(len(prompt) + len(response) for prompt, response in rows)
    input_ids = torch.full((len(rows), width), pad_token_id)
    attention_mask = torch.zeros(len(rows), width, dtype=torch.long)
    completion_mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        input_ids[row, :end] = torch.tensor(prompt + response)
        attention_mask[row, :end] = 1
        completion_mask[row, len(prompt) : end] = True
    return {"input_ids": input_ids, "attention_mask": attention_mask, "completion_mask": completion_mask}


def sequence_logprobs(
    model: nn.Module, input_ids: Tensor, attention_mask: Tensor, completion_mask: Tensor
) -> Tensor:
    """[rows, tokens] -> [rows]: summed log-probability of each row's completion tokens, in float32.

    Padding may be on either side: positions count a row's own tokens. Only the positions from the first
    completion token of the batch on go through the language-model head, where the model allows it.
    """
    accepted = inspect.signature(unwrap(model).forward).parameters
    starts = completion_mask.any(dim=0)
    if not starts.any():
        return torch.zeros(len(input_ids), device=input_ids.device)
    keep = input_ids.shape[1] - int(starts.int().argmax()) + 1  # the token before the first predicts it
    positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
    optional = {"position_ids": positions, "logits_to_keep": keep, "use_cache": False}
    outputs = model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        **{name: value for name, value in optional.items() if name in accepted},
    )
    logits = outputs.logits[:, -keep:-1]
    targets, wanted = input_ids[:, 1 - keep :], completion_mask[:, 1 - keep :]
    token_logprobs = -F.cross_entropy(logits.transpose(1, 2).float(), targets, reduction="none")
    return torch.where(wanted, token_logprobs, torch.zeros_like(token_logprobs)).sum(-1)


def score_lists(
    model: nn.Module, lists: Sequence[TokenizedList], *, pad_token_id: int = 0, batch_size: int = 32
) -> Tensor:
    """[batch, list] log-probabilities of tokenised lists, 0 where a list has no such candidate.

    `batch_size` counts sequences; those of similar length share a batch. Differentiable unless under
    `torch.no_grad()`; the model's train or eval mode is left as it is.
    """
    device = next(model.parameters()).device
    mask = list_mask([tokens.completion_ids for tokens in lists], device)
    rows = [(tokens.prompt_ids, response) for tokens in lists for response in tokens.completion_ids]
    by_length = sorted(range(len(rows)), key=lambda row: -len(rows[row][0]) - len(rows[row][1]))
    parts = []
    for start in range(0, len(rows), batch_size):
        batch = pad_rows([rows[row] for row in by_length[start : start + batch_size]], pad_token_id)
        parts.append(sequence_logprobs(model, **{name: tensor.to(device) for name, tensor in batch.items()}))
    scores = torch.zeros(mask.shape, device=device)
    if not parts:
        return scores
    place = torch.empty(len(rows), dtype=torch.long, device=device)
    place[torch.tensor(by_length, device=device)] = torch.arange(len(rows), device=device)
    return scores.masked_scatter(mask, torch.cat(parts)[place])


def list_logprobs(
    model: PreTrainedModel | nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Messages],
    completions: Sequence[Sequence[str | Messages]],
    *,
    layout: str = "auto",
    append_eos: bool | Sequence[Sequence[bool]] = True,
    max_length: int | None = None,
    batch_size: int = 32,
) -> Tensor:
    """log π(y|x) of every candidate of every list, `[batch, list]`, 0 where a ragged list has none.

    `prompts`: strings or chats. `completions`: one list per prompt. `layout`: how lists are laid out for the
    model, `"plain"` (each candidate with its own copy of the prompt) or `"auto"` (the fastest exact one).
    `max_length`: default the model's context. Responses cut to fit are counted in one warning.
    `list_mask(completions)` tells which entries exist. Differentiable unless under `torch.no_grad()`.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; choose one of {', '.join(LAYOUTS)}")
    max_length = context_length(model) if max_length is None else max_length
    lists = tokenize_lists(tokenizer, prompts, completions, append_eos=append_eos, max_length=max_length)
    cut = sum(tokens.num_truncated for tokens in lists)
    if cut:
        total = sum(len(tokens.completion_ids) for tokens in lists)
        warnings.warn(
            f"{cut} of {total} responses were cut to {max_length} tokens with their prompt", stacklevel=2
        )
    return score_lists(model, lists, pad_token_id=pad_token_of(tokenizer), batch_size=batch_size)


def pad_token_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """A token to pad with; what it is does not matter, it is masked."""
    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return int(next(token for token in candidates if token is not None))
