"""Letters of options: the forms in which a letter stands for an option, and those in which it is a word."""

from __future__ import annotations

import re

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# Repetitions are bounded, so that reading takes time linear in the text, whatever the text.

# `A cat` and `A Room of One's Own` are no choice; `A because` is.
_NO_ARTICLE = (
    r"(?!\s+[A-Z][a-z])(?!\s+(?!(?:because|as|since|for|due|given|which|and|but|based|according|with|or|nor|than|but|not"
    r"|is|was|would|must|seems|can|cannot|could|does|looks|appears|rather|instead|it|isn['’]t)\b)"
    r"[a-z])"
)
CAPITAL = rf"(?:[B-HJ-Z]|A{_NO_ARTICLE}|I(?=\W*(?:\Z|\n)|[)\]}}.:;,*]))"
NO_WORD = r"(?![A-Za-z0-9#+]|[.'’-][A-Za-z])"  # A's, C#, A+, B.C., B-cells
OPEN, CLOSE = r"[(\[{*_\"'`$“‘<]{0,4}", r"[)\]}*_\"'`$”’>]{0,4}"
UPPER = rf"{OPEN}(?<![A-Za-z0-9])({CAPITAL}){NO_WORD}{CLOSE}"
# In lower case only where it is no word: (b), b), and b at the end of a line or sentence.
_LOWER = (
    r"[*_\"'`$“{]{0,4}(?:\(([a-z])\)"
    r"|(?<![A-Za-z0-9])([a-z])(?:[):](?![A-Za-z])|(?=[\]}.*_\"'`$”’]{0,4}\s*(?:\n|\Z|<))))"
)
ANY = rf"(?:{UPPER}|{_LOWER})"
NOUN = r"(?:option|choice|answer|letter|statement)"
AND = r"\s*(?:,\s*(?:and|or|nor)\b|[,;/&+]|\b(?:and|or|nor)\b)\s*"
_MORE = re.compile(
    rf"{CLOSE}{AND}(?:(?i:{NOUN})\s+)?{OPEN}([A-Z])(?={CLOSE}\s*(?:\Z|[.,;:!?\n/&+]|(?:and|or)\b))"
)
_OR_MAYBE = re.compile(  # B, or it might be C
    rf"{CLOSE}\s*,?\s*\bor\s+(?:maybe|perhaps|possibly|(?:it\s+)?(?:might|could|may)\s+(?:also\s+|well\s+)?be)"
    rf"\s+(?:{NOUN}\s+)?{OPEN}([A-Z])\b"
)


def letter_of(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group and len(group) == 1), "").upper()


def letter_end(match: re.Match[str]) -> int:
    return next(match.end(i) for i, group in enumerate(match.groups(), start=1) if group and len(group) == 1)


def is_one_of_several(said: str, match: re.Match[str], letters: str) -> bool:
    """Whether the letter is one of several: `A or B`, `(A), (C)`."""
    end = letter_end(match)
    more = _MORE.match(said, end) or _OR_MAYBE.match(said, end)
    return more is not None and more[1] in letters and more[1] != letter_of(match)


def only_letter(pattern: re.Pattern[str], said: str, letters: str) -> str | None:
    """The one letter that the pattern finds; None where it finds several."""
    found = {letter for match in pattern.finditer(said) if (letter := letter_of(match)) in letters}
    return found.pop() if len(found) == 1 else None
