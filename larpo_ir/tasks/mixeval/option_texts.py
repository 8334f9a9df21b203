"""Options that a response names by their text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from larpo_ir.tasks.mixeval.letters import LETTERS
from larpo_ir.tasks.mixeval.words import affirmed, denied, occurs, words

_GOING_ON = re.compile("because|as|since|for|due|which|based|given|is|was|according|where|who|that|with")


def _leading(said: tuple[str, ...], options: Sequence[str]) -> tuple[int, tuple[str, ...]] | None:
    """The longest option with which the words begin: its place and words."""
    found = [(place, words(option)) for place, option in enumerate(options)]
    found = [(place, own) for place, own in found if own and said[: len(own)] == own]
    return max(found, key=lambda one: len(one[1])) if found else None


def _goes_on_with_another(said: tuple[str, ...], size: int, options: Sequence[str]) -> bool:
    rest = said[size:]
    return _leading(rest[1:] if rest[:1] in {("or",), ("and",), ("nor",)} else rest, options) is not None


def option_announced(said: str, options: Sequence[str]) -> str | None:
    """The option whose text an announcement goes on with, "" for several; None where it is no option's."""
    told = words(said[: 200 + 2 * max(map(len, options))])
    found = _leading(told, options)
    if found is None:
        return None
    place, own = found
    clause = words(re.split(r"[.,;:!?\n\"”)}\]]", said.lstrip(" \"'“‘*_($["), maxsplit=1)[0] or " ")
    following = told[len(own) : len(own) + 1]
    if _goes_on_with_another(told, len(own), options) and clause != own:
        return ""
    whole = len(own) >= 3 or not following or clause == own or _GOING_ON.fullmatch(following[0]) is not None
    return LETTERS[place] if whole else None


def option_that_begins(text: str, options: Sequence[str]) -> str | None:
    said, sentence = words(text), words(re.split(r"[.!?\n]", text, maxsplit=1)[0])
    found = _leading(said, options)
    if (
        found is None
        or denied(said, 0, len(found[1]))
        or _goes_on_with_another(sentence, len(found[1]), options)
    ):
        return None
    return LETTERS[found[0]]


_NO = re.compile(r"\bno\b(?!\s+\w)", re.IGNORECASE)  # `no longer` is not the option `No`


def option_that_occurs(text: str, options: Sequence[str]) -> str | None:
    """The one option whose text occurs and is not denied, where it is not a part of a longer one that occurs."""
    said = words(text)
    there = [(place, words(option)) for place, option in enumerate(options)]
    there = [
        (place, own)
        for place, own in there
        if affirmed(own, said) and (own != ("no",) or _NO.search(text) is not None)
    ]
    longest = [
        place for place, own in there if not any(own != other and occurs(own, other) for _, other in there)
    ]
    return LETTERS[longest[0]] if len(longest) == 1 else None


_RESULT = re.compile(r"[=≈]([^=≈\n]{1,40})\Z")


def option_that_results(text: str, options: Sequence[str]) -> str | None:
    """The option that a calculation at the end comes to: `10 + 10 = 20`."""
    found = _RESULT.search(text)
    result = words(found[1]) if found else None
    there = [place for place, option in enumerate(options) if words(option) == result]
    return LETTERS[there[0]] if len(there) == 1 else None
