"""Numbers beside the answer, which a last sentence brings in around the number that it has said.

`So 4.75 m remain (out of 10 m).`, `It takes 48 minutes to travel 8 km.`, `He spends $50 because 50 < 52.`: the last
number of such a sentence is no answer. A number is passed by only where another remains in its sentence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

_PARENTHESES = re.compile(r"\(([^()\n]{1,160})\)")
_ASIDE = re.compile(
    r"(?:out of|it|he|she|they|we|there|each|every|all|assuming|if|since|because|with|at|per|for|of|from|after|before"
    r"|including|excluding|not"
    r"|instead|rather|given|where|as|compared|than|in|on)\b",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"[0-9][0-9.,/]*+")

_REASON = re.compile(  # up to the end of the sentence, save behind `and`, where a new statement begins
    r"(?<!\band )(?<!\bso )(?<!\bbut )(?<!\bonly )(?<!\band, )(?<!\beven )"
    r"\b(?:because|since|given that|assuming|considering"
    r"|if|after [a-z]+ing|as (?:he|she|it|they|we|you|there|this|that|each)|which is the)\b",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"\b(?:and (?:he|she|it|they)|so|then|thus|therefore|hence|means|makes)\b", re.IGNORECASE
)
# It takes 45 minutes to walk | 3 miles
_PURPOSE = re.compile(
    r"\b(?:takes?|took|needs?|requires?)\b[^.!?\n]{1,80}?[0-9][^.!?\n]{1,40}? to [a-z]{2,12}\b", re.IGNORECASE
)

_TIME = r"(?:more )?(?:second|minute|min|hour|day|night|week|weekend|month|year|season|lap|trip|session)s?\b"
_DEFINITE = r"(?:the|those|these|all|all the|all of the|each of the|both)"
_BEFORE = re.compile(
    rf"\b(?:(?P<bare>(?<!lt )(?<!lts )(?<!lting )in|after|within|during|over)|out of|than|from|of {_DEFINITE}"
    rf"|(?<!enough )for(?: {_DEFINITE})?|(?P<rate>at)|(?:in|among|between|over) {_DEFINITE})[ (*]{{1,4}}\Z",
    re.IGNORECASE,
)
_IS_TIME = re.compile(rf"[ -]{{0,2}}{_TIME}", re.IGNORECASE)
_IS_MONEY = re.compile(r"[^\n]{0,3}\b(?:dollar|cent|euro|pound|rupee|peso)s?\b")
_IS_KNOWN = re.compile(rf"\b{_DEFINITE} [$(*]*\Z", re.IGNORECASE)
_IS_RATE = re.compile(r"[^\n]{0,20}?\b(?:each|apiece|per|a piece)\b")
_FEW_WORDS = re.compile(r"[^\w.!?\n]*+(?:[^\W\d]++[^\w.!?\n]*+){0,4}+(?:[.!?]|\Z|\n)")
_BREAK = re.compile(r"[,;:]\s|\b(?:and|so|but|is|are|has|have)\b")

_EQUALS = re.compile(r"[=≈][\s$(*_\\]{0,6}\Z")
_AGAIN = re.compile(
    r"\b(?:which (?:is|equals|gives|rounds (?:up |down |off )?to)|i\.e\.,?|rounded (?:up |down |off )?to)"
    r"(?: (?:about|exactly|only|just))? [$(*]{0,3}\Z"
)

Numbers: TypeAlias = Sequence[re.Match[str]]


def _without_aside(match: re.Match[str]) -> str:
    said = match[1]
    several = len(_DIGITS.findall(said)) > 1 and re.search("[^\\W\\d]{2}", said) and not set("=≈") & set(said)
    return " " if _ASIDE.match(said) or several else match[0]


def without_asides(text: str, start: int) -> str:
    """The text without asides in parentheses beside a number, behind the place.

    `(out of 10 m)`, `(assuming 5 days)`, `(6 groups of 5)` go; `(20 students)` and `(4 * 5 = 20)` stay.
    """
    return text[:start] + _PARENTHESES.sub(_without_aside, text[start:])


def is_result(text: str, found: re.Match[str]) -> bool:
    """Whether a number is the result of an equation, also of one whose left side cannot be read."""
    if set("=≈") & set(found[0]):
        return True
    return _EQUALS.search(text, max(found.start() - 8, 0), found.start()) is not None


def says_it_again(text: str, found: re.Match[str]) -> bool:
    """Whether a number gives the one before it in other terms: `0.5 hours, which is 30`."""
    return _AGAIN.search(text, max(found.start() - 40, 0), found.start()) is not None


def answering(text: str, sentence: Numbers) -> re.Match[str]:
    """Of the numbers of a sentence, the last that is neither in a reason, nor a purpose, nor a circumstance."""
    kept = _before_reasons(text, sentence)
    last, end = len(kept) - 1, len(text)
    while (
        last and not is_result(text, kept[last]) and _is_circumstance(text, kept[last - 1], kept[last], end)
    ):
        last, end = last - 1, kept[last].start()
    money = ["$" in found[0] for found in sentence]
    return sentence[-1] if any(money) and not any(money[: last + 1]) else kept[last]


def _before_reasons(text: str, sentence: Numbers) -> Numbers:
    first, end = sentence[0], sentence[-1].end()
    reason = _REASON.search(text, first.end(), end)
    purpose = _PURPOSE.search(text, max(first.start() - 60, 0), end)
    cuts = [place for place in (reason and reason.start(), purpose and purpose.end()) if place]
    if cuts and _CONCLUSION.search(text, max(cuts), end):
        return sentence
    kept = [found for found in sentence if found.start() < min(cuts, default=end)]
    return sentence if any(is_result(text, found) for found in sentence[len(kept) :]) else kept or sentence


def _is_circumstance(text: str, other: re.Match[str], found: re.Match[str], end: int) -> bool:
    before = _BEFORE.search(text, max(found.start() - 24, 0), found.start())
    if before is None or not _FEW_WORDS.match(text, found.end(), end):
        return False
    if before["rate"]:
        return _IS_RATE.match(text, found.start(), found.end() + 20) is not None
    if "$" in found[0]:
        return False
    if before["bare"] and not _IS_TIME.search(found[0] + text[found.end() : found.end() + 12]):
        return False
    if _IS_MONEY.search(found[0] + text[found.end() : found.end() + 10]):
        return False
    known = _IS_KNOWN.search(text, max(other.start() - 16, 0), other.start())
    return known is None and _BREAK.search(text, other.end(), before.start()) is None
