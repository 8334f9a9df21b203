"""Prompts that a model reads, made of questions: the one place where a question becomes a chat.

A prompt is a string, which the model reads as it is, or a chat (list of messages), which goes through a chat
template. A topic asks its `prompt`, or else its `query`, and this becomes a prompt like this:

* a string is a user turn where the tokenizer has a chat template, and text to be continued where it has none; `chat`
  says otherwise. A string that carries the template's own markers is a prompt already, and stays as it is.
* `system` is the first message, or text in front; `few_shot` are pairs of a question and its answer, as turns, or as
  text in front (one that asks the very question is left out); `prompt_format` is how a question is written, such as
  `Question: {query}\\nAnswer:`.
* a chat stays as it is, but for `system` and `few_shot`, which it gets unless it has a system message, or begins with
  these turns. For a tokenizer without a template a chat of one user message is its text; of others it reads none.

Asking again for a prompt that was made like this changes nothing.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from larpo_ir.data.chats import Messages, check_prompt, check_text, clean_chat, looks_templated, prompt_text

logger = logging.getLogger("larpo_ir")


@dataclass(frozen=True)
class Prompting:
    """The way in which questions become prompts.

    `chat`: whether a string is a user turn; None: where there is a chat template. `has_template`: whether there is
    one, None if that is unknown. `is_templated`: whether a string is a prompt already.

    Raises `ValueError` for a `prompt_format` without `{query}`, and for examples that are no pairs of strings.

    >>> ask = Prompting(chat=False, few_shot=(("1+1?", "2"),), prompt_format="Q: {query}\\nA:")
    >>> ask("2+2?")
    'Q: 1+1?\\nA: 2\\n\\nQ: 2+2?\\nA:'
    >>> Prompting(chat=True, system="Be brief.")("2+2?")
    [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': '2+2?'}]
    """

    chat: bool | None = None
    system: str | None = None
    few_shot: Sequence[Sequence[str]] = ()
    prompt_format: str = "{query}"
    has_template: bool | None = True
    is_templated: Callable[[str], bool] = looks_templated

    def __post_init__(self) -> None:
        try:
            fields = {field for _, field, _, _ in Formatter().parse(self.prompt_format) if field is not None}
        except ValueError as error:
            raise ValueError(f"prompt_format {self.prompt_format!r}: {error}") from None
        if fields != {"query"} or self.prompt_format.format(query="\0").count("\0") != 1:
            raise ValueError(
                f"prompt_format must have the field {{query}} once and no other, got {self.prompt_format!r}"
            )
        for pair in self.few_shot:
            if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
                raise ValueError(f"few_shot must be pairs of a question and its answer, got {pair!r:.60}")

    @property
    def as_chat(self) -> bool:
        """Whether strings become user turns."""
        return bool(self.has_template) if self.chat is None else self.chat

    def __call__(self, asked: str | Messages, where: str = "the prompt") -> str | Messages:
        """The prompt for what is asked. `where` begins the one line of an error."""
        asked = clean_chat(asked)
        if not isinstance(asked, str):
            check_prompt(asked, where)
            if self.has_template is not False or len(asked) > 1 or asked[0]["role"] != "user":
                return self._in_front(asked)
            asked = str(asked[0]["content"])
        check_text(asked, where)
        if self.is_templated(asked):
            return asked
        if self.has_template and looks_templated(asked):
            warnings.warn(
                f"{where} begins as another model's chat template does and is read as plain text:"
                f" {asked!r:.60}; give the chat as messages",
                stacklevel=3,
            )
        if self.as_chat:
            return self._in_front([{"role": "user", "content": self._written(asked)}])
        return (
            asked if self._is_made(asked) else self._before(self._shown_before(asked)) + self._written(asked)
        )

    def _before(self, shown: Sequence[Sequence[str]]) -> str:
        """The text before a question that is text."""
        system = f"{self.system}\n\n" if self.system else ""
        return system + "".join(f"{self._written(question)} {answer}\n\n" for question, answer in shown)

    def _is_made(self, text: str) -> bool:
        """Whether a text is what this makes of a question, which may be that of an example."""
        before = self._before(self.few_shot)
        own = (
            self._before(self._shown_before(question)) + self._written(question)
            for question, _ in self.few_shot
        )
        return bool(before) and (text.startswith(before) or text in own)

    def _shown_before(self, asked: str) -> list[Sequence[str]]:
        """The examples, without the one that is what is asked: its answer would be given away."""
        return [pair for pair in self.few_shot if asked not in (pair[0], self._written(pair[0]))]

    def _written(self, query: str) -> str:
        head, tail = self.prompt_format.format(query="\0").split("\0")
        done = self.prompt_format != "{query}" and query.startswith(head) and query.endswith(tail)
        return query if done else self.prompt_format.format(query=query)

    def _in_front(self, chat: Messages) -> Messages:
        """The chat behind the system message and the examples, unless they stand there."""
        has_own = chat[0]["role"] in ("system", "developer")
        first, turns = (chat[:1], chat[1:]) if has_own else ([], chat)
        if has_own and self.system and first[0]["content"] != self.system:
            warnings.warn(
                f"a chat has a system message of its own, which stays: {first[0]['content']!r:.60}; system is for"
                " prompts without one",
                stacklevel=4,
            )
        if self.system and not has_own:
            first = [{"role": "system", "content": self.system}]
        shown: Messages = [
            {"role": role, "content": text}
            for question, answer in self._shown_before(prompt_text(turns))
            for role, text in (("user", self._written(question)), ("assistant", answer))
        ]
        return [*first, *([] if turns[: len(shown)] == shown else shown), *turns]


def prompting_for(tokenizer: Any, **options: Any) -> Prompting:
    """`Prompting` with a tokenizer's own template. Raises `ValueError` for `chat=True` without a template."""
    from larpo_ir.models.template_reading import start_text
    from larpo_ir.models.templates import is_templated

    has_template = bool(getattr(tokenizer, "chat_template", None))
    if options.get("chat") and not has_template:
        raise ValueError("chat=True needs a tokenizer with a chat template; this one has none")
    begins = tuple(filter(None, (tokenizer.bos_token, start_text(tokenizer)))) if has_template else ()

    def is_prompt(text: str) -> bool:
        """A string that the template wrote, or one that brings its BOS token along."""
        return has_template and (text.startswith(begins) or is_templated(tokenizer, text))

    return Prompting(**options, has_template=has_template, is_templated=is_prompt)
