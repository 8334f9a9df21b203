r"""Contents of `\boxed{…}` and `\fbox{…}`, with the sign before a box and the unit behind it."""

from __future__ import annotations

import re
from typing import NamedTuple

from larpo_ir.tasks.math.unit_words import beside

MAX_LENGTH = 2_000  # characters of an answer; a longer one is not read
MAX_BOXES = 500  # from the end

BOX = re.compile(r"\\f?box(?:ed)?(?![A-Za-z])\s*")
_NEIGHBOUR = re.compile(
    r"(?:[\s$,;&~*]|\\[()\[\]]|\\[,;:! ]|\\q?quad)*+"
    r"(?:(?:and|or|\\text\{\s*,?\s*(?:and|or)\s*\})(?![A-Za-z]))?"
    r"(?:[\s$,;&~*]|\\[()\[\]]|\\[,;:! ]|\\q?quad)*+(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?"
)
_BASE_OR_SIGN = re.compile(r"\s?(?:_\s?(?:\{[^{}]{1,12}\}|[0-9]{1,2})|\\?%|\^\s?\{?\\circ\}?)")


class Box(NamedTuple):
    start: int
    end: int
    inside: str


def _box_at(text: str, mark: re.Match[str]) -> Box | None:
    start = mark.end()
    if not text.startswith("{", start):
        bare = re.match(r"[^\s${}\\]+", text[start : start + MAX_LENGTH])
        return Box(mark.start(), start + bare.end(), bare[0].rstrip(".,")) if bare else None
    depth = 0
    for brace in re.finditer(r"\\.|[{}]", text[start : start + MAX_LENGTH], re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0 and brace[0] == "}":
            inside = text[start + 1 : start + brace.start()].strip()
            return Box(mark.start(), start + brace.end(), inside) if inside else None
    return None


def boxes(text: str) -> list[Box]:
    """The last box that is closed and not empty, with those right before it."""
    found: list[Box] = []
    for mark in list(BOX.finditer(text))[: -MAX_BOXES - 1 : -1]:
        box = _box_at(text, mark)
        if box is None:
            if found:
                break
            continue
        if found:
            if box.end > found[0].start:  # one around the other
                continue
            between = text[box.end : found[0].start]
            if len(between) > 60 or not _NEIGHBOUR.fullmatch(between):
                break
        found.insert(0, box)
        if len(found) > 20:
            break
    return found


def boxed(text: str, *, words: bool = True) -> str | None:
    r"""The content of the last box; several boxes next to each other are a list. `words`: with the units behind it.

    >>> boxed(r"\boxed{1} and \boxed{2}"), boxed(r"first \boxed{1}, but then \boxed{2}"), boxed("2")
    ('1, 2', '2', None)
    """
    found = boxes(text)
    if not found:
        return None
    parts = [_sign(text, box.start) + box.inside + _behind(text, box.end, words) for box in found]
    return parts[0] if len(set(parts)) == 1 else ", ".join(parts)


def _sign(text: str, start: int) -> str:
    """A minus that stands right before a box: `x = -\\boxed{5}`."""
    second, first = text[max(start - 2, 0) : max(start - 1, 0)], text[max(start - 1, 0) : start]
    return "-" if first in ("-", "−") and second in ("", "$", "=", " ", "(", "{") else ""


def _behind(text: str, end: int, words: bool) -> str:
    """A base, a percent or degree sign, and a unit that stand behind a box and belong to it."""
    match = _BASE_OR_SIGN.match(text, end)
    sign = match[0].strip() if match else ""
    return sign + (beside(text, match.end() if match else end, scales=False) if words else "")
