"""Prompts and completions as values: what each may be, and the text that people and IR tools read of it.

A prompt is a string or a chat. A chat is a list of messages `{"role": ..., "content": ...}`, both strings. Roles are
those of `ROLES`. Other keys of a message (`name`, `reasoning_content`) go to the chat template as they are; keys that
hold null, as Arrow fills them in, count as absent. Content in parts, `tool_calls` and `function_call` are refused:
half of a message read as if it were whole would go unnoticed.

`larpo_ir.models.tokenization` says how prompts become tokens.
"""

from __future__ import annotations

import re
from typing import Any

Messages = list[dict[str, Any]]

ROLES = ("system", "developer", "user", "assistant", "tool")
PROMPT_ENDS = ("user", "tool", "assistant")  # who may have spoken last when the model is asked to speak
UNSUPPORTED = ("tool_calls", "function_call")


def is_chat(value: Any) -> bool:
    """True for a non-empty list of dicts, which is what distinguishes a chat from a string."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) for turn in value)


def clean_chat(value: Any) -> Any:
    """A chat as a list of messages without keys that hold null. Every other value is returned as it is.

    Tuples and NumPy arrays of messages become lists, as pandas reads a column of chats from Parquet.

    >>> clean_chat(({"role": "user", "content": "2+2?", "name": None},))
    [{'role': 'user', 'content': '2+2?'}]
    """
    chat = value.tolist() if hasattr(value, "tolist") else list(value) if isinstance(value, tuple) else value
    if not is_chat(chat):
        return value
    return [{key: held for key, held in message.items() if held is not None} for message in chat]


def check_prompt(value: Any, what: str = "prompt") -> None:
    """Raise a one-line `ValueError` unless `value` is a prompt: a string that is not blank, or a chat.

    `what` names the value in the message. A chat must end with a user, tool or assistant message: after a user or a
    tool the model answers, and it continues what the assistant began.

    >>> check_prompt([{"role": "user"}])
    Traceback (most recent call last):
    ...
    ValueError: prompt[0] has no content; a message is {role, content}, both strings
    """
    check_text(value, what)
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"{what} is empty")
    elif value[-1]["role"] not in PROMPT_ENDS:
        raise ValueError(f"{what} must end with a user, tool or assistant message, not {value[-1]['role']!r}")


def check_completion(value: Any, what: str = "completion") -> None:
    """Raise a one-line `ValueError` unless `value` is a string (which may be empty), or a chat that begins and ends
    with messages of the assistant."""
    check_text(value, what)
    if isinstance(value, str):
        return
    for message, verb in ((value[0], "begin"), (value[-1], "end")):
        if message["role"] != "assistant":
            raise ValueError(f"{what} must {verb} with an assistant message, not {message['role']!r}")


def check_text(value: Any, what: str) -> None:
    """Raise a one-line `ValueError` unless `value` is a string or a non-empty chat of known roles and texts."""
    if isinstance(value, str):
        _check_unicode(value, what)
    elif is_chat(value):
        for index, message in enumerate(value):
            _check_message(message, f"{what}[{index}]")
    else:
        raise ValueError(f"{what} is {value!r:.60}, neither a string nor a chat of role and content")


def _check_message(message: dict[str, Any], what: str) -> None:
    for key in UNSUPPORTED:
        if message.get(key):
            raise ValueError(
                f"{what} has {key}, which are not supported; write the call into content as text"
            )
    for key in ("role", "content"):
        value = message.get(key)
        if value is None:
            raise ValueError(f"{what} has no {key}; a message is {{role, content}}, both strings")
        if key == "content" and isinstance(value, list):
            raise ValueError(
                f"{what} has content in parts, which is not supported; give its text as one string"
            )
        if not isinstance(value, str):
            raise ValueError(
                f"{what} has the {key} {value!r:.60}; a message is {{role, content}}, both strings"
            )
        _check_unicode(value, what)
    if message["role"] not in ROLES:
        raise ValueError(
            f"{what} has the unknown role {message['role']!r:.60}; choose one of {', '.join(ROLES)}"
        )


def _check_unicode(text: str, what: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} holds half of a surrogate pair, which is not text") from None


def prompt_text(prompt: str | Messages) -> str:
    """The query of a prompt: a string is itself, of a chat it is the last user message.

    >>> prompt_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}])
    '2+2?'
    """
    if isinstance(prompt, str):
        return prompt
    asked = [message["content"] for message in prompt if message["role"] == "user"]
    return str(asked[-1] if asked else prompt[-1]["content"])


def completion_text(completion: str | Messages) -> str:
    """The text of a completion: a string is itself, of a chat it is the last message.

    >>> completion_text([{"role": "assistant", "content": "4"}])
    '4'
    """
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def as_text(prompt: str | Messages) -> str:
    """The whole conversation as plain text, for readers that have no chat template.

    A string is itself and a single user message its content; of any other chat each message becomes `role: content`,
    with a blank line between messages.

    >>> print(as_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]))
    system: Be brief.
    <BLANKLINE>
    user: 2+2?
    """
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return str(prompt[0]["content"])
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def with_response(prompt: Messages, text: str) -> Messages:
    """The chat after the model has said `text`: a message of the assistant, or more of the one that the prompt ends
    with. The prompt stays as it is.

    >>> with_response([{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "2+2"}], "=4")[1]
    {'role': 'assistant', 'content': '2+2=4'}
    """
    last = prompt[-1]
    if last["role"] != "assistant":
        return [*prompt, {"role": "assistant", "content": text}]
    return [*prompt[:-1], {**last, "content": f"{last['content']}{text}"}]


# Beginnings of chat templates, for models whose tokenizer is elsewhere.
_MARKERS = re.compile(
    r"\s*(?:"
    r"<\|(?:im_start|im_end|start_header_id|eot_id|begin_of_text|user|assistant|system|end|endoftext)\|>"
    r"|<start_of_turn>|\[INST\]|<bos>|<s>|<｜)"
)


def looks_templated(text: str) -> bool:
    """True for a string that begins as a usual chat template does; for use where there is no tokenizer to ask.

    >>> looks_templated("<start_of_turn>user\\n2+2?<end_of_turn>\\n"), looks_templated("is a < b or b > a?")
    (True, False)
    """
    return _MARKERS.match(text) is not None
