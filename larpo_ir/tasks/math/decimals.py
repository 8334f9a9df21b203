r"""Repeating decimals as fractions: `0.1\overline{6}`, `0.(3)`, `0.1666...` and `0.3 repeating`."""

from __future__ import annotations

import re
from fractions import Fraction

MAX_DIGITS = 60  # of a repeating decimal; a longer one stays as it is

_RECURRING = re.compile(
    r"([0-9]*)\.([0-9]{1,20})\s?(?:\\text\{\s?)?[(]?(?:repeating|recurring)(?:\sdecimals?)?[)]?\}?"
)
_REPEATING = re.compile(
    r"([0-9]*)\.([0-9]*)\\(?:overline|bar|dot|overbar)\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))(?![0-9])"
    r"|([0-9]*)\.([0-9]*)\(([0-9]+)\)(?=\.\.\.|\\ldots|$|[^0-9(])"
)
_TRAILING_DOTS = re.compile(r"([0-9]*)\.([0-9]+)\s?(?:\.\.\.|\\[cl]?dots[bc]?(?![A-Za-z]))")
_BARS = re.compile(r"\\(?:bar|dot)\{?([0-9]+)\}?\\(?:bar|dot)\{?([0-9])\}?")


def overlined(text: str) -> str:
    r"""Spell `0.36 repeating` with a line over its period."""
    return _RECURRING.sub(_recurring, text)


def under_one_bar(text: str) -> str:
    r"""Spell `0.\bar{3}\bar{6}` with one bar for all digits."""
    while (merged := _BARS.sub(r"\\bar{\1\2}", text)) != text:
        text = merged
    return text


def as_fractions(text: str) -> str:
    r"""Spell repeating decimals as fractions.

    >>> as_fractions(r"0.1\overline{6}"), as_fractions("0.1666..."), as_fractions("3.14159...")
    ('\\frac{1}{6}', '\\frac{1}{6}', '3.14159')
    """
    return _REPEATING.sub(_fraction, _TRAILING_DOTS.sub(_dotted, text))


def _fraction(match: re.Match[str]) -> str:
    whole, fixed, period = (
        (match[1], match[2], match[3] or match[4]) if match[5] is None else match.group(5, 6, 7)
    )
    if len(whole + fixed + period) > MAX_DIGITS:
        return match[0]
    scale = 10 ** len(fixed)
    value = Fraction(int(whole or 0) * scale + int(fixed or 0)) / scale
    value += Fraction(int(period), (10 ** len(period) - 1) * scale)
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _recurring(match: re.Match[str]) -> str:
    """Read `0.3 repeating` as a third, and `0.36 repeating` as 4/11."""
    dotted = _TRAILING_DOTS.sub(_dotted, f"{match[1]}.{match[2]}...")
    return dotted if "overline" in dotted else rf"{match[1]}.\overline{{{match[2]}}}"


def _dotted(match: re.Match[str]) -> str:
    """Read `0.1666...` as one sixth: digits repeated at the end go on for ever. `3.14159...` loses its dots."""
    digits = match[2]
    for size in range(1, min(len(digits), 20) // 2 + 1):
        tail = digits[-size:]
        if digits.endswith(tail * 2) and (size > 1 or len(digits) >= 2):
            head = digits
            while head.endswith(tail):
                head = head[:-size]
            return rf"{match[1]}.{head}\overline{{{tail}}}"
    return match[0] if len(digits) < 3 else f"{match[1]}.{digits}"
