r"""Numerals: the pattern of one number and of an equation of numbers, and exact values.

The patterns expect the one spelling that `larpo_ir.tasks.gsm8k.spelling.plain` makes. Every repetition is possessive
or bounded, so that reading takes time linear in the text, whatever the text.
"""

from __future__ import annotations

import re
from fractions import Fraction

MAX_DIGITS = 100  # a longer numeral, or a larger power of ten, is noise; it would only cost time and memory

_DIGITS = r"(?:[0-9]{1,3}+(?:,[0-9]{2}(?=,))*+(?:,[0-9]{3})++(?![0-9])|[0-9]++)"  # 1800 | 1,800 | 1,00,000
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]++)?+|(?<![A-Za-z0-9.])\.[0-9]++)"
_POWER = r"(?:[eE][-+]?[0-9]++(?![0-9A-Za-z])| ?\* ?10\^\{?[-+]?[0-9]++\}?)?+"  # 1e3 | 1 * 10^3
_SIGN = r"(?:(?<![A-Za-z0-9)\]}%])-{1,2}+)?+(?:\$ ?+){0,3}+"  # two minus signs are none
# Not inside a word, an exponent, a longer token, the fraction of something that is no number, or a function of it.
_START = (
    r"(?<![A-Za-z0-9^])(?<![A-Za-z0-9)}\]]_)(?<![_^]\{)(?<![0-9][.,:])(?<![A-Za-z)}]/)"
    r"(?<![√±])(?<![√±][{(\[ ])(?<![√±]-)"
)
# Nor the beginning of a longer token: a time, a list, groups that are none (9'50), a product with a root.
_END = r"(?::00(?!:?[0-9])|(?!:[0-9]))(?![.,'’_][0-9])(?! ?[√π])"
_FRACTION = rf"(?: ?/ ?{_DECIMAL}(?! ?/ ?[0-9]))?+"
NUMBER = rf"{_SIGN}{_START}(?:[0-9]++ {{1,3}}[0-9]++/[0-9]++|{_DECIMAL}{_POWER}{_FRACTION}){_END}"
NUMBER_AHEAD = r"(?=-{0,2}(?:\$ ?){0,3}\.?[0-9])"

# One number, or an equation or expression of numbers: `18`, `5 bags * 12 apples = 60 apples`.
_VERB = r"(?:is|are|was|were|be|equals|gives|makes|leaves)\b"  # no unit: `3 minus 10 is -7`
_UNIT = (
    rf"[ \t)\]%°$]*+(?:(?!{_VERB})[A-Za-z]{{1,20}}+(?:\^\{{?[0-9]\}}?)?+(?:/[A-Za-z]{{1,20}}+)?+[ \t)\]]*+)?+"
)
_TERM = rf"{NUMBER}(?:\^\{{?-?[0-9]++\}}?)?+{_UNIT}"
OPERATOR = r"(?:[-+/]|\*(?!\*)|\*\*(?=[0-9])|(?<= )\*\* )"  # the asterisks of `**18** (9)` are no power
_CHAIN = rf"{_TERM}(?:(?:{OPERATOR}|[=≈]++[*_]*+)[ \t+($\[*_]*+{_TERM})*+"

number = re.compile(NUMBER)
chain = re.compile(_CHAIN)
_parts = re.compile(
    r"(?P<sign>[-$ ]*)(?:(?P<whole>[0-9]+) +)?(?P<top>[0-9]*\.?[0-9]+)"
    r"(?:[eE](?P<e>[-+]?[0-9]+)| ?\* ?10\^\{?(?P<power>[-+]?[0-9]+)\}?)?"
    r"(?: ?/ ?(?P<bottom>[0-9]*\.?[0-9]+))?(?::00)?"
)


def value(numeral: str) -> Fraction | None:
    """The value of a matched numeral; None for a zero denominator and for absurdly large numerals."""
    parts = _parts.fullmatch(numeral.replace(",", ""))
    if parts is None or len(numeral) > 3 * MAX_DIGITS:
        return None
    power = parts["e"] or parts["power"] or "0"
    bottom = Fraction(parts["bottom"] or 1)
    if len(power) > 4 or abs(int(power)) > MAX_DIGITS or bottom == 0 or len(parts["top"]) > MAX_DIGITS:
        return None
    size = Fraction(parts["whole"] or 0) + Fraction(parts["top"]) * Fraction(10) ** int(power) / bottom
    return -size if parts["sign"].count("-") % 2 else size


def resolve(found: re.Match[str] | None) -> Fraction | None:
    """The last plain number of an equation (or the number alone); None for an expression left to compute."""
    if found is None:
        return None
    for side in reversed(re.split("[=≈]+", found[0])):
        numerals = number.findall(side)
        if len(numerals) == 1 and "0^" not in side.replace(numerals[0], "0"):
            return value(numerals[0])
    return None


def decimal_places(exact: Fraction) -> int | None:
    """The number of decimals that write the value exactly; None when they repeat for ever, as for 1/3."""
    rest, twos, fives = exact.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None


def canonical(exact: Fraction) -> str:
    """One spelling for equal values: an integer, a decimal, or a fraction in lowest terms."""
    places = decimal_places(exact)
    if not places:
        return str(exact)
    digits = str(abs(exact.numerator) * 10**places // exact.denominator).rjust(places + 1, "0")
    return f"{'-' if exact < 0 else ''}{digits[:-places]}.{digits[-places:]}"
