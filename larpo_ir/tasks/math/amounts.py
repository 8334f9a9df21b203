r"""Equality of answers without others in them: numbers with units, numerals, times, words, matrices, equations.

Marks (AM, N) that gold lacks do not count, so `same_single(gold, found)` is not symmetric.
"""

from __future__ import annotations

from fractions import Fraction

from larpo_ir.tasks.math import sameness
from larpo_ir.tasks.math.answers import (
    Answer,
    Based,
    Clock,
    Equation,
    Matrix,
    Ordered,
    Quantity,
    Text,
)
from larpo_ir.tasks.math.expressions import Name, Node, Num, Product
from larpo_ir.tasks.math.tokens import Unreadable

DECIMALS = 6  # a decimal with so many decimals equals a number that rounds to it
_HUNDREDTH = Fraction(1, 100)


def same_single(gold: Answer, found: Answer) -> bool | None:
    """Whether two answers are equal; None for answers of kinds that are not compared here."""
    match gold, found:
        case Quantity(), Quantity():
            return _same_quantity(gold, found)
        case (Based(), Based()) | (Text(), Text()):
            return gold == found
        case (Text((word,)), Quantity(Name(name))) | (Quantity(Name(name)), Text((word,))):
            return word == name.casefold()
        case (Based() as numeral, Quantity() as number) | (Quantity() as number, Based() as numeral):
            return _same_digits(numeral, number)
        case Clock(), Clock():
            return gold.parts == found.parts and gold.half in (None, found.half)
        case (Clock() as time, Quantity() as number) | (Quantity() as number, Clock() as time):
            return _is_ratio(time, number) or _is_hour(time, number, half_counts=time is gold)
        case (Ordered(items), Matrix(rows)) | (Matrix(rows), Ordered(items)):
            return _is_vector(rows, items)
        case Matrix(), Matrix():
            return _same_entries(gold, found)
        case Equation(), Equation():
            return same_equations(gold, found)
    return None


# --- Numbers ------------------------------------------------------------------------------------------------


def _same_quantity(gold: Quantity, found: Quantity) -> bool:
    """Whether the marks of gold, the kinds of unit where both have one, and the numbers in one unit are the same."""
    ours, theirs = gold.beside, found.beside
    if ours.marks and ours.marks != theirs.marks:
        return False
    kinds = ours.unit(), theirs.unit()
    if all(kinds) and kinds[0] != kinds[1]:
        return False
    convert = all(kinds) and ours.size != theirs.size
    a = _scaled(gold.node, ours.scale * (ours.size if convert else 1))
    b = _scaled(found.node, theirs.scale * (theirs.size if convert else 1))
    same = _same_number(a, b)
    if ours.percent == theirs.percent:
        return same
    if kinds[1 if ours.percent else 0]:  # 5 dollars are not 5%; 5% per year is
        return False
    # 10% is both 10 and 0.1.
    a, b = (_scaled(a, _HUNDREDTH), b) if ours.percent else (a, _scaled(b, _HUNDREDTH))
    return same or _same_number(a, b)


def _scaled(node: Node, factor: Fraction) -> Node:
    return node if factor == 1 else Product((node, Num(factor)))


def _same_number(gold: Node, found: Node) -> bool:
    if isinstance(gold, Name) and isinstance(found, Name):
        return gold.name.casefold() == found.name.casefold()
    if sameness.same(gold, found):
        return True
    return sameness.rounds_to(gold, found, DECIMALS) or sameness.rounds_to(found, gold, DECIMALS)


def _same_digits(numeral: Based, number: Quantity) -> bool:
    """A base on one side alone does not count, as a unit does not: 52 is 52_8, and 42 is not."""
    try:
        return sameness.same(number.node, Num(Fraction(numeral.digits)))
    except ValueError:  # FF is no number
        return False


# --- Times --------------------------------------------------------------------------------------------------


def _is_ratio(time: Clock, number: Quantity) -> bool:
    """3:40 is 3/40 too."""
    try:
        return time.ratio is not None and _same_quantity(time.ratio, number)
    except Unreadable:  # 3:00 is no ratio
        return False


def _is_hour(time: Clock, number: Quantity, *, half_counts: bool) -> bool:
    """3 is 3:00, and 3 PM where gold does not say which half of the day."""
    if time.parts[1:] != (0, 0) or (half_counts and time.half is not None):
        return False
    return number.node == Num(Fraction(time.parts[0]))


# --- Matrices and equations ---------------------------------------------------------------------------------


def _same_entries(gold: Matrix, found: Matrix) -> bool:
    if [len(row) for row in gold.rows] != [len(row) for row in found.rows]:
        return False
    rows = zip(gold.rows, found.rows, strict=True)
    return all(sameness.same(a, b) for one, other in rows for a, b in zip(one, other, strict=True))


def _is_vector(rows: tuple[tuple[Node, ...], ...], items: tuple[Answer, ...]) -> bool:
    """A tuple is a vector, written as a column or a row."""
    cells: tuple[Node, ...] = ()
    if all(len(row) == 1 for row in rows):
        cells = tuple(row[0] for row in rows)
    elif len(rows) == 1:
        cells = rows[0]
    return len(cells) == len(items) and all(
        isinstance(item, Quantity) and sameness.same(cell, item.node)
        for cell, item in zip(cells, items, strict=True)
    )


def same_equations(gold: Equation, found: Equation) -> bool:
    """The same relations, each up to a factor, which is positive where there is a direction; in any order."""
    if len(gold.differences) != len(found.differences):
        return False
    left = list(found.differences)
    for difference, relation in gold.differences:
        for candidate in left:
            if candidate[1] == relation and sameness.proportional(
                difference, candidate[0], positive=relation in ("<", "<=")
            ):
                left.remove(candidate)
                break
        else:
            return False
    return True
