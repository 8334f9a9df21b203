r"""Relations: equations, chains of equal sides, and inequalities as sets of real numbers or as equations."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from larpo_ir.tasks.math import sameness
from larpo_ir.tasks.math.answers import Answer, Based, Equation, Named, Quantity
from larpo_ir.tasks.math.expressions import Name, Node, Num, Sum, names, negative
from larpo_ir.tasks.math.parser import parse
from larpo_ir.tasks.math.regions import FLIPPED, everything, half_line, intersection
from larpo_ir.tasks.math.tokens import Token, Unreadable
from larpo_ir.tasks.math.units import Beside


def names_of(run: Sequence[Token]) -> set[str] | None:
    """The variables of the expression that tokens write; None where they write none."""
    try:
        return names(parse(run))
    except Unreadable:
        return None


def in_base_ten(answer: Answer) -> Answer:
    """The number that a numeral with its base writes; other answers as they are."""
    if not isinstance(answer, Based) or "." in answer.digits:
        return answer
    return Quantity(Num(Fraction(int(answer.digits, answer.base))), Beside())


def agree(before: Answer, after: Answer, relation: str) -> bool:
    """Whether one side of a chain is the other, or that one rounded: then both are the answer."""
    before, after = in_base_ten(before), in_base_ten(after)
    if not isinstance(before, Quantity) or not isinstance(after, Quantity):
        return False
    try:
        return sameness.same(before.node, after.node) or sameness.rounds_to(
            before.node, after.node, 0 if relation == "~" else 1
        )
    except Unreadable:
        return False


def equation_of(left: Sequence[Token], right: Sequence[Token]) -> Equation | None:
    """The equation of two sides; None where a side is no expression, or no side has a variable."""
    try:
        difference = Sum((parse(left), negative(parse(right))))
    except Unreadable:
        return None
    return Equation(((difference, "="),)) if names(difference) else None


def compared(sides: list[list[Token]], relations: list[str]) -> Answer:
    """A chain of inequalities: the set of reals of the one side that is a letter alone, else an equation.

    Raises:
        Unreadable: a side that is no expression.
    """
    nodes = [parse(_unworded(side)) for side in sides]
    links = list(zip(nodes, nodes[1:], relations, strict=False))
    equation = Equation(tuple(_difference(*link) for link in links))
    variables = [index for index, node in enumerate(nodes) if names(node)]
    variable = nodes[variables[0]] if len(variables) == 1 else None
    if not isinstance(variable, Name):
        return equation
    bounds = [half_line(FLIPPED[relation], left) for left, right, relation in links if right is variable]
    bounds += [half_line(relation, right) for left, right, relation in links if left is variable]
    return Named(variable.name, (intersection([everything(), *bounds]),), equation)


def _difference(left: Node, right: Node, relation: str) -> tuple[Node, str]:
    """The difference of two sides, turned such that it is below zero rather than above."""
    if relation in (">", ">="):
        left, right, relation = right, left, FLIPPED[relation]
    return Sum((left, negative(right))), relation


def _unworded(side: Sequence[Token]) -> list[Token]:
    """Without a unit at the end of a side (`x > 5 cm`)."""
    end = len(side)
    while end > 1 and side[end - 1].kind == "word":
        end -= 1
    return list(side[:end])
