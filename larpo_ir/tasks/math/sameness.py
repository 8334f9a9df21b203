r"""Whether two expressions are the same, proportional, or one the other rounded.

Expressions with names are compared at several values of the names (`evaluation.TRIALS`).
"""

from __future__ import annotations

from fractions import Fraction

from larpo_ir.tasks.math.evaluation import TRIALS, evaluate
from larpo_ir.tasks.math.expressions import MINUS_ONE, Name, Node, Num, Power, Product, children, names
from larpo_ir.tasks.math.values import CLOSE, Value, approximate, context, is_whole, multiplied, same_value


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


_MAX_SHIFT = 400  # of a decimal's point, by a power of ten


def literal(node: Node) -> tuple[Fraction, int, int] | None:
    """Value, decimals and significant digits of a decimal as it is written; None for other expressions."""
    sign, shift, found = 1, 0, None
    for factor in node.factors if isinstance(node, Product) else (node,):
        if factor == MINUS_ONE:
            sign = -sign
        elif (tens := _power_of_ten(factor)) is not None:
            shift += tens
        elif found is None and (written := _as_written(factor)) is not None:
            found = written
        else:
            return None
    if found is None:
        return None
    return sign * found[0] * Fraction(10) ** shift, found[1] - shift, found[2]


def _as_written(factor: Node) -> tuple[Fraction, int, int] | None:
    match factor:
        case Num(value, decimals, digits):
            return value, decimals, digits
        case Product():
            return literal(factor)
    return None


def _power_of_ten(factor: Node) -> int | None:
    match factor:
        case Power(Num(base), exponent) if base == 10 and not names(exponent):
            power = evaluate(exponent)
            return power.numerator if is_whole(power) and abs(power) <= _MAX_SHIFT else None
    return None


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
    exactly, unit = evaluate(exact), Fraction(10) ** -decimals
    if isinstance(exactly, Fraction):
        return _rounds(exactly, value, unit, cut_off=least > 0)
    number = approximate(exactly)
    if abs(number.imag) > 1e-30:
        return False
    return _rounds(number.real, approximate(value).real, approximate(unit).real, cut_off=least > 0)


def _rounds(exact: Value, decimal: Value, unit: Value, *, cut_off: bool) -> bool:
    """Whether a real number, in units of the last decimal, rounds to `decimal`, or (`cut_off`) begins with it."""
    gap = abs(exact - decimal)
    begins = cut_off and abs(decimal) <= abs(exact) and exact * decimal >= 0
    return bool(gap * 2 <= unit or (begins and gap < unit))
