"""The marks of a chat template, read off the template itself.

Small chats of made-up words are rendered, and the text between these words is the template's. No list of model names
is needed, and a template that a user wrote is read like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from larpo_ir.data.chats import Messages

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


@dataclass(frozen=True)
class Template:
    """The texts that a chat template writes around messages. All are empty where there is no template.

    * `start`: stands before the first turn and is no part of it: the BOS token.
    * `headers`: stand before a message of each role, such as `<|im_start|>user`.
    * `opening` and `asks`: stand before the first question, and behind it to ask for an answer.
    * `lead`: stands between `asks` and an answer, such as Qwen 3's empty `<think>` block.
    * `ending`: ends an answer, up to the token `end_id` whose text is `end`, or all of it where no token ends it;
      `behind` follows it.
    * `lost`: the roles whose messages the template leaves out.
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
        """`lead`, unless the answer shows that its model wrote it: it holds a tag of it (reasoning that ends in
        `</think>`), or begins with white space or a word as it does."""
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


def read_template(tokenizer: PreTrainedTokenizerBase) -> Template:
    """The marks of a tokenizer's chat template."""
    lost = frozenset(role for role in _SMALL_CHATS if _is_lost(tokenizer, role))
    seen = _Seen.of(tokenizer)
    if seen is None:
        return Template(lost=lost)
    end_id, end = _end(tokenizer, seen.tail)
    end_of_turn = seen.tail.find(end) + len(end) if end else len(seen.tail.rstrip())
    ending, behind = seen.tail[:end_of_turn], seen.tail[end_of_turn:]
    generation = seen.behind_question(seen.asks, end)
    written = seen.behind_question(seen.answer, end)

    pieces = [seen.before_next_question(ending, behind)]
    pieces += [_shared(generation, written) if generation else seen.told[-1]]
    pieces += [seen.instructed[0]] if seen.instructed else []
    marks = _marks(tokenizer, pieces, generation)
    start = _start(tokenizer, seen.opening, marks)
    return Template(
        start=start,
        headers=marks,
        opening=seen.opening.removeprefix(start),
        asks=generation or seen.told[-1],
        lead=seen.lead,
        ending=ending,
        end=end,
        end_id=end_id,
        behind=behind,
        lost=lost,
    )


@dataclass(frozen=True)
class _Seen:
    """The texts before, between and behind the words of small chats, as a template writes them.

    `asked`: a question and what asks for its answer; `told`: the question alone; `answered`: question and answer;
    `again`: these and a second question; `instructed`: a system message and a question. None: a chat that the
    template refuses.
    """

    asked: list[str]
    told: list[str]
    answered: list[str] | None
    again: list[str] | None
    instructed: list[str] | None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> _Seen | None:
        """None where a template refuses a question, alone and behind a system message."""
        for before in ((), ("system",)):  # some templates want a system message
            asked = _around(tokenizer, *before, "user", ask=True)
            if asked is not None:
                return cls(
                    asked,
                    told=_around(tokenizer, *before, "user") or asked,
                    answered=_around(tokenizer, *before, "user", "assistant"),
                    again=_around(tokenizer, *before, "user", "assistant", "user"),
                    instructed=_around(tokenizer, "system", "user"),
                )
        return None

    @property
    def opening(self) -> str:
        """The text before the first question."""
        return self.asked[-2]

    @property
    def asks(self) -> str:
        """The text behind a question that asks for an answer."""
        return self.asked[-1]

    @property
    def answer(self) -> str:
        """The text between a question and its answer."""
        return self.told[-1] if self.answered is None else self.answered[-2]

    @property
    def tail(self) -> str:
        """The text behind an answer."""
        return "" if self.answered is None else self.answered[-1]

    @property
    def lead(self) -> str:
        """The text between what asks for an answer and the answer."""
        follows = self.answered is not None and self.answer.startswith(self.asks)
        return self.answer.removeprefix(self.asks) if follows else ""

    def behind_question(self, text: str, end: str) -> str:
        """A text without the end of the question's own turn, which is less than `told` where the end of the chat is
        marked."""
        if text.startswith(self.told[-1]) or not end or end not in text:
            return text.removeprefix(self.told[-1])
        return text[text.index(end) + len(end) :].lstrip()

    def before_next_question(self, ending: str, behind: str) -> str:
        """The text between an answer and the next question, without the ends of turns."""
        if self.again is None:
            return self.opening
        return self.again[-2].removeprefix(ending).removeprefix(behind).removeprefix(self.told[-1])


def write(tokenizer: PreTrainedTokenizerBase, chat: Messages, **options: Any) -> str:
    try:
        return str(tokenizer.apply_chat_template(chat, tokenize=False, **options))
    except Exception as error:  # a template is a program: it may raise whatever Python can
        words = " ".join(str(error).split())[:_WORDS_OF_ERRORS] or "it gives no reason"
        kind = "" if type(error).__name__ == "TemplateError" else f"{type(error).__name__}: "
        raise ValueError(f"the chat template refuses this chat: {kind}{words}") from None


def _around(tokenizer: PreTrainedTokenizerBase, *roles: str, ask: bool = False) -> list[str] | None:
    """The texts that a template writes before, between and behind messages of these roles; None where it refuses one
    of them, leaves it out or writes it elsewhere."""
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
        return write(tokenizer, chat, add_generation_prompt=ask)
    except ValueError:
        return ""


def start_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """The text that a tokenizer puts before plain text by itself: its BOS token, or nothing."""
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


def _starts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    return [text for text in (tokenizer.bos_token, start_text(tokenizer)) if text]


def _start(tokenizer: PreTrainedTokenizerBase, opening: str, marks: Sequence[str]) -> str:
    """The BOS token before the first turn; nothing where it begins every turn, and so is part of a mark."""
    start = max((text for text in _starts(tokenizer) if opening.startswith(text)), key=len, default="")
    return "" if any(mark.startswith(start) for mark in marks) else start


def _marks(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[str], generation: str) -> tuple[str, ...]:
    """The headers among the texts before messages that no prose holds."""
    starts = _starts(tokenizer)
    headers = {_header(piece, starts, generation) for piece in pieces}
    return tuple(sorted(header for header in headers if _is_mark(header, tokenizer)))


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
