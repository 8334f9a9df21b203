r"""`\boxed{…}` and `\fbox{…}`, and the words with a meaning that stand beside a number."""

from __future__ import annotations

import re
from typing import NamedTuple

from larpo_ir.tasks.math.units import SCALES, is_known

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
    r"""What is in the last box; several boxes next to each other are a list. `words`: with the units behind it.

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
    before = text[:start]
    return (
        "-" if before[-1:] in "-−" and before[-1:] and before[-2:-1] in ("", "$", "=", " ", "(", "{") else ""
    )


def _behind(text: str, end: int, words: bool) -> str:
    """What belongs to a box and stands behind it: a base, a percent or degree sign, a unit."""
    match = _BASE_OR_SIGN.match(text, end)
    sign = match[0].strip() if match else ""
    return sign + (beside(text, match.end() if match else end, scales=False) if words else "")


# --- Words beside a number ----------------------------------------------------------------------------------


_WORDS = re.compile(
    r"(?P<lead>[ \t$~*]{0,5}(?:\\[,;:! )]){0,2}[ \t]?(?:\\(?:text|mathrm|textrm|mbox)\s?\{\s?)?)"
    r"(?P<words>[A-Za-z.]{1,20}(?:[ /][A-Za-z.]{1,20}){0,4})(?P<power>\}?(?:\^\{?[23]\}?|[²³])?)"
)


def beside(text: str, end: int, *, scales: bool = True) -> str:
    """Words after a number that have a meaning here: million, feet, PM, north, percent."""
    match = _WORDS.match(text, end)
    if match is None:
        return ""
    kept: list[str] = []
    words = re.split(r"([ /])", match["words"])
    for index, word in enumerate(words[::2]):
        plain = (
            word.casefold().replace(".", "")
            if word.casefold() in ("a.m.", "p.m.", "a.m", "p.m")
            else word.rstrip(".").casefold()
        )
        if (
            not is_known(plain)
            or (plain in SCALES and not scales)
            or (plain == "in" and words[2 * index + 1 : 2 * index + 2] == [" "])
        ):
            break
        kept += [words[2 * index - 1] if index else "", plain]
        if word.endswith(".") and plain not in ("am", "pm"):
            break
    if not kept:
        return ""
    whole = len("".join(kept)) == len(match["words"].rstrip("."))
    power = re.search("[23²³]", match["power"]) if whole else None
    raised = "^" + power[0].translate(str.maketrans("²³", "23")) if power else ""
    return rf" \text{{{''.join(kept)}}}{raised}"
