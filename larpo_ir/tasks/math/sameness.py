r"""Whether two expressions are the same, proportional, or one the other rounded.

Expressions with names are compared at several values of the names (`values.TRIALS`).
"""

from __future__ import annotations

from fractions import Fraction

from larpo_ir.tasks.math.expressions import Name, Node, Num, Power, Product, children, names
from larpo_ir.tasks.math.values import (
    CLOSE,
    TRIALS,
    Value,
    approximate,
    context,
    evaluate,
    multiplied,
    same_value,
)


def trials(*nodes: Node) -> range:
    """One where no expression has a name, several otherwise."""
    return range(TRIALS if any(names(node) for node in nodes) else 1)


def same(one: Node, other: Node) -> bool:
    r"""Whether two expressions are the same for all values of their names.

    >>> from larpo_ir.tasks.math.parser import parse
    >>> from larpo_ir.tasks.math.tokens import tokens
    >>> read = lambda text: parse(tokens(text))
    >>> same(read(r"\sqrt{8}"), read(r"2\sqrt2")), same(read("(x+1)^2"), read("x^2+1"))
    (True, False)
    >>> same(read("2^{99}"), read("2^{98}"))
    False
    """
    if one == other:
        return True
    pairs = [(evaluate(one, trial), evaluate(other, trial)) for trial in trials(one, other)]
    if not (_has_i(one) or _has_i(other)):
        # Where the letters are outside of the domain (the logarithm of a negative number) nothing is said.
        pairs = [pair for pair in pairs if all(map(_is_real, pair))] or pairs
    return all(same_value(*pair) for pair in pairs)


def _has_i(node: Node) -> bool:
    return node == Name("i") or any(map(_has_i, children(node)))


def _is_real(value: Value) -> bool:
    return isinstance(value, Fraction) or bool(abs(value.imag) <= abs(value) * context().mpf(10) ** -CLOSE)


def proportional(one: Node, other: Node, *, positive: bool = False) -> bool:
    """Whether one expression is a constant (not zero) times the other."""
    if names(one) != names(other) or not names(one):
        return False
    first = [evaluate(one, trial) for trial in range(TRIALS)]
    second = [evaluate(other, trial) for trial in range(TRIALS)]
    zero = Fraction(0)
    if same_value(first[0], zero) or same_value(second[0], zero):
        return False
    # first[t] / second[t] is one number; without a division, and with a sign where the direction matters.
    products = [(multiplied(first[t], second[0]), multiplied(first[0], second[t])) for t in range(1, TRIALS)]
    if not all(same_value(left, right) for left, right in products):
        return False
    return not positive or (approximate(first[0]) / approximate(second[0])).real > 0


def literal(node: Node) -> tuple[Fraction, int, int] | None:
    """Value, decimals and significant digits of a decimal as it is written; None for what is none."""
    sign, shift, found = 1, 0, None
    for factor in node.factors if isinstance(node, Product) else (node,):
        inner = literal(factor) if isinstance(factor, Product) else None
        match factor:
            case Num(value, 0) if value == -1:
                sign = -sign
            case Num(value, decimals, digits) if found is None:
                found = (value, decimals, digits)
            case Power(Num(base), exponent) if base == 10 and not names(exponent):
                power = evaluate(exponent)
                if not isinstance(power, Fraction) or power.denominator != 1 or abs(power) > 400:
                    return None
                shift += power.numerator
            case Product() if inner is not None and found is None:
                found = inner
            case _:
                return None
    if found is None:
        return None
    return sign * found[0] * Fraction(10) ** shift, found[1] - shift, found[2]


def rounds_to(exact: Node, decimal: Node, least: int) -> bool:
    """Whether `decimal` is written with at least `least` decimals and is `exact`, rounded or cut off there.

    With `least` above zero it also has at least four significant digits: 0.000001 is no rounding of 2^{-20}.
    """
    written = literal(decimal)
    if written is None or names(exact):
        return False
    value, decimals, digits = written
    if decimals < least or (least > 0 and digits < 4):
        return False
    exactly = evaluate(exact)
    unit = Fraction(10) ** -decimals
    if isinstance(exactly, Fraction):
        gap = abs(exactly - value)
        cut = abs(value) <= abs(exactly) and exactly * value >= 0
    else:
        number = approximate(exactly)
        if abs(number.imag) > 1e-30:
            return False
        gap = abs(number.real - approximate(value).real)
        cut = abs(approximate(value).real) <= abs(number.real) and number.real * approximate(value).real >= 0
        unit = approximate(unit).real
    return bool(gap * 2 <= unit or (least > 0 and cut and gap < unit))
