r"""Equality of answers. Marks (AM, N) that gold lacks do not count, so `equal(gold, found)` is not symmetric."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

from larpo_ir.tasks.math.amounts import same_equations, same_single
from larpo_ir.tasks.math.answers import (
    Answer,
    Based,
    Equation,
    Named,
    Ordered,
    Quantity,
    Reading,
    Text,
    Unordered,
)
from larpo_ir.tasks.math.reading import read
from larpo_ir.tasks.math.regions import as_region, same_region
from larpo_ir.tasks.math.tokens import Token, Unreadable, tokens
from larpo_ir.tasks.math.written import choice, has_modulus, spelled_alike, without_choice, without_modulus

_CURVE = re.compile(r"\b[xyz]\b.* [-+] .*\b[xyz]\b")


def equal(gold: Answer, found: Answer) -> bool:
    """Whether two answers are equal; `gold` decides which marks (AM, N) are needed."""
    match gold, found:
        case Named(), Named():
            return _both_named(gold, found)
        case Named(), _:
            return _gold_named(gold, found)
        case _, Named():
            return _found_named(gold, found)
        case Unordered(), Unordered():
            return _cover_each_other(gold.items, found.items)
        case Ordered(), Ordered():
            return _in_order(gold, found)
        case Ordered(items), Unordered(joined=True):
            return _each(items, _by_name(found.items))
        case Unordered(joined=True), Ordered(items):
            return _each(_by_name(gold.items), items)
        case Unordered(items), (Quantity() | Text() | Ordered() | Based()) if _alike(items):
            return any(_try(item, found) for item in items)
        case ((Quantity() | Text() | Ordered() | Based()), Unordered(items)) if _alike(items):
            return any(_try(gold, item) for item in items)
    same = same_single(gold, found)
    return same if same is not None else same_region(as_region(gold), as_region(found))


# --- Values under a name ------------------------------------------------------------------------------------


def _both_named(gold: Named, found: Named) -> bool:
    """Whether a value of one is a value of the other, under names that do not differ, or both are one equation."""
    if not _other_letter(gold.name, found.name) and any(
        equal(a, b) for a in gold.values for b in found.values
    ):
        return True
    if gold.equation is None or found.equation is None:
        return False
    return same_equations(gold.equation, found.equation)


def _other_letter(one: str, other: str) -> bool:
    """Whether both names are letters, and not the same: x = 5 is not y = 5, but `\\text{Area} = 5`."""
    letters = [name.casefold() for name in (one, other) if len(name) == 1 and name.isalpha()]
    return len(letters) == 2 and letters[0] != letters[1]


def _gold_named(gold: Named, found: Answer) -> bool:
    if isinstance(found, Equation):
        return gold.equation is not None and same_equations(gold.equation, found)
    if gold.equation is not None and _CURVE.search(gold.name):
        return False  # x^2 + y^2 = 25 is a circle, and not 25
    return any(equal(value, found) for value in _values(gold, found))


def _found_named(gold: Answer, found: Named) -> bool:
    if isinstance(gold, Equation):
        return found.equation is not None and same_equations(found.equation, gold)
    return any(equal(gold, value) for value in _values(found, gold))


def _values(named: Named, other: Answer) -> tuple[Answer, ...]:
    """The values that may be `other`: beside a number only numbers, for 231 is not what `231_4 = 45` says."""
    if not isinstance(other, Quantity):
        return named.values
    return tuple(value for value in named.values if isinstance(value, Quantity)) or named.values


# --- Several items ------------------------------------------------------------------------------------------


def _cover_each_other(gold: Sequence[Answer], found: Sequence[Answer]) -> bool:
    """True if each item of one side equals an item of the other.

    A pair is compared once for both sides: twice would double the time with every level of sets in sets.
    """

    @functools.cache
    def same(a: int, b: int) -> bool:
        return _try(gold[a], found[b])

    golds, founds = range(len(gold)), range(len(found))
    return all(any(same(a, b) for b in founds) for a in golds) and all(
        any(same(a, b) for a in golds) for b in founds
    )


def _try(gold: Answer, found: Answer) -> bool:
    try:
        return equal(gold, found)
    except Unreadable:
        return False


def _alike(items: Sequence[Answer]) -> bool:
    """Whether a list says one thing in several ways: `$5, or 500 cents`."""
    return len(items) > 0 and all(_try(items[0], item) for item in items[1:])


def _each(gold: Sequence[Answer], found: Sequence[Answer]) -> bool:
    return len(gold) == len(found) and all(equal(a, b) for a, b in zip(gold, found, strict=True))


def _by_name(items: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """`y = 2, x = 1` in the order of the names, as the pair (1, 2) is; other lists as they stand."""
    named = [item for item in items if isinstance(item, Named) and item.name]
    names = {item.name for item in named}
    named.sort(key=lambda item: item.name)
    return tuple(named) if len(names) == len(items) else items


def _in_order(gold: Ordered, found: Ordered) -> bool:
    closed = [(side.left == "[", side.right == "]") for side in (gold, found)]
    # Brackets tell intervals apart; around three or more they are a matter of taste.
    interval = len(gold.items) == 2
    return (not interval or closed[0] == closed[1]) and _each(gold.items, found.items)


# --- Answers as texts ---------------------------------------------------------------------------------------


def equivalent(gold: str, answer: str, *, equations: bool = False) -> bool:
    r"""Whether two answers, as they are written, are equal. Unreadable ones equal only those that are spelled alike.

    >>> equivalent("12", r"12\text{ eggs}"), equivalent("5", r"5 \text{ million}"), equivalent("x+2y=3", "2x+4y=6")
    (True, False, True)
    """
    try:
        ours, theirs = tokens(gold), tokens(answer)
    except Unreadable:
        return "".join(gold.split()).casefold() == "".join(answer.split()).casefold()
    if spelled_alike(ours, theirs):
        return True
    choices = choice(ours), choice(theirs)
    if choices[0] is not None and choices[0] == choices[1]:
        return True
    if choices[0] is None and choices[1] is not None:
        theirs = without_choice(theirs)
    elif choices[0] is not None and choices[1] is None:
        ours = without_choice(ours)
    if has_modulus(ours) != has_modulus(theirs):  # 7 (mod 11) is 7, and 7 (mod 11) is not 7 (mod 13)
        ours, theirs = without_modulus(ours), without_modulus(theirs)
    return any(_equal_when_read(ours, theirs, how) for how in _readings((*ours, *theirs), equations))


def _readings(run: Sequence[Token], equations: bool) -> Iterator[Reading]:
    """All ways to read these tokens."""
    commas = any(token.kind == "num" and "," in token.text for token in run)
    for grouped in (True, False) if commas else (True,):
        for letters in (True, False):
            yield Reading(grouped, letters, equations)


def _equal_when_read(ours: Sequence[Token], theirs: Sequence[Token], how: Reading) -> bool:
    try:
        return equal(read(ours, how), read(theirs, how))
    except (ValueError, ArithmeticError, RecursionError):  # an answer without a value
        return False
