"""Answers in passages: whole tokens in a row."""

from __future__ import annotations

import pytest

from retrieval_bridge.collections.answers import holds_answer

HELD = [
    ("Born in Zürich.", ["zürich"], True),
    # the same letters, composed and decomposed
    ("Born in Zu\u0308rich.", ["Z\u00fcrich"], True),
    ("Born in Zürich.", ["Zurich"], False),
    ("a catalogue", ["cat"], False),
    ("the cat's tail", ["cat"], True),
    ("in the U.S. Senate", ["US Senate"], False),
    ("in the U.S. Senate", ["u.s. senate"], True),
    ("It cost $1,800 then", ["1,800"], True),
    ("It cost $1,800 then", ["1800"], False),
    ("September 21 , 2016", ["September 21, 2016"], True),
    ("September 21\n2016", ["21 2016"], True),
    ("won in 1956 and 1972", ["1972 and 1956"], False),
    ("nothing here", ["no", "here"], True),
    ("anything", [], False),
    ("anything", ["", " \u200b"], False),
    ("", ["a"], False),
    ("", [""], False),
    # a zero-width space is a control character: it parts tokens and is none
    ("New\u200bYork", ["New York"], True),
    ("日本", ["日"], False),
]


@pytest.mark.parametrize(("passage", "answers", "held"), HELD)
def test_answers_are_held_as_whole_tokens_in_a_row(passage: str, answers: list[str], held: bool) -> None:
    assert holds_answer(passage, answers) is held


def test_a_string_is_no_list_of_answers() -> None:
    with pytest.raises(ValueError, match="answers is the string 'abc'; it must be a list"):
        holds_answer("abc", "abc")
