"""Whether a free-form response gives a target as its answer, by rules."""

from __future__ import annotations

import re

from larpo_ir.tasks import gsm8k, math
from larpo_ir.tasks.mixeval.words import affirmed, occurs, words

_UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_VALUES = {
    **{word: value for value, word in enumerate(_UNITS)},
    **{word: 10 * value for value, word in enumerate(_TENS, start=2)},
    **{
        f"{ten}{join}{unit}": 10 * value + one
        for value, ten in enumerate(_TENS, start=2)
        for one, unit in enumerate(_UNITS[1:10], start=1)
        for join in "- "
    },
}
_NUMBER_WORD = re.compile(
    rf"\b(?:{'|'.join(sorted(_VALUES, key=len, reverse=True))})\b(?!-|\s+(?:hundred|thousand|million|billion)\b)",
    re.IGNORECASE,
)
_NUMERAL = re.compile(r"\s*[-−]?\$?[0-9][0-9,]*(?:\.[0-9]+)?%?\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”*)]*\s+(?=[\"'“*(]*[A-Z])|\n")
_EMPHASIS = re.compile(r"\*\*(.+?)\*\*|\\boxed\{([^{}]+)\}|(?i:\banswer is:?\s+)([^\n]+)", re.DOTALL)
_COPULA = re.compile(r".*\b(?:is|was|are|were|be|called|named|:)\s", re.DOTALL | re.IGNORECASE)
_ACRONYM = re.compile(r"(?:[A-Z]\.? ?){2,4}")


def answers_with(response: str | None, target: str, question: str = "") -> bool:
    """Whether a response gives the target as its answer, by the rules in the module's docstring.

    >>> answers_with("It took **41 years**, from 1965 to 2006.", "41"), answers_with("8.33 years", "8")
    (True, False)
    >>> answers_with("The answer is LexisNexis.", "Lexisnexis"), answers_with("Either is a goat.", "Nanny goat")
    (True, False)
    >>> answers_with("It is C++.", "C#"), answers_with("The U.S.", "US"), answers_with("Not Lima but Cusco.", "Lima")
    (False, True, False)
    """
    if not isinstance(response, str) or not response.strip() or not target.strip():
        return False
    response = response.rpartition("</think>")[2].strip() or response
    if "\\" in target:
        return math.is_correct(response, target)
    if _NUMERAL.fullmatch(target):
        return any(
            gsm8k.is_correct(_in_digits(part), target) for part in (response, _first_sentence(response))
        )
    wanted, said = words(target), words(response)
    if said == wanted:
        return True
    if len("".join(wanted)) < 2:  # a letter or a sign occurs everywhere: it must be all that is emphasised
        return any(words(part) == wanted for part in _emphasised(response))
    if _ACRONYM.fullmatch(target.strip()) and not _written_in_capitals(target, response):
        return False  # `us` is no country
    if occurs(wanted, words(question)):
        return any(affirmed(wanted, words(part)) for part in _answer_parts(response))
    return affirmed(wanted, said)


def _in_digits(text: str) -> str:
    """Number words as digits where there are no digits: `six states`."""
    if any(character.isdigit() for character in text):
        return text
    return _NUMBER_WORD.sub(lambda match: str(_VALUES[match[0].lower()]), text)


def _written_in_capitals(target: str, response: str) -> bool:
    spelled = r"\.? ?".join(re.findall("[A-Z]", target))
    return re.search(rf"(?<![A-Za-z])(?:{spelled})(?![A-Za-z])", response) is not None


def _first_sentence(text: str) -> str:
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0]


def _emphasised(response: str) -> list[str]:
    return [next(group for group in match.groups() if group) for match in _EMPHASIS.finditer(response)]


def _answer_parts(response: str) -> list[str]:
    return _emphasised(response) or [_COPULA.sub("", _first_sentence(response))]
