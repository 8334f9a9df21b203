"""Announced choices: `the answer is C`, `C is correct`, `I choose C`, `A… no, C`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from larpo_ir.tasks.mixeval.letters import (
    AND,
    ANY,
    CLOSE,
    NOUN,
    OPEN,
    is_one_of_several,
    letter_end,
    letter_of,
)
from larpo_ir.tasks.mixeval.option_texts import option_announced

# Repetitions are bounded, so that reading takes time linear in the text, whatever the text.

_SUBJECT = (
    r"(?:\b(?:answer|option|choice|response|ans|solution|guess|selection|pick)|\b(?:correct|right|best)\s+one"
    r"|\bcorrect(?=\s*:))\b\.?[*_\"'`]*"
)
_ASIDE = (
    r"(?:,?\s+(?:to|for|of|in|among|from|here|given|based|therefore|thus|then|so|that|which|I)\b"
    r"[^.:?\n]{0,60}?,?)?"
)
_IS = (
    r"(?:\s*[*_]*\s*(?:[:=]|[-=]?>|→|⇒|[–—-](?=\s))[*_]*"
    r"|\s+(?:(?:should|would|must|could|might|may|has\s+to|have\s+to|will)\s+)?(?:be|is|was|are)\b\s*:?"
    r"|\s*[*_]*\s*\n)"  # a heading, and the letter below it
)
_FILLER = (
    rf"(?:(?:the\s+)?(?:{NOUN}|most\s+likely|likely|probably|clearly|definitely|simply|indeed|therefore|thus|actually"
    r"|also|but|rather|instead|only|number|correct)\b[:*_]{0,3}\s{0,5}|[\s*_=:]{1,9}){0,9}"
)
_ANNOUNCING = [
    re.compile(rf"{_SUBJECT}{_ASIDE}{_IS}\s*{_FILLER}", re.IGNORECASE),
    re.compile(r"\\f?boxed\s*\{\s*|<answer>\s*|\[\[(?=[A-Z]\]\])", re.IGNORECASE),
    re.compile(  # A… no, B
        r"(?:(?<=[.,;!?…—–-])\s*no[,.;:!…—–-]+|\b(?:wait|actually|sorry|oops|correction|or\s+rather|I\s+mean|I\s+meant"
        rf"|make\s+that|scratch\s+that|on\s+second\s+thought|changed\s+my\s+mind)\b[,.;:!…—–-]*)\s+(?:(?:no|actually|it['’]s|it\s+is)\b,?\s+)?{_FILLER}",
        re.IGNORECASE,
    ),
]
_ANNOUNCING_LETTERS = re.compile(
    r"(?:\bI(?:['’]d|['’]ll|['’]m| would| will| am)?\s+|\A)(?:choose|chose|pick|picked|select"
    r"|go(?:ing)?\s+(?:with|for)|say|answer|think|believe)\s+(?:that\s+)?(?:(?:it\s+is|it['’]s|it\s+must\s+be)\s+)?"
    rf"{_FILLER}|\b(?:it|this|that)(?:\s+(?:is|must\s+be|should\s+be|has\s+to\s+be)|['’]s)\s+{_FILLER}"
    rf"|\b(?:hence|thus|therefore|so|leaves|leaving|remains)\b[,:]?\s+{_FILLER}"
    r"|\?\s+|(?<=[.,;!?…—–-])\s*no\s+",
    re.IGNORECASE,
)
_ENDS = re.compile(rf"{CLOSE}\s*(?:\Z|[.,;:!)\n—–-]|(?:because|since|as|and|but|for|which)\b)")
_ASKED = re.compile(rf"{CLOSE}(?:{AND}(?:(?i:{NOUN})\s+)?{OPEN}[A-Z]{CLOSE}){{0,25}}\s*\?")
_ADVERB = r"(?:\s+(?:most\s+likely|clearly|definitely|probably|indeed|therefore|obviously|then))?"
_BEING_RIGHT = re.compile(
    rf"(?:\b(?P<among>(?i:if|whether|unless|suppose|assuming|nor|or|and))\s+)?{ANY}[\s,]*"
    rf"(?i:(?:(?:is|seems|would\s+be|must\s+be|should\s+be|appears\s+to\s+be|looks){_ADVERB}"
    rf"\s+(?:(?:the|my)\s+)?(?:final\s+|most\s+likely\s+)?(?:right|correct|best|better|true|answer|{NOUN}|one"
    r"|(?:more|most)\s+(?:likely|accurate|appropriate|plausible))"
    r"\b|(?:makes\s+(?:the\s+most\s+)?sense|fits|remains|is\s+left)\b|it\s+is(?=\W*\Z)|\?\s*(?:yes|correct|right)\b))(?!\s*\?)"
)
_letter_next = re.compile(ANY)


def announced(said: str, letters: str, options: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Places where something is announced, each with its letter, or "" where several are."""
    for pattern in _ANNOUNCING:
        yield from _announced_by(pattern, said, letters, options)
    for place in _ends(_ANNOUNCING_LETTERS, said):
        match = _letter_at(place, said, letters)
        if match and _ENDS.match(said, letter_end(match)):
            yield from _unless_asked(place, match, said, letters)
    yield from _called_right(said, letters)


def _announced_by(
    pattern: re.Pattern[str], said: str, letters: str, options: Sequence[str]
) -> Iterator[tuple[int, str]]:
    """Letters and texts of options behind a pattern after which either is a choice."""
    for place in _ends(pattern, said):
        if match := _letter_at(place, said, letters):
            yield from _unless_asked(place, match, said, letters)
        elif (found := option_announced(said[place:], options)) is not None:
            yield place, found


def _letter_at(place: int, said: str, letters: str) -> re.Match[str] | None:
    match = _letter_next.match(said, place)
    return match if match and letter_of(match) in letters else None


def _unless_asked(place: int, match: re.Match[str], said: str, letters: str) -> Iterator[tuple[int, str]]:
    """The announced letter, "" where it is one of several; none where it is a question: `is it B?`."""
    if not _ASKED.match(said, letter_end(match)):
        yield place, "" if is_one_of_several(said, match, letters) else letter_of(match)


def _called_right(said: str, letters: str) -> Iterator[tuple[int, str]]:
    """Letters that are called right: `C is correct`; "" where the letter before it is, too: `A and C are right`."""
    for match in _BEING_RIGHT.finditer(said):
        among = (match["among"] or "").lower()
        if letter_of(match) in letters and among in ("", "and", "or"):
            yield letter_end(match), "" if among else letter_of(match)


def _ends(pattern: re.Pattern[str], text: str) -> Iterator[int]:
    """Ends of matches of the pattern, those within others included."""
    match = pattern.search(text)
    while match:
        yield match.end()
        match = pattern.search(text, match.start() + 1)
