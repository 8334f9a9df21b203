r"""Names that left sides of equations give to right sides: `x`, `f(x)`, `\text{Area}`, `m + n`."""

from __future__ import annotations

from collections.abc import Sequence

from larpo_ir.tasks.math.answers import Reading
from larpo_ir.tasks.math.brackets import wrapped
from larpo_ir.tasks.math.expressions import Call, Name, Node, Num, Power, Product, Sum, names
from larpo_ir.tasks.math.parser import parse
from larpo_ir.tasks.math.suffixes import without_letters
from larpo_ir.tasks.math.tokens import Token, Unreadable

_IN_WORDS = {"word", "name", "open", "close", "op", "num", "mark"}  # kinds of token beside words
_IN_TUPLE = {"name", "open", "close", "comma"}


def _text(side: Sequence[Token]) -> str:
    return " ".join(token.text for token in side)


def name_of(side: list[Token], how: Reading, zero: bool = False) -> str | None:
    """The name that an equation gives to its right side; "" for a number on the left, None for an equation.

    A name is a letter, words, `f(x)`, `\\sin x`, `(x, y)`, `\\angle ABC`, or, unless `how.equations`, a quantity that
    letters make (`_is_quantity`). `zero`: the right side is 0.
    """
    side = [token for token in side if token[:2] != ("mark", "$")]
    if how.letters:
        side = without_letters(side)
    kinds = {token.kind if token[:2] != ("sep", ",") else "comma" for token in side}
    if "word" in kinds:
        return _text(side) if kinds <= _IN_WORDS else None
    if wrapped(side) and side[0].text in ("()", "<>"):
        return _text(side) if kinds <= _IN_TUPLE else None
    return _name_of_formula(side, how, zero)


def _name_of_formula(side: list[Token], how: Reading, zero: bool) -> str | None:
    try:
        node = parse(side)
    except Unreadable:
        return _name_of_unreadable(side)
    letters = names(node)
    if not letters:
        return ""
    if _is_symbol(node, how) or _is_segment(side):
        return _text(side)
    asked_for = not how.equations and len(letters) > 1 and _is_quantity(node, zero)
    return _text(side) if asked_for else None


def _name_of_unreadable(side: list[Token]) -> str | None:
    """Also `P(A \\cap B)` is a name, and so is a sum, an integral or a limit, for the value that it comes to."""
    if side and side[0].kind == "name" and wrapped(side[1:]) and side[1].text in ("()", "["):
        return _text(side)
    return "?" if any(token[:2] == ("cmd", "big") for token in side) else None


def _is_symbol(node: Node, how: Reading) -> bool:
    """A letter or a function of it: `x`, `f(x)`, `\\sin^2 x`, `f^{-1}`, `f^{-1}(x)`."""
    match node:
        case Name() | Call():
            return True
        case Power(Call(), Num()):
            return not how.equations
        case Power(Name("f" | "g" | "h")) | Product((Power(Name("f" | "g" | "h")), _)):
            return True
    return False


def _is_segment(side: Sequence[Token]) -> bool:
    """Capital letters alone: AB, the length of a segment."""
    return all(token.kind == "name" and len(token.text) == 1 and token.text.isupper() for token in side)


def _is_quantity(node: Node, zero: bool) -> bool:
    """Whether a left side is a value asked for: `m + n`, `x^2 + y^2`, `100a + b`; not `3x + 2y`, nor `x + y` if 0."""
    if names(node) & {"x", "y", "z"}:
        return not zero and _is_plain(node)
    return _is_plain(node, coefficients=not zero)


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
