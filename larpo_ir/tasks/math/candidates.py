"""Values in a sentence: formulas and numbers with their units, those that belong together as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from larpo_ir.tasks.math.answers import Quantity, Reading
from larpo_ir.tasks.math.dollars import Span
from larpo_ir.tasks.math.phrases import group
from larpo_ir.tasks.math.reading import read
from larpo_ir.tasks.math.tokens import tokens
from larpo_ir.tasks.math.unit_words import beside

_NUMERAL = r"(?:[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])|[0-9]++)(?:\.[0-9]++)?|\.[0-9]++"
_SPACED_NUMERAL = (
    r"[0-9]{1,3}(?:(?:\{,\}|,\\!|\\,|[\u2009\u202f\u00a0'])[0-9]{3}|(?: 0[0-9]{2})"
    r"|(?: [0-9]{3})(?=[.,;)!]|\Z))++(?![0-9])"
)
_END_OF_PAIR = r"\s?(?:[-−+]?\s?(?:[0-9./]{1,20}|\\infty|∞|[a-z]))\s?"
# An expression with a letter: `2x`, `x^2 + 3`, `3(x-1)(x+2)`; no unit (`10m`, `5 m/s`) and no word.
_POWER = r"(?:\^\{?-?[0-9a-z]{1,5}\}?|[²³])"
_BRACKETS = rf"(?:[0-9]{{0,6}}\([^()\n$]{{0,20}}[a-z][^()\n$]{{0,20}}\){_POWER}?)"
_LETTER = rf"(?:[a-hj-np-zπ]{_POWER}?|√[0-9]{{1,6}}|xyz?|yz|xz|abc?|bc|ac|mn|pq)"
_LETTERED = rf"(?:[0-9]{{0,6}}{_LETTER}{_BRACKETS}{{0,3}}(?![A-Za-z0-9])|{_BRACKETS}{{1,4}})"
_COUNT = r"[0-9]{1,9}(?:\.[0-9]{1,9})?(?![A-Za-z0-9^(]|,[0-9])"
_SIGN = r"(?:\s[-−+*/]\s|[-−+*/])"
_EXPRESSION = (
    r"(?<![A-Za-z0-9\\_.$^{/)])(?<![0-9]\s)(?![nN]/[aA]\b)[-−]?"
    rf"(?:(?:{_COUNT}{_SIGN}){{0,6}}{_LETTERED}(?:{_SIGN}(?:{_LETTERED}|{_COUNT})){{1,12}}"
    rf"|(?:{_COUNT}{_SIGN}){{1,6}}{_LETTERED}|[0-9]{{1,6}}[abknp-rt-z]{_POWER}?(?![A-Za-z0-9(])"
    rf"|[a-z]{_POWER}(?![A-Za-z0-9(])|[0-9]{{1,6}}{_BRACKETS}{{1,4}}|{_BRACKETS}{{2,4}})"
)
_VALUE = re.compile(
    # y = 2x + 3, x > 2
    r"(?<![A-Za-z\\])[A-Za-zα-ωΔ][₀-₉]{0,3}(?:_\{?\w\}?)?(?:\([^()\n=]{1,30}\))?\s?(?:[=<>]=?|[≤≥≠≈])\s?[^\s,;$=*]{1,40}(?:\s?[-+*/^=]\s?[^\s,;$=*]{1,40}){0,10}"
    # x^2 + 2x + 1, 3(x-1)(x+2): an expression with a letter, whole
    rf"|{_EXPRESSION}"
    # N 30° E
    r"|(?<![A-Za-z])[NS]\s?[0-9]{1,3}(?:\.[0-9]+)?\s?(?:°|\^\{?\\circ\}?)\s?[EW](?![A-Za-z])"
    # (3 + √5)/2
    r"|\([0-9a-z√π][0-9a-z√π+*/^. −-]{1,40}\)\s?/\s?[0-9]{1,9}(?![0-9A-Za-z])"
    # 6.02 × 10^23, $1.35M
    r"|(?<![A-Za-z0-9_.])[-−]?[0-9]{1,9}(?:\.[0-9]{1,30})?\s?(?:[×·*]|\\times)\s?10(?:\^\{?[-−+]?[0-9]{1,6}\}?|[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]{1,6})"
    r"|\\?\$[0-9][0-9,.]{0,15}\s?[MBKk](?![A-Za-z])"
    # \frac{1}{2} without its dollars
    r"|[^\s$*\\]{0,20}\\[A-Za-z]{2,20}(?:\{[^{}\n]{0,200}\}|[^\s$*]){0,40}"
    # (3, 4), [0, 1), {1, 2}
    rf"|[(\[{{]{_END_OF_PAIR}(?:,{_END_OF_PAIR}){{1,10}}[)\]}}]"
    r"|(?<![A-Za-z0-9_.])(?:[Nn]egative\s|(?:(?<=is )|(?<=are )|(?<=equals )|(?<=be ))minus\s)?"
    rf"(?:[-−–]\s?)?(?:\\?[$€£₹¥]\s?)?[-−]?(?:{_SPACED_NUMERAL}|{_NUMERAL})"
    rf"(?:\s[0-9]{{1,4}}/[0-9]{{1,4}}|\s?/\s?(?:{_NUMERAL})(?!\s?/))?"
    r"(?:\.{3}|:[0-9]{2}(?![0-9])|[eE][-+]?[0-9]{1,4}(?![0-9A-Za-z])|!(?=\s?[.=*/+^),a-z-])|π|\s?\\?%|°|\^\{?\\circ\}?|\^\{?-?[0-9]{1,6}\}?|√[0-9]+)?\$?"
)
_CHANCE = re.compile(r"\b(?:probability|chances?|likelihood|odds)\b", re.IGNORECASE)  # is 1 in 6
_RATE = re.compile(r"\s(?:per|each|apiece|an?)\b")
_RELATION = re.compile(r"[=<>≤≥≠≈]")
_OUT_OF = re.compile(r"(?: out of| in)(?: every)? ")
_UNIT_BETWEEN = re.compile(r" ?[A-Za-z]+ (?:and )?")
_LIST_MARK = re.compile(r",? ?(?:and|or) |, ")


class Value(NamedTuple):
    """An answer as it is written, at `text[start:end]`."""

    start: int
    end: int
    answer: str


def values(text: str, spans: Sequence[Span]) -> list[Value]:
    """Find formulas and numbers in order, those of a list (`1, 2 and 3`) as one."""
    found: list[Value] = []
    place = 0
    for index, span in enumerate(spans):
        if span.start < place:  # the group before holds it
            continue
        found += _numbers(text, place, span.start)
        answer, place = group(text, spans, index)
        found.append(Value(span.start, place, answer))
    return found + _numbers(text, place, len(text))


def _numbers(text: str, start: int, end: int) -> list[Value]:
    """Find the values outside of formulas."""
    found: list[Value] = []
    for match in _VALUE.finditer(text, start, end):
        answer = _written(text, match)
        if not answer:
            continue
        whole = answer + beside(text, match.end())
        together = _together(text, found[-1], Value(*match.span(), answer), whole) if found else None
        if together is not None:
            found[-1] = Value(found[-1].start, match.end(), together)
        else:
            found.append(Value(*match.span(), whole))
    return found


def _written(text: str, match: re.Match[str]) -> str:
    """Drop from a value the dash that is no sign, what follows it, and the commas between its digits."""
    answer = match[0].strip()
    if answer[0] in "-−–" and not _is_sign(text[: match.start()], answer):
        answer = answer[1:].strip()
    answer = answer.rstrip(".,;:")
    while answer.endswith(")") and answer.count(")") > answer.count("("):
        answer = answer[:-1]
    return re.sub(r"(?<=[0-9]),(?=[0-9]{3})", "", answer)


def _is_sign(before: str, answer: str) -> bool:
    """Tell whether a dash is a number's sign: no dash behind another number or between words (`so - 5`) is."""
    last = before.rstrip()[-1:]
    if last.isdigit() or last in (")", "]", "}", "%", "$"):
        return False
    if answer[1:2].isspace():
        return (
            last in ("=", ":", "(", "≈")
            or re.search(r"\b(?:is|are|equals|be|or|and)\s*$", before[-12:]) is not None
        )
    return not before or not before[-1].isalnum()


# --- Two values that are one --------------------------------------------------------------------------------


class _Pair(NamedTuple):
    """Two values of a text, next to each other. `whole`: the second one with its unit."""

    text: str
    first: Value
    second: Value
    whole: str
    between: str


def _together(text: str, first: Value, second: Value, whole: str) -> str | None:
    """Return the one answer that two values write; None where they are two."""
    pair = _Pair(text, first, second, whole, text[first.end : second.start])
    return next((answer for join in _JOINS if (answer := join(pair)) is not None), None)


def _ratio(pair: _Pair) -> str | None:
    """Read `The ratio is 3 to 4.`"""
    if pair.between == " to " and re.search(r"\bratio\b", pair.text[: pair.second.start], re.IGNORECASE):
        return f"{pair.first.answer}:{pair.second.answer}"
    return None


def _chance(pair: _Pair) -> str | None:
    """Read `The probability is 1 in 6.`"""
    if _OUT_OF.fullmatch(pair.between) and _CHANCE.search(pair.text, 0, pair.second.start):
        return f"{pair.first.answer.partition(' ')[0]}/{pair.second.answer}"
    return None


def _compound(pair: _Pair) -> str | None:
    """Read `5 feet 6 inches`."""
    if not _UNIT_BETWEEN.fullmatch(pair.between):
        return None
    both = f"{pair.first.answer} and {pair.whole}"
    return both if _is_quantity(both) else None


def _is_quantity(answer: str) -> bool:
    if len(answer) > 100 or answer.count("\\text") < 2:
        return False
    try:
        return isinstance(read(tokens(answer), Reading()), Quantity)
    except (ValueError, ArithmeticError, RecursionError):
        return False


def _listed(pair: _Pair) -> str | None:
    """Read `1, 2 and 3`; neither a rate (`and 5 per day`) nor a relation behind a number is an item of a list."""
    if (
        len(pair.between) > 8
        or not _LIST_MARK.fullmatch(pair.between)
        or _RATE.match(pair.text, pair.second.end)
    ):
        return None
    # `x^2 = 16 and x = 4` is no list; of a long one the beginning tells.
    if _RELATION.search(pair.second.answer) and not _RELATION.search(pair.first.answer[:60]):
        return None
    return f"{pair.first.answer}, {pair.whole}"


_JOINS: tuple[Callable[[_Pair], str | None], ...] = (_ratio, _chance, _compound, _listed)
