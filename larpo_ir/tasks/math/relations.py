r"""Relations: what an equation's left side names, and inequalities as sets of real numbers or as equations."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from larpo_ir.tasks.math import sameness
from larpo_ir.tasks.math.answers import Answer, Based, Equation, Named, Quantity, Reading, wrapped
from larpo_ir.tasks.math.expressions import Call, Name, Node, Num, Power, Product, Sum, names, negative
from larpo_ir.tasks.math.parser import parse
from larpo_ir.tasks.math.quantities import without_letters
from larpo_ir.tasks.math.regions import FLIPPED, everything, half_line, intersection
from larpo_ir.tasks.math.tokens import Token, Unreadable
from larpo_ir.tasks.math.units import Beside


def names_of(run: Sequence[Token]) -> set[str] | None:
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


def name_of(side: list[Token], how: Reading, zero: bool = False) -> str | None:
    """The name that an equation gives to its right side; "" for a number on the left, None for an equation.

    A name is a letter, words, `f(x)`, `\\sin x`, `(x, y)`, `\\angle ABC`, or, unless `how.equations`, a quantity that
    letters make (`_is_quantity`). `zero`: the right side is 0.
    """
    side = [token for token in side if token[:2] != ("mark", "$")]
    if how.letters:
        side = without_letters(side)
    text = " ".join(token.text for token in side)
    if any(token.kind == "word" for token in side):
        return (
            text
            if all(token.kind in ("word", "name", "open", "close", "op", "num", "mark") for token in side)
            else None
        )
    if wrapped(side) and side[0].text in ("()", "<>"):
        return (
            text
            if all(token.kind in ("name", "open", "close") or token[:2] == ("sep", ",") for token in side)
            else None
        )
    try:
        node = parse(side)
    except Unreadable:  # P(A \cap B); a sum, an integral or a limit, and what it comes to
        if side and side[0].kind == "name" and wrapped(side[1:]) and side[1].text in ("()", "["):
            return text
        return "?" if any(token[:2] == ("cmd", "big") for token in side) else None
    if not names(node):
        return ""
    match node:
        case Name() | Call():
            return text
        case Power(Name() | Call(), Num()) if not how.equations and isinstance(node.base, Call):
            return text
        case Power(Name(name), _) if name in ("f", "g", "h"):  # f^{-1}
            return text
        case Product(factors) if len(factors) == 2 and isinstance(factors[0], Power):
            if isinstance(factors[0].base, Name) and factors[0].base.name in ("f", "g", "h"):  # f^{-1}(x)
                return text
    capitals = [
        token for token in side if token.kind == "name" and len(token.text) == 1 and token.text.isupper()
    ]
    if len(capitals) == len(side):  # AB, the length of a segment
        return text
    return text if not how.equations and len(names(node)) > 1 and _is_quantity(node, zero) else None


def _is_quantity(node: Node, zero: bool) -> bool:
    """Whether a left side is a value asked for: `m + n`, `x^2 + y^2`, `100a + b`; not `3x + 2y`, nor `x + y` if 0."""
    coordinates = bool(names(node) & {"x", "y", "z"})
    return (_is_plain(node) and not (coordinates and zero)) or (
        not coordinates and not zero and _is_plain(node, True)
    )


def _is_plain(node: Node, coefficients: bool = False) -> bool:
    """Letters, added, subtracted, multiplied or divided, with or without coefficients."""
    match node:
        case Name() | Call():
            return True
        case Num(value):
            return coefficients or value == -1
        case Sum(parts) | Product(parts):
            return all(_is_plain(part, coefficients) for part in parts)
        case Power(base, Num(value)):
            return _is_plain(base, coefficients) and value in (-1, 2, 3)
    return False


def equation_of(left: Sequence[Token], right: Sequence[Token]) -> Equation | None:
    try:
        difference = Sum((parse(left), negative(parse(right))))
    except Unreadable:
        return None
    return Equation(((difference, "="),)) if names(difference) else None


def compared(sides: list[list[Token]], relations: list[str]) -> Answer:
    nodes = [parse(_unworded(side)) for side in sides]
    found: list[tuple[Node, str]] = []
    for left, right, relation in zip(nodes, nodes[1:], relations, strict=False):
        if relation in (">", ">="):
            left, right, relation = right, left, FLIPPED[relation]
        found.append((Sum((left, negative(right))), relation))
    equation = Equation(tuple(found))
    variables = [index for index, node in enumerate(nodes) if names(node)]
    if len(variables) != 1 or not isinstance(nodes[variables[0]], Name):
        return equation
    region = everything()
    for index, (left, right, relation) in enumerate(zip(nodes, nodes[1:], relations, strict=False)):
        if index == variables[0]:
            region = intersection([region, half_line(relation, right)])
        elif index + 1 == variables[0]:
            region = intersection([region, half_line(FLIPPED[relation], left)])
    return Named(nodes[variables[0]].name, (region,), equation)  # type: ignore[union-attr]


def _unworded(side: Sequence[Token]) -> list[Token]:
    """Without a unit at the end of a side (`x > 5 cm`)."""
    end = len(side)
    while end > 1 and side[end - 1].kind == "word":
        end -= 1
    return list(side[:end])
