r"""Functions of numbers: factorials, binomial coefficients, roots, logarithms, angles, the greatest common divisor.

A result too large to compute, and a function that is not known here, is a symbol of its own (`values.symbol`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from larpo_ir.tasks.math.tokens import Unreadable
from larpo_ir.tasks.math.values import Value, approximate, context, is_whole, key_of, power_of, symbol

ANGLES = ("sin", "cos", "tan", "cot", "sec", "csc")
_LOGARITHMS = ("ln", "log", "lg")
_OTHERS = ("arcsin", "arccos", "arctan", "arccot", "sinh", "cosh", "tanh", "exp")
_MPMATH_NAMES = {"ln": "log", "log": "log10", "lg": "log10"}
_MAX_FACTORIAL = 2_500
_MAX_BINOMIAL = 5_000


def in_radians(degrees: Value) -> Value:
    return approximate(degrees) * context().pi / 180


def result_of(function: str, values: Sequence[Value]) -> Value:
    """The value of a function at these values.

    Raises:
        Unreadable: the logarithm of zero, a root of degree zero, or an infinite value.
    """
    if function in _OF_ONE and len(values) == 1:
        return _OF_ONE[function](values[0])
    if function in _OF_TWO and len(values) == 2:
        return _OF_TWO[function](values[0], values[1])
    if function in _OF_FRACTIONS and all(isinstance(value, Fraction) for value in values):
        return _OF_FRACTIONS[function](values)
    if function in _OF_INTEGERS and all(map(is_whole, values)):
        return Fraction(_OF_INTEGERS[function](*(value.numerator for value in values)))
    return symbol(function, *map(key_of, values))


# --- Of one number ------------------------------------------------------------------------------------------


def _factorial(value: Value) -> Value:
    if is_whole(value) and 0 <= value.numerator <= _MAX_FACTORIAL:
        return Fraction(math.factorial(value.numerator))
    return symbol("factorial", key_of(value))


def _double_factorial(value: Value) -> Value:
    if is_whole(value) and 0 <= value.numerator <= _MAX_FACTORIAL:
        return Fraction(math.prod(range(value.numerator, 0, -2)))
    return symbol("double factorial", key_of(value))


def _whole(which: Callable[[Fraction], int]) -> Callable[[Value], Value]:
    def rounded(value: Value) -> Value:
        if isinstance(value, Fraction):
            return Fraction(which(value))
        if abs(value) > 1e30:
            return symbol("whole", which.__name__, key_of(value))
        # A computed value next to a whole number is that number.
        near = round(float(value.real)) if abs(value.real) < 1e15 else None
        if near is not None and abs(value.real - near) < 1e-40:
            return Fraction(near)
        mp = context()
        return Fraction(int(mp.floor(value.real) if which is math.floor else mp.ceil(value.real)))

    return rounded


def _absolute(value: Value) -> Value:
    return abs(value) if isinstance(value, Fraction) else approximate(abs(value))


def _analytic(function: str) -> Callable[[Value], Value]:
    name = _MPMATH_NAMES.get(function, function).replace("arc", "a")

    def computed(value: Value) -> Value:
        mp = context()
        x = approximate(value)
        if abs(x) > 1e6 and function not in _LOGARITHMS:
            return symbol(function, key_of(value))
        if function in _LOGARITHMS and x == 0:
            raise Unreadable("the logarithm of zero")
        try:
            return approximate(getattr(mp, name)(x.real if x.imag == 0 and abs(x.real) <= 1 else x))
        except (ZeroDivisionError, ValueError) as error:
            raise Unreadable("no number") from error

    return computed


_OF_ONE: dict[str, Callable[[Value], Value]] = {
    "factorial": _factorial,
    "double factorial": _double_factorial,
    "abs": _absolute,
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
    "degrees": lambda value: value,
    **{name: _analytic(name) for name in (*ANGLES, *_LOGARITHMS, *_OTHERS)},
}


# --- Of several ---------------------------------------------------------------------------------------------


def _binomial(n: Value, k: Value) -> Value:
    if is_whole(n) and is_whole(k) and 0 <= k <= n <= _MAX_BINOMIAL:
        return Fraction(math.comb(int(n), int(k)))
    return symbol("binom", key_of(n), key_of(k))


def _root(value: Value, degree: Value) -> Value:
    """The real root where there is one: `\\sqrt[3]{-8}` is -2."""
    if degree == 0:
        raise Unreadable("a root of degree zero")
    if is_whole(degree) and degree > 0 and isinstance(value, Fraction):
        if value < 0 and degree.numerator % 2:
            return -_root(-value, degree)
        if degree == 2 and (exact := _square_root(value)) is not None:
            return exact
    return power_of(value, 1 / degree if isinstance(degree, Fraction) else 1 / approximate(degree))


def _square_root(value: Fraction) -> Fraction | None:
    """The square root of a square; None for other numbers."""
    if value < 0:
        return None
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    return Fraction(top, bottom) if (top * top, bottom * bottom) == value.as_integer_ratio() else None


def _logarithm(base: Value, value: Value) -> Value:
    mp, base, value = context(), approximate(base), approximate(value)
    if base in (0, 1) or value == 0:
        raise Unreadable("no logarithm")
    return mp.log(value) / mp.log(base)


_OF_TWO: dict[str, Callable[[Value, Value], Value]] = {
    "binom": _binomial,
    "root": _root,
    "log_": _logarithm,
}
_OF_FRACTIONS: dict[str, Callable[[Sequence[Fraction]], Fraction]] = {"max": max, "min": min}
_OF_INTEGERS: dict[str, Callable[..., int]] = {"gcd": math.gcd, "lcm": math.lcm}
