"""Chat templates: how a chat becomes text, and what a template writes around it.

What a template writes is read off the template itself: small chats of made-up words are rendered, and the text
between these words is the template's. No list of model names is needed, and a template that a user wrote is read like
any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from larpo_ir.data.chats import Messages, check_prompt, clean_chat, is_chat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A header without any of these, such as `USER:`, is a word that prose may hold, too.
_MARKUP = re.compile(r"<\S+>|\[/?[A-Z_]+\]")
_TAG = re.compile(r"<[^<>\s]+>")
_WORDS_OF_ERRORS = 300  # characters
# Small chats in which a message of each role has its place.
_SMALL_CHATS = {
    "system": ("system", "user"),
    "developer": ("developer", "user"),
    "user": ("user",),
    "assistant": ("user", "assistant"),
    "tool": ("user", "assistant", "tool"),
}


def render(tokenizer: PreTrainedTokenizerBase, chat: Messages, **options: Any) -> str:
    """A chat as its template writes it. `options` are those of `apply_chat_template`.

    Raises a one-line `ValueError` with the template's own words where it refuses the chat or fails on it, and where
    it leaves a message out without a word, as some do with roles that they do not know, or with content that is text.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            "the tokenizer has no chat template, so it cannot read a chat: give strings or a template"
        )
    lost = template_of(tokenizer).lost
    for message in chat:
        if message["role"] in lost and message["content"].strip():
            raise ValueError(
                f"the chat template leaves out what a message of the role {message['role']!r} says; give it to "
                "another role, or another template to the tokenizer"
            )
    return _write(tokenizer, chat, **options)


def _write(tokenizer: PreTrainedTokenizerBase, chat: Messages, **options: Any) -> str:
    try:
        return str(tokenizer.apply_chat_template(chat, tokenize=False, **options))
    except Exception as error:  # a template is a program: it may raise whatever Python can
        words = " ".join(str(error).split())[:_WORDS_OF_ERRORS] or "it gives no reason"
        kind = "" if type(error).__name__ == "TemplateError" else f"{type(error).__name__}: "
        raise ValueError(f"the chat template refuses this chat: {kind}{words}") from None


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str | Messages) -> str:
    """The text a prompt becomes: itself, or its chat template by TRL's rules.

    Raises `ValueError` when a chat is empty, holds what `larpo_ir.data.chats` does not support, ends in a role other
    than user, tool or assistant, or is refused by the template.
    """
    if isinstance(prompt, str):
        return prompt
    chat = clean_chat(prompt)
    if not is_chat(chat):
        raise ValueError(f"a prompt must be a string or a list of chat messages, got {prompt!r:.60}")
    check_prompt(chat)
    goes_on = chat[-1]["role"] == "assistant"
    return render(tokenizer, chat, add_generation_prompt=not goes_on, continue_final_message=goes_on)


@dataclass(frozen=True)
class Template:
    """What a chat template writes around messages. All of it is empty where there is no template.

    * `start`: what stands before the first turn and is none of it: the BOS token.
    * `headers`: what stands before a message of each role, such as `<|im_start|>user`.
    * `opening` and `asks`: what stands before the first question, and what asks for an answer behind it.
    * `lead`: what stands between `asks` and an answer, such as Qwen 3's empty `<think>` block.
    * `ending`: what ends an answer, up to the token `end_id` whose text is `end`, or all of it where no token ends
      it; `behind`: what follows that.
    * `lost`: the roles whose messages it leaves out.
    """

    start: str = ""
    headers: tuple[str, ...] = ()
    opening: str = ""
    asks: str = ""
    lead: str = ""
    ending: str = ""
    end: str = ""
    end_id: int | None = None
    behind: str = ""
    lost: frozenset[str] = frozenset()
    _pattern: re.Pattern[str] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.headers:
            object.__setattr__(self, "_pattern", re.compile("|".join(map(re.escape, self.headers))))

    def wrote(self, text: str) -> bool:
        """Whether a text was written by this template: it begins with one of its headers, or it has one and ends by
        asking for an answer. Where headers are mere words, it begins and ends as the template does.

        A text that only quotes a mark, a draft that holds one for instance, was not."""
        first, last = self.opening.strip(), self.asks.strip()
        begins, asks = text.removeprefix(self.start).lstrip(), bool(last) and text.rstrip().endswith(last)
        if self._pattern is not None:
            return self._pattern.match(begins) is not None or (
                asks and self._pattern.search(text) is not None
            )
        return bool(first) and begins.startswith(first) and asks

    def lead_before(self, text: str) -> str:
        """What the template writes before an answer, unless the answer shows that its model wrote it: it holds a tag
        of it (reasoning that ends in `</think>`), or begins with white space or a word as it does."""
        tags = _TAG.findall(self.lead)
        if tags:
            written = any(tag in text for tag in tags)
        else:
            word = self.lead.strip()
            written = text.startswith(word) if word else text[:1].isspace()
        return "" if written else self.lead

    def cut(self, text: str) -> str:
        """A rendered chat that ends with an answer, without what stands behind the end of this turn."""
        where = text.rfind(self.end) + len(self.end) if self.end else -1
        if where >= len(self.end) and (not text[where:].strip() or text[where:] == self.behind):
            return text[:where]
        return text.removesuffix(self.behind)


_NO_TEMPLATE = Template()
_known: WeakKeyDictionary[Any, tuple[Any, Template]] = WeakKeyDictionary()


def template_of(tokenizer: PreTrainedTokenizerBase) -> Template:
    """What a tokenizer's chat template writes; remembered as long as tokenizer and template stay the same."""
    if not getattr(tokenizer, "chat_template", None):
        return _NO_TEMPLATE
    key = (tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token)
    known = _known.get(tokenizer)
    if known is None or known[0] != key:
        known = _known[tokenizer] = (key, _read(tokenizer))
    return known[1]


def is_templated(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether a string already carries the marks of this tokenizer's own chat template.

    The marks are what the template writes before a message of each role, such as `<|im_start|>user`, where the text
    begins, or elsewhere if it ends as the template asks for an answer. Where these are mere words (`USER:`), the
    text must begin and end as the template begins and ends. A BOS token alone is no mark. False without a template.
    """
    return template_of(tokenizer).wrote(text)


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token with which the chat template ends an assistant turn, whatever `eos_token` is.

    It is the first special token behind an answer. None where there is no template, or where it writes no such token.
    """
    return template_of(tokenizer).end_id


def _read(tokenizer: PreTrainedTokenizerBase) -> Template:
    lost = frozenset(role for role in _SMALL_CHATS if _is_lost(tokenizer, role))
    for before in ((), ("system",)):  # some templates want a system message
        asked = _around(tokenizer, *before, "user", ask=True)
        if asked is not None:
            break
    else:
        return Template(lost=lost)
    told = _around(tokenizer, *before, "user") or asked
    answered = _around(tokenizer, *before, "user", "assistant")
    again = _around(tokenizer, *before, "user", "assistant", "user")
    instructed = _around(tokenizer, "system", "user")

    opening, asks = asked[-2], asked[-1]
    answer = told[-1] if answered is None else answered[-2]
    tail = "" if answered is None else answered[-1]
    end_id, end = _end(tokenizer, tail)
    at = tail.find(end) + len(end) if end else len(tail.rstrip())

    def behind_question(text: str) -> str:
        """What follows the question's own turn, whose end is less than `told` where the end of the chat is marked."""
        if text.startswith(told[-1]) or not end or end not in text:
            return text.removeprefix(told[-1])
        return text[text.index(end) + len(end) :].lstrip()

    generation, written = behind_question(asks), behind_question(answer)
    user = opening
    if again is not None:  # what stands between an answer and the next question, without the ends of turns
        user = again[-2].removeprefix(tail[:at]).removeprefix(tail[at:]).removeprefix(told[-1])
    pieces = [user, _shared(generation, written) if generation else told[-1]]
    pieces += [instructed[0]] if instructed else []
    before_text = [text for text in (tokenizer.bos_token, start_text(tokenizer)) if text]
    starts = sorted((text for text in before_text if opening.startswith(text)), key=len)
    headers = {_header(piece, before_text, generation) for piece in pieces}
    marks = tuple(sorted(header for header in headers if _is_mark(header, tokenizer)))
    start = starts[-1] if starts and not any(mark.startswith(starts[-1]) for mark in marks) else ""
    return Template(
        start=start,
        headers=marks,
        opening=opening.removeprefix(start),
        asks=generation or told[-1],
        lead=answer.removeprefix(asks) if answered is not None and answer.startswith(asks) else "",
        ending=tail[:at],
        end=end,
        end_id=end_id,
        behind=tail[at:],
        lost=lost,
    )


def _around(tokenizer: PreTrainedTokenizerBase, *roles: str, ask: bool = False) -> list[str] | None:
    """What a template writes before, between and behind messages of these roles; None where it refuses one of them,
    leaves it out or writes it elsewhere."""
    words = _words(roles)
    text = _of_words(tokenizer, roles, ask)
    pieces = []
    for word in words:
        piece, found, text = text.partition(word)
        if not found:
            return None
        pieces.append(piece)
    return [*pieces, text]


def _is_lost(tokenizer: PreTrainedTokenizerBase, role: str) -> bool:
    """Whether a template writes a chat with a message of this role, and not what the message says."""
    roles = _SMALL_CHATS[role]
    text = _of_words(tokenizer, roles, ask=False)
    return bool(text) and _words(roles)[roles.index(role)] not in text


def _words(roles: Sequence[str]) -> list[str]:
    """Digits, which a template does not change even where it changes letters."""
    return [f"91827364{number}" for number in range(len(roles))]


def _of_words(tokenizer: PreTrainedTokenizerBase, roles: Sequence[str], ask: bool) -> str:
    """A chat of made-up words as the template writes it; nothing where it refuses the chat."""
    chat = [{"role": role, "content": word} for role, word in zip(roles, _words(roles), strict=True)]
    try:
        return _write(tokenizer, chat, add_generation_prompt=ask)
    except ValueError:
        return ""


def start_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """What the tokenizer puts before plain text by itself, as text: its BOS token, or nothing."""
    with_specials, without = (
        tokenizer("x")["input_ids"],
        tokenizer("x", add_special_tokens=False)["input_ids"],
    )
    width = len(without)
    for at in range(len(with_specials) - width + 1):
        if with_specials[at : at + width] == without:
            return "".join(tokenizer.convert_ids_to_tokens(with_specials[:at]))
    return ""


def _shared(a: str, b: str) -> str:
    """The longest common beginning of two texts."""
    return a[: next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))]


def _end(tokenizer: PreTrainedTokenizerBase, tail: str) -> tuple[int | None, str]:
    """The first token of what stands behind an answer that is no ordinary text, and its text."""
    specials = {*tokenizer.added_tokens_decoder, tokenizer.eos_token_id}
    for token in tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else ():
        text = str(tokenizer.convert_ids_to_tokens(token))
        if token in specials and text.strip() and text in tail:
            return int(token), text
    return None, ""


def _header(piece: str, starts: Iterable[str], generation: str) -> str:
    """The first line that is written before a message, without the BOS token: unless it begins every turn, as
    SmolLM2's does."""
    header = piece.strip().partition("\n")[0]
    for start in starts:
        rest = header.removeprefix(start).strip()
        if rest != header and (start not in generation or not rest or _MARKUP.search(rest)):
            return rest
    return header


def _is_mark(header: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return _MARKUP.search(header) is not None or any(text in header for text in special if text.strip())
