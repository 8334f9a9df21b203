"""Rules by which a free-form response gives a target as its answer, or does not."""

from __future__ import annotations

import re
from fractions import Fraction

from larpo_ir.tasks import gsm8k, math
from larpo_ir.tasks.mixeval.words import affirmed, occurrences, occurs, own_answer, plain, words

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
    """Whether a response gives the target as its answer, by the rules in the docstring of `larpo_ir.tasks.mixeval`.

    >>> answers_with("It took **41 years**, from 1965 to 2006.", "41"), answers_with("8.33 years", "8")
    (True, False)
    >>> answers_with("The answer is LexisNexis.", "Lexisnexis"), answers_with("Either is a goat.", "Nanny goat")
    (True, False)
    >>> answers_with("It is C++.", "C#"), answers_with("The U.S.", "US"), answers_with("Not Lima but Cusco.", "Lima")
    (False, True, False)
    """
    if not isinstance(response, str) or not response.strip() or not target.strip():
        return False
    response = own_answer(response)
    if "\\" in target:
        return math.is_correct(response, target)
    if _NUMERAL.fullmatch(target):
        return _gives_number(response, target, question)
    return _gives_words(response, target, question)


def _gives_number(response: str, target: str, question: str) -> bool:
    first = _first_sentence(response)
    parts = (_in_digits(response), _in_digits(first), _before_circumstances(first, question))
    return any(gsm8k.is_correct(_scaled(part, question), target) for part in parts)


def _gives_words(response: str, target: str, question: str) -> bool:
    wanted, said = words(target), words(response)
    if said == wanted or _same_letters(target, response):
        return True
    if len("".join(wanted)) < 2:  # a letter or a sign occurs everywhere: it must be all that is emphasised
        return any(words(part) == wanted for part in _emphasised(response))
    if _ACRONYM.fullmatch(target.strip()) and not _written_in_capitals(target, response):
        return False  # `us` is no country
    if occurs(wanted, words(question)):
        return any(
            affirmed(wanted, told) and not _one_of_several(wanted, told)
            for told in map(words, _answer_parts(response))
        )
    return affirmed(wanted, said)


def _in_digits(text: str) -> str:
    """Number words as digits where there are no digits: `six states`."""
    if any(character.isdigit() for character in text):
        return text
    return _NUMBER_WORD.sub(_digits, text)


def _digits(match: re.Match[str]) -> str:
    return str(_VALUES[match[0].lower()])


_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALED = re.compile(rf"([0-9][0-9,]*(?:\.[0-9]+)?)[ -]({'|'.join(_SCALES)})\b", re.IGNORECASE)
_CONCLUDES = re.compile(r"[=≈*\\]|\b(?:so|thus|therefore|hence|then|but|not)\b", re.IGNORECASE)
_CIRCUMSTANCE = re.compile(
    r"(?P<kept>(?!(?:In|On|At|By|From|Since|After|Between|Before|During|Of)\b)[^0-9\n]{0,120}[-$]{0,2}[0-9][0-9,]*(?:\.[0-9]+)?%?"
    r"(?: [^\W\d]+){0,3}?)(?:,|\s+(?:in|from|between|since|on|at|aged|and|when|by|after|before)\b|\s*\()"
)


def _scaled(text: str, question: str) -> str:
    """`5000000` for `5 million`, save where the question asks for millions."""

    def in_full(match: re.Match[str]) -> str:
        if match[2].lower() in question.lower():
            return match[0]
        return str(Fraction(match[1].replace(",", "")) * 10 ** _SCALES[match[2].lower()])

    return _SCALED.sub(in_full, text)


def _before_circumstances(sentence: str, question: str) -> str:
    """`It took 41 years` of `It took 41 years, from 1965 to 2006.`; nothing where the question has that number."""
    if _CONCLUDES.search(sentence):
        return ""
    found = _CIRCUMSTANCE.match(_NUMBER_WORD.sub(_digits, sentence))
    numbers = re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?", found["kept"]) if found else []
    return found["kept"] if found and numbers[0] not in question else ""


def _same_letters(target: str, response: str) -> bool:
    """Whether a word of some length is spelled together or apart: `Spiderman` and `Spider-Man`."""
    letters = [
        re.sub(r"[^\w#+%.]|\.(?![0-9])", "", plain(text.replace("'", "").replace("’", "")))
        for text in (target, response)
    ]
    return len(letters[0]) > 5 and letters[0].isalpha() and letters[0] == letters[1]


def _one_of_several(wanted: tuple[str, ...], told: tuple[str, ...]) -> bool:
    """Whether it is named beside another: `red or blue`."""
    return any(
        "or" in (*told[max(start - 1, 0) : start], *told[start + len(wanted) : start + len(wanted) + 1])
        for start in occurrences(wanted, told)
    )


def _written_in_capitals(target: str, response: str) -> bool:
    spelled = r"\.? ?".join(re.findall("[A-Z]", target))
    return re.search(rf"(?<![A-Za-z])(?:{spelled})(?![A-Za-z])", response) is not None


def _first_sentence(text: str) -> str:
    return _SENTENCE_END.split(text.strip(), maxsplit=1)[0]


def _emphasised(response: str) -> list[str]:
    return [next(group for group in match.groups() if group) for match in _EMPHASIS.finditer(response)]


def _answer_parts(response: str) -> list[str]:
    first = _first_sentence(response)
    copula = _COPULA.match(first)
    return _emphasised(response) or [first[copula.end() if copula else 0 :]]
