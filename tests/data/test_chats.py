"""What a prompt may be, and its text for people and for readers without a template."""

from __future__ import annotations

import numpy as np
import pytest

from larpo_ir.data.chats import (
    as_text,
    check_completion,
    check_prompt,
    clean_chat,
    completion_text,
    is_chat,
    prompt_text,
    with_response,
)

SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}
ASSISTANT, TOOL = {"role": "assistant", "content": "4"}, {"role": "tool", "content": "12"}
PARTS = [{"type": "text", "text": "2+2?"}]


@pytest.mark.parametrize(
    "prompt",
    [
        "2+2?",
        [USER],
        [SYSTEM, USER],
        [{**SYSTEM, "role": "developer"}, USER],
        [USER, ASSISTANT],  # to be continued
        [USER, ASSISTANT, TOOL],
        [{**SYSTEM, "content": ""}, USER],
        [{**USER, "name": "Ann"}],
        [{**USER, "tool_calls": None, "name": None}],  # as Arrow fills in what other messages have
        [USER, {**ASSISTANT, "reasoning_content": "two and two"}, USER],
    ],
)
def test_what_a_prompt_may_be(prompt):
    assert check_prompt(prompt) is None


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (5, "prompt is 5, neither a string nor a chat of role and content"),
        (None, "prompt is None, neither"),
        (float("nan"), "prompt is nan, neither"),
        ([], "prompt is [], neither"),
        ({}, "prompt is {}, neither"),
        (USER, "prompt is {'role': 'user', 'content': '2+2?'}, neither"),
        ([USER, "2+2?"], "prompt is [{'role': 'user', 'content': '2+2?'}, '2+2?'], neither"),
        (" \n", "prompt is empty"),
        ("\ud83d", "prompt holds half of a surrogate pair"),
        ([{"role": "user"}], "prompt[0] has no content; a message is {role, content}, both strings"),
        ([{"content": "2+2?"}], "prompt[0] has no role"),
        ([SYSTEM, {"role": "user", "content": None}], "prompt[1] has no content"),
        ([{}], "prompt[0] has no role"),
        ([{"role": "user", "content": 5}], "prompt[0] has the content 5;"),
        ([{"role": ["user"], "content": "x"}], "prompt[0] has the role ['user'];"),
        ([{"role": "User", "content": "x"}], "prompt[0] has the unknown role 'User'; choose one of system, "),
        ([{"role": "user", "content": PARTS}], "prompt[0] has content in parts, which is not supported"),
        (
            [USER, {**ASSISTANT, "tool_calls": [{"function": {}}]}, TOOL],
            "prompt[1] has tool_calls, which are",
        ),
        ([{"role": "assistant", "content": None, "tool_calls": [{}]}], "prompt[0] has tool_calls, which are"),
        ([{"role": "user", "content": "\udc00"}], "prompt[0] holds half of a surrogate pair"),
        ([SYSTEM], "prompt must end with a user, tool or assistant message, not 'system'"),
    ],
)
def test_what_is_no_prompt_gets_one_line(prompt, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        check_prompt(prompt)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^query"):
        check_prompt(prompt, "query")


def test_completions_may_be_empty_and_are_said_by_the_assistant():
    for completion in ("", "4", [ASSISTANT], [ASSISTANT, USER, ASSISTANT]):
        assert check_completion(completion) is None
    with pytest.raises(
        ValueError, match=r"^completions\[1\] must end with an assistant message, not 'user'$"
    ):
        check_completion([ASSISTANT, USER], "completions[1]")
    with pytest.raises(
        ValueError, match=r"^completions\[1\] must begin with an assistant message, not 'user'$"
    ):
        check_completion([USER, ASSISTANT], "completions[1]")
    with pytest.raises(ValueError, match=r"^completion is 5, neither a string nor a chat"):
        check_completion(5)


def test_messages_lose_their_null_keys():
    filled = {**USER, "name": None, "tool_calls": None}
    for chat in ([filled], (filled,), np.array([filled])):
        assert clean_chat(chat) == [USER]
        assert isinstance(clean_chat(chat), list)
    assert clean_chat([{**filled, "content": ""}]) == [{"role": "user", "content": ""}]
    assert [clean_chat(value) for value in ("2+2?", 5, None, [], [1])] == ["2+2?", 5, None, [], [1]]
    assert filled["name"] is None  # nothing is changed in place


def test_what_counts_as_a_chat():
    assert [is_chat(value) for value in ([USER], [{}], [], "x", [USER, "x"], (USER,), None)] == [
        *(True, True, False, False, False, False, False)
    ]


def test_texts():
    assert prompt_text([SYSTEM]) == "Be brief."
    assert prompt_text([USER, ASSISTANT, {**USER, "content": "3+3?"}, ASSISTANT]) == "3+3?"
    assert completion_text([USER, ASSISTANT]) == completion_text("4") == "4"
    assert as_text("2+2?") == as_text([USER]) == "2+2?"
    assert as_text([SYSTEM, USER]) == "system: Be brief.\n\nuser: 2+2?"
    assert as_text([USER, ASSISTANT, USER]) == "user: 2+2?\n\nassistant: 4\n\nuser: 2+2?"
    assert as_text([ASSISTANT]) == "assistant: 4"


def test_a_response_is_a_message_or_more_of_the_last_one():
    assert with_response([SYSTEM, USER], "4") == [SYSTEM, USER, ASSISTANT]
    begun = [USER, {**ASSISTANT, "content": "2+2", "name": "a"}]
    assert with_response(begun, "=4") == [USER, {"role": "assistant", "content": "2+2=4", "name": "a"}]
    assert begun[1]["content"] == "2+2"
