r"""Quantities: numbers and other expressions, with the words and signs beside them (`5 feet`, `\$36`, `2 \pm 1`)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from larpo_ir.tasks.math import units
from larpo_ir.tasks.math.answers import Answer, Quantity, Reading, Unordered
from larpo_ir.tasks.math.expressions import Node, Num, Product, Sum, choose_sign, has, negative
from larpo_ir.tasks.math.parser import parse
from larpo_ir.tasks.math.suffixes import end_of_number
from larpo_ir.tasks.math.tokens import Token, Unreadable

_SIGN_WORDS = ("negative", "minus")


def quantity(run: list[Token], how: Reading) -> Answer:
    """A number or another expression, with the words and signs beside it; two of them where it has a sign ±.

    Raises:
        Unreadable: no expression, or a unit alone.
    """
    run, minus = _without_sign_word(_ratio(run))
    run = _money_last(run)
    end, degrees = end_of_number(run, how)
    core, beside = run[:end], units.read(run[end:], degrees=degrees)
    if not core:
        raise Unreadable("a unit alone")
    node = _parsed(core, beside)
    if minus:
        node = negative(node)
    if has(node, "pm", "mp"):
        return Unordered(tuple(Quantity(choose_sign(node, upper), beside) for upper in (True, False)))
    return Quantity(node, beside)


def _ratio(run: list[Token]) -> list[Token]:
    """`3 to 2` as 3:2."""
    if [token.kind for token in run] == ["num", "word", "num"] and run[1].text == "to":
        return [run[0], Token("op", ":"), run[2]]
    return run


def _without_sign_word(run: list[Token]) -> tuple[list[Token], bool]:
    """`negative 5` and `minus 5` as 5, and whether there was such a word."""
    minus = len(run) > 1 and run[0].kind == "word" and run[0].text in _SIGN_WORDS
    return run[minus:], minus


def _money_last(run: list[Token]) -> list[Token]:
    """With the first `$` behind everything, and without the others: `$324 - $288` is `324 - 288 $`."""
    currency = next((index for index, token in enumerate(run[:3]) if token[:2] == ("mark", "$")), None)
    if currency is not None and all(token.kind in ("op", "mark") for token in run[:currency]):
        run = [*run[:currency], *run[currency + 1 :], Token("mark", "$")]
    return [token for index, token in enumerate(run) if not _is_money(run, index)]


def _is_money(run: Sequence[Token], index: int) -> bool:
    """A `$` before a number."""
    return run[index][:2] == ("mark", "$") and index + 1 < len(run) and run[index + 1].kind == "num"


def _parsed(core: list[Token], beside: units.Beside) -> Node:
    try:
        return parse(core)
    except Unreadable:
        amounts = _compound(core, beside)
        if not amounts:
            raise
        smallest = amounts[-1][1]
        return Sum(tuple(Product((amount, Num(size / smallest))) for amount, size in amounts))


def _compound(core: list[Token], last: units.Beside) -> list[tuple[Node, Fraction]]:
    """`5 feet 6 inches`: expressions, each with the size of its unit; none where the units are not of one kind.

    The unit of the last expression is not in `core`: it stands beside the whole number.
    """
    amounts: list[tuple[Node, Fraction]] = []
    place = 0
    for index in range(1, len(core)):
        if core[index].kind == "num" and core[index - 1].kind in ("word", "mark"):
            start = next(i for i in range(place, index) if core[i].kind in ("word", "mark"))
            piece = units.read(core[start:index])
            if piece.unit() != last.unit() or not piece.unit():
                return []
            amounts.append((parse(core[place:start]), piece.size))
            place = index
    if not amounts:
        return []
    amounts.append((parse(core[place:]), last.size))
    descending = all(larger[1] > smaller[1] for larger, smaller in pairwise(amounts))
    return amounts if descending else []
