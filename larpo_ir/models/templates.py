"""Chat templates: how a chat becomes text, and whether a text is a chat that was written by a template.

`larpo_ir.models.template_reading` finds the marks that a template writes around messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from larpo_ir.data.chats import Messages, check_prompt, clean_chat, is_chat
from larpo_ir.models.template_reading import Template, read_template, write

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
    return write(tokenizer, chat, **options)


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


_NO_TEMPLATE = Template()
_known: WeakKeyDictionary[Any, tuple[Any, Template]] = WeakKeyDictionary()


def template_of(tokenizer: PreTrainedTokenizerBase) -> Template:
    """The marks of a tokenizer's chat template; remembered as long as tokenizer and template stay the same."""
    if not getattr(tokenizer, "chat_template", None):
        return _NO_TEMPLATE
    key = (tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token)
    known = _known.get(tokenizer)
    if known is None or known[0] != key:
        known = _known[tokenizer] = (key, read_template(tokenizer))
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
