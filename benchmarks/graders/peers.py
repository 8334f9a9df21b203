"""Graders that others use, as functions of a case that return True if its response is right.

`math_verify_says`: math-verify (Kydlíček et al.), with its own extraction, as evaluation harnesses call it.

`official_rules_say`: the rules that MixEval publishes beside its model-based reader (Ni et al., *MixEval: Deriving
Wisdom of the Crowd from LLM Benchmark Mixtures*, 2024, arXiv:2406.06565; `mix_eval/utils/metric_utils.py` of
Psycoy/MixEval), in our words and code:

* *Multiple choice.* The first letter between blanks, line ends, parentheses or double asterisks counts (`FORMS`).
  Without such a letter, a response of more than five words chooses the option whose text comes first. Otherwise an
  option is drawn at random; here the draw is a function of the case's place.
* *Free form.* Predictions are, for each line, the shortest rest behind a word such as `is`, `so` or `answer`; the
  response itself if no line has such a word; and the numbers in these. A prediction is right if it contains a target
  or, for numbers, equals it to two decimals.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# --- math-verify ---------------------------------------------------------------------------------------------------


def math_verify_says(case: dict[str, Any], place: int) -> bool:
    """True if math-verify finds the response equal to the gold answer; an answer that it cannot read is wrong."""
    from math_verify import parse, verify

    gold = parse(f"${case['gold']}$")
    found = parse(case["response"])
    return bool(gold) and bool(found) and bool(verify(gold, found))


# --- MixEval's rules -----------------------------------------------------------------------------------------------

FORMS = (
    *(f"{before}{{}}{after}" for before in (" ", "\n") for after in (" ", "\n", ". ", ".\n")),
    *("({})", "**{} ", " {}**", "**{}. ", " {}.**"),
)
BEHIND = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
# Grouped integers, numbers with an exponent, and plain numbers; several patterns may find one number.
NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",
    r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
)


def official_rules_say(case: dict[str, Any], place: int) -> bool:
    """True if MixEval's published rules call the response right; see the module's docstring."""
    if case["type"] == "multiple-choice":
        return bool(official_choice(case["response"], case["options"], place) == case["gold"])
    predictions = set(_predictions(case["response"]))
    targets = {value for target in case["targets"] for value in _normalised(target)}
    texts = [target for target in targets if isinstance(target, str)]
    return any(
        any(text in prediction for text in texts) if isinstance(prediction, str) else prediction in targets
        for prediction in predictions
    )


def official_choice(response: str, options: list[str], place: int = 0) -> str:
    """The letter that a response chooses by the official rules.

    >>> official_choice("Not A but B", ["x", "y"]), official_choice("The answer: (B).", ["x", "y"])
    ('A', 'B')
    """
    letters = LETTERS[: len(options)]
    for sign in ",.!?;:'":
        response = response.strip(sign)
    padded = f" {response} "
    found = [
        (padded.index(form.format(letter)), letter)
        for letter in letters
        for form in FORMS
        if form.format(letter) in padded
    ]
    if not found and len(padded.split()) > 5:
        lower = padded.lower()
        found = [
            (lower.index(text.lower()), letter)
            for letter, text in zip(letters, options, strict=True)
            if text.lower() in lower
        ]
    return min(found)[1] if found else random.Random(place).choice(letters)


def _predictions(response: str) -> Iterator[str | float]:
    parts = list(_key_parts(response.strip().strip(".").lower()))
    yield from (value for part in parts for value in _normalised(part))
    numbers = (number for part in parts for pattern in NUMBERS for number in re.findall(pattern, part))
    yield from (value for number in numbers for value in _normalised(number))


def _key_parts(response: str) -> Iterator[str]:
    lines = response.split("\n")
    parts = []
    for place, line in enumerate(lines):
        behind = (*BEHIND, "=") if place == len(lines) - 1 else BEHIND
        rests = [line.rpartition(word)[2].strip() for word in behind if word in line]
        shortest = min((rest for rest in rests if rest), key=len, default="")
        if shortest and shortest not in ":,.!?;'":
            parts.append(shortest)
    yield from parts or [response]


def _normalised(text: str) -> list[str | float]:
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lower = text.lower()
        return [f" {lower}", f"{lower} "] if len(lower) == 1 else [lower]
