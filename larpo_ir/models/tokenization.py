"""Prompts and responses as token ids: one unit, the list (a prompt and its candidate responses).

**Prompts.**

* A string prompt is tokenised as it is, with the tokenizer's own special tokens; one that begins with the BOS token
  gets no second one. A chat (list of messages) goes through the chat template by TRL's rules: a generation prompt is
  added after a user or tool message, a final assistant message is continued.
* A string that carries the marks of the tokenizer's own template (`is_templated`) is a rendered chat: it gets the
  tokens of the chat that it renders, with BOS where the template writes it and nowhere else.

**Responses.** Their tokens are those behind the prompt as the generator reads it.

* A string is tokenised as the continuation of its prompt, so that no tokenizer puts a space of its own before it.
  Where tokens would merge across the border, the prompt's tokens stay and the response is tokenised alone.
* A message becomes what the template writes for it. If the template renders the prompt differently once an answer
  follows, the prompt of the whole list ends where the two renderings part, as in TRL. Where the prompt ends with a
  message of the assistant, the response's first message continues it.
* A string response to a chat, or to a rendered chat, is what the same response as a message is: before it stands what
  the template writes between prompt and answer (Qwen 3's empty `<think>` block, Mistral's space), unless the string
  shows that the model wrote that itself (it holds such a tag, or begins with such a space), or was cut while it was
  sampled; behind it stands the end of turn. Only what a template changes *within* a message (white space that it
  trims, reasoning that it drops) stays in a string.

**Ends.** A response ends with the token at which the generator stops: in a chat the one with which the template ends
an assistant turn (`end_of_turn`), otherwise EOS. White space that a template writes behind this token belongs to no
response. `append_eos` says, for all strings or for each, whether they ended; one that ends with EOS or the end of
turn already gets no second one. Messages end as their template ends them, and with EOS where it writes no such token.

Responses that do not fit the context are cut at its end, without EOS, and counted; a prompt that leaves no room for a
response is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from larpo_ir.data.chats import Messages, check_completion, clean_chat
from larpo_ir.models.template_reading import Template, start_text
from larpo_ir.models.templates import render, render_prompt, template_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")


@dataclass(frozen=True)
class TokenizedList:
    """One prompt and its responses as token ids; `num_truncated` responses were cut to fit the context."""

    prompt_ids: list[int]
    completion_ids: list[list[int]]
    num_truncated: int = 0


@dataclass(frozen=True)
class _Prompt:
    """A prompt as text. `plain` text gets special tokens, other text has them.

    `template` is that of the response, if it has one; `asks` says whether an answer begins behind the prompt.
    """

    text: str
    plain: bool
    template: Template | None = None
    asks: bool = False


def tokenize_prompts(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Messages],
    *,
    places: Sequence[str] | None = None,
) -> list[list[int]]:
    """Token ids of prompts, exactly as the generator reads them.

    Chat templates write their own special tokens; an EOS that a tokenizer puts behind plain text is taken off.
    `places` names each prompt in messages, such as `query b`; without it they are `prompt 0`, `prompt 1`, ….

    All prompts are rendered before the first is tokenised. Raises a one-line `ValueError` with the prompt's place if
    a prompt is no string or chat, or if the template refuses it.
    """
    return _prompt_ids(tokenizer, _read_prompts(tokenizer, prompts, _named(prompts, places)))


def tokenize_lists(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Messages],
    completions: Sequence[Sequence[str | Messages]],
    *,
    append_eos: bool | Sequence[Sequence[bool]] = True,
    max_length: int | None = None,
    places: Sequence[str] | None = None,
) -> list[TokenizedList]:
    """Tokenise prompts and their candidate responses (rules: see the module).

    `append_eos`: for all responses, or one flag per response. `max_length`: tokens of prompt and response
    together. `places`: see `tokenize_prompts`. Raises `ValueError` for a prompt that is empty, is refused by the chat
    template or leaves no room for a response.
    """
    if len(prompts) != len(completions):
        raise ValueError(f"{len(prompts)} prompts but {len(completions)} lists of completions")
    places = _named(prompts, places)
    _check_completions(completions, places)
    asked = _read_prompts(tokenizer, prompts, places)
    answers = [
        [_located(place, _answer, tokenizer, question, prompt, text, ends) for text, ends in row]
        for place, question, prompt, row in zip(
            places, asked, prompts, _with_ends(completions, append_eos), strict=True
        )
    ]
    contexts = _prompt_ids(tokenizer, asked)
    wholes = _whole_ids(tokenizer, asked, answers)
    return [
        fit(_tokenized(tokenizer, context, row, whole), max_length, where=place)
        for context, row, whole, place in zip(contexts, answers, wholes, places, strict=True)
    ]


def _check_completions(completions: Sequence[Any], places: Sequence[str]) -> None:
    for place, texts in zip(places, completions, strict=True):
        if isinstance(texts, str) or len({isinstance(text, str) for text in texts}) > 1:
            raise ValueError(
                f"completions of {place} must be a list, of strings or of chats: got {texts!r:.60}"
            )


def _with_ends(
    completions: Sequence[Sequence[T]], append_eos: bool | Sequence[Sequence[bool]]
) -> list[list[tuple[T, bool]]]:
    """Each completion and whether it ended."""
    if isinstance(append_eos, bool):
        return [[(text, append_eos) for text in texts] for texts in completions]
    return [list(zip(texts, append_eos[i], strict=True)) for i, texts in enumerate(completions)]


def _named(prompts: Sequence[Any], places: Sequence[str] | None) -> Sequence[str]:
    if places is not None and len(places) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts but {len(places)} places")
    return places if places is not None else [f"prompt {i}" for i in range(len(prompts))]


def _located(place: str, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function; its errors begin with the place."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _read_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str | Messages], places: Sequence[str]
) -> list[_Prompt]:
    template, start = template_of(tokenizer), start_text(tokenizer)
    starts = tuple(text for text in (start, tokenizer.bos_token) if text)

    def read(prompt: str | Messages) -> _Prompt:
        text = render_prompt(tokenizer, prompt)
        if not isinstance(prompt, str):
            return _Prompt(text, False, template, prompt[-1]["role"] != "assistant")
        if template.wrote(text):
            text = text if text.startswith(template.start) else template.start + text
            return _Prompt(text, False, template, text.endswith(template.asks))
        return _Prompt(text, not (starts and text.startswith(starts)))

    return [_located(place, read, prompt) for place, prompt in zip(places, prompts, strict=True)]


def _prompt_ids(tokenizer: PreTrainedTokenizerBase, asked: Sequence[_Prompt]) -> list[list[int]]:
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    encoded = _encode(tokenizer, [prompt.text for prompt in asked], [prompt.plain for prompt in asked])
    return [ids or start for ids in encoded]


def _encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], plain: Sequence[bool]
) -> list[list[int]]:
    """Ids of texts. Plain ones get the tokenizer's special tokens, but no EOS behind them."""
    encoded: list[list[int]] = [[] for _ in texts]
    ends_plain_text = tokenizer("x")["input_ids"][-1:] == [tokenizer.eos_token_id]
    for special in (True, False):
        rows = [row for row, is_plain in enumerate(plain) if is_plain is special]
        if rows:
            batch = tokenizer([texts[row] for row in rows], add_special_tokens=special)["input_ids"]
            for row, ids in zip(rows, batch, strict=True):
                encoded[row] = list(ids[:-1] if special and ends_plain_text else ids)
    return encoded


@dataclass(frozen=True)
class _Answer:
    """A response behind its prompt: both as one text, and the response's part of it, unless the two renderings part.

    `closer` is appended unless the response ends with one of `closed`.
    """

    whole: str
    behind: str | None
    closer: int | None = None
    closed: tuple[list[int], ...] = ()

    def closes(self, ids: list[int]) -> list[int]:
        """The response's ids with the token that ends it."""
        return ids if self.closer is None or ids[-1:] in self.closed else [*ids, self.closer]


def _whole_ids(
    tokenizer: PreTrainedTokenizerBase, asked: Sequence[_Prompt], answers: Sequence[Sequence[_Answer]]
) -> list[list[list[int]]]:
    """Ids of prompt and response together, list by list; all are encoded at once, which is faster."""
    texts = [answer.whole for row in answers for answer in row]
    plain = [prompt.plain for prompt, row in zip(asked, answers, strict=True) for _ in row]
    encoded = iter(_encode(tokenizer, texts, plain))
    return [[next(encoded) for _ in row] for row in answers]


def _tokenized(
    tokenizer: PreTrainedTokenizerBase,
    context: list[int],
    answers: Sequence[_Answer],
    whole: Sequence[list[int]],
) -> TokenizedList:
    """One list from the ids of its prompt, and of the prompt with each response."""
    if any(answer.behind is None for answer in answers):
        context = context[: min(_common_prefix(context, ids) for ids in whole)]
        responses = [ids[len(context) :] for ids in whole]
    else:
        responses = [
            _continuation(tokenizer, context, ids, str(answer.behind))
            for ids, answer in zip(whole, answers, strict=True)
        ]
    ended = [answer.closes(ids) for ids, answer in zip(responses, answers, strict=True)]
    return TokenizedList(context, ended)


def _answer(
    tokenizer: PreTrainedTokenizerBase,
    asked: _Prompt,
    prompt: str | Messages,
    completion: str | Messages,
    ends: bool,
) -> _Answer:
    end_id = None if asked.template is None else asked.template.end_id
    behind: str | None
    if isinstance(completion, str):
        behind = completion if asked.template is None else _as_message(tokenizer, asked, completion, ends)
        whole = asked.text + behind
    else:
        whole = _rendered(tokenizer, prompt, completion)
        behind = whole[len(asked.text) :] if whole.startswith(asked.text) else None
        ends = ends and end_id is None
    if not ends:
        return _Answer(whole, behind)
    closer = tokenizer.eos_token_id if end_id is None else end_id
    if closer is None:
        raise ValueError("the tokenizer has no EOS token to append: give it one or append_eos=False")
    return _Answer(whole, behind, closer, ([closer], [tokenizer.eos_token_id]))


def _as_message(tokenizer: PreTrainedTokenizerBase, asked: _Prompt, text: str, ends: bool) -> str:
    """A string response to a chat as the template would write it, but for changes within it."""
    template = asked.template or Template()
    trimmed = text.rstrip()
    marks = (template.end or template.ending.strip(), tokenizer.eos_token)
    ended = any(mark and trimmed.endswith(mark) for mark in marks)
    text = trimmed if ended else text
    if not (ends or ended):  # cut while it was sampled, so nobody wrote anything before it
        return text
    lead = template.lead_before(text) if asked.asks else ""
    if ended:
        return lead + text
    spaced = template.ending[:1].isspace() and text[-1:].isspace()
    return lead + text + (template.ending.lstrip() if spaced else template.ending)


def _rendered(tokenizer: PreTrainedTokenizerBase, prompt: str | Messages, completion: Messages) -> str:
    """Prompt and completion through the template, up to the end of the last turn."""
    if isinstance(prompt, str):
        raise ValueError("completions are chat messages but the prompt is a string: give both as messages")
    before, after = clean_chat(prompt), clean_chat(completion)
    check_completion(after)
    if before[-1]["role"] == after[0]["role"] == "assistant":
        content = f"{before[-1]['content']}{after[0]['content']}"
        before, after = before[:-1], [{**before[-1], **after[0], "content": content}, *after[1:]]
    return template_of(tokenizer).cut(render(tokenizer, [*before, *after]))


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


def pad_token_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """A token to pad with; what it is does not matter, it is masked."""
    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return int(next(token for token in candidates if token is not None))
