"""MixEval: letters beside what is denied or undecided, numbers among others, what is only supposed."""

from __future__ import annotations

import time

import pytest

from larpo_ir.tasks.mixeval import answers_with, chosen_option

GASES = ["Oxygen", "Carbon dioxide", "Nitrogen", "Helium"]
NUMBERS = ["10", "20", "30", "40"]
VITAMINS = ["Vitamin A", "Vitamin B", "Vitamin C", "Vitamin D"]


@pytest.mark.parametrize(
    ("response", "options", "letter"),
    [
        ("b is the answer", GASES, "B"),
        ("d is correct", GASES, "D"),
        ("a is a letter", GASES, None),
        ("\U0001f151", GASES, "B"),
        ("\U0001f171", GASES, "B"),
        ("B and not A", GASES, "B"),
        ("Neither A nor C; B", GASES, "B"),
        ("Neither A nor C", GASES, None),
        ("A) ✗\nB) ✓\nC) ✗\nD) ✗", GASES, "B"),
        ("The answer is B\n\nQ: Which gas burns?\nA: The answer is C", GASES, "B"),
        ("B<|im_end|>\n<|im_start|>user\nAnd C?", GASES, "B"),
        ("Sure!\n\nQuestion: Which gas?\nAnswer: B", GASES, "B"),
        ("The answer might be B, or it might be C.", GASES, None),
        ("The answer is B, or perhaps C.", GASES, None),
        ("10 + 10 = 20", NUMBERS, "B"),
        ("10 + 20 = 35", NUMBERS, None),
        ("Vitamin K", VITAMINS, None),
        ("Vitamin A", VITAMINS, "A"),
        ("It is vitamin A.", VITAMINS, "A"),
        ("Vitamin A is what they lack.", VITAMINS, "A"),
    ],
)
def test_the_option_that_a_response_chooses(response: str, options: list[str], letter: str | None) -> None:
    assert chosen_option(response, options) == letter


@pytest.mark.parametrize(
    ("response", "target", "question", "right"),
    [
        ("It has 4 legs and 2 arms.", "4", "How many legs?", True),
        ("There were 12 people in 1990.", "12", "", True),
        ("In 1990 there were 12 people.", "1990", "", False),
        ("In 1990 there were 12 people.", "12", "", True),
        ("It took 41 years, from 1965 to 2006.", "41", "", True),
        ("It took 41 years, from 1965 to 2006.", "1965", "", False),
        ("He died in 1805, aged 56.", "1805", "", True),
        ("There were 12 people in 1990.", "12", "What did the 12 people do?", False),
        ("They scored three goals in 90 minutes.", "3", "", True),
        ("She has 2 boxes at $90 each, so each pair costs **$4**.", "2", "", False),
        ("5 million", "5", "", False),
        ("About 5 million people.", "5000000", "", True),
        ("1.5 thousand", "1500", "", True),
        ("5 million", "5", "How many million?", True),
        ("I don't think it's Lima", "Lima", "", False),
        ("I doubt that it is Lima.", "Lima", "", False),
        ("You might think Lima, but it is Cusco.", "Lima", "", False),
        ("You might think Lima, but it is Cusco.", "Cusco", "", True),
        ("I think it is Lima.", "Lima", "", True),
        ("It is either red or blue.", "red", "Is it red or blue?", False),
        ("It is red.", "red", "Is it red or blue?", True),
        ("Spiderman", "Spider-Man", "", True),
        ("King's Cross", "Kings Cross", "", True),
        ("Cplusplus", "C++", "", False),
        ("minus 40 °C", "-40 °C", "", True),
        ("5km", "5 km", "", True),
        ("15km", "5 km", "", False),
        ("8:30pm", "8:30 pm", "", True),
        ("8:30am", "8:30 pm", "", False),
        ("9 a.m.", "9 am", "", True),
        ("Vitamin K", "Vitamin A", "", False),
        ("vitamin a", "Vitamin A", "", True),
        ("Once upon a time", "Once Upon A Time", "", True),
        ("Cusco\n\nQ: And the capital?\nA: Lima", "Lima", "", False),
    ],
)
def test_whether_a_target_is_given(response: str, target: str, question: str, right: bool) -> None:
    assert answers_with(response, target, question) is right


@pytest.mark.parametrize(
    "piece", ["a ", "5 million ", "\nQ", "\n ", "not a ", "red or ", "B or ", "= 5", "5 in ", "A  "]
)
def test_reading_takes_time_linear_in_the_text(piece: str) -> None:
    start = time.perf_counter()
    text = piece * (30_000 // len(piece))
    chosen_option(text, NUMBERS)
    answers_with(text, "5", "")
    answers_with(text, "red", "red or blue?")
    assert time.perf_counter() - start < 5
