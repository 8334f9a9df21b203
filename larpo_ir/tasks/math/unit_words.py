r"""Words with a meaning behind a number in a text: million, feet, PM, north, percent."""

from __future__ import annotations

import re

from larpo_ir.tasks.math.units import SCALES, is_known

_WORDS = re.compile(
    r"(?P<lead>[ \t$~*]{0,5}(?:\\[,;:! )]){0,2}[ \t]?(?:\\(?:text|mathrm|textrm|mbox)\s?\{\s?)?)"
    r"(?P<words>[A-Za-z.]{1,20}(?:[ /][A-Za-z.]{1,20}){0,4})(?P<power>\}?(?:\^\{?[23]\}?|[²³])?)"
)
_HALVES_OF_DAY = {"a.m.": "am", "a.m": "am", "p.m.": "pm", "p.m": "pm"}


def beside(text: str, end: int, *, scales: bool = True) -> str:
    """Words behind the number that ends at `end`, as `\\text{…}`. `scales`: with words such as million."""
    match = _WORDS.match(text, end)
    if match is None:
        return ""
    parts = re.split(r"([ /])", match["words"])  # words, and the blank or slash between each two
    kept: list[str] = []
    for place in range(0, len(parts), 2):
        word = _plain(parts[place])
        before_more_words = parts[place + 1 : place + 2] == [" "]
        if not _has_meaning(word, scales) or (word == "in" and before_more_words):  # not inches: `5 in total`
            break
        kept += [*parts[max(place - 1, 0) : place], word]
        if parts[place].endswith(".") and word not in ("am", "pm"):  # the sentence ends
            break
    if not kept:
        return ""
    said = "".join(kept)
    whole = len(said) == len(match["words"].rstrip("."))
    return rf" \text{{{said}}}{_power(match['power']) if whole else ''}"


def _plain(word: str) -> str:
    """The word in lower case and without a full stop; `am` for `a.m.`"""
    word = word.casefold()
    return _HALVES_OF_DAY.get(word, word.rstrip("."))


def _has_meaning(word: str, scales: bool) -> bool:
    return is_known(word) and (scales or word not in SCALES)


def _power(written: str) -> str:
    """`^2` for `^{2}` and for `²`."""
    digit = re.search("[23²³]", written)
    return "^" + digit[0].translate(str.maketrans("²³", "23")) if digit else ""
