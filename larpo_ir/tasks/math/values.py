r"""The value of an expression.

Rational numbers are exact. Roots, π, e, logarithms and angles are computed to `DIGITS` digits (by `mpmath`, which
comes with PyTorch's SymPy). Names get fixed rational values, several times over; expressions that agree each time are
the same (an identity of polynomials that holds at random points holds with near certainty).

Nothing here takes long. A power or factorial with more than `MAX_BITS` bits is a symbol of its own: 10^{10^{10}}
equals itself and no other number.
"""

from __future__ import annotations

import hashlib
import math
import random
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from larpo_ir.tasks.math.expressions import Call, Name, Node, Num, Power, Product, Sum, has
from larpo_ir.tasks.math.tokens import Unreadable

DIGITS = 60
MAX_BITS = 1 << 15
TRIALS = 4
CLOSE = 40  # digits in which two computed values agree that are the same

_own = threading.local()


def context() -> Any:
    """A context of mpmath's for this thread: its precision is a property of the context."""
    if not hasattr(_own, "context"):
        import mpmath

        _own.context = mpmath.mp.clone()
        _own.context.dps = DIGITS
    return _own.context


Value = Any  # a Fraction where exact, else mpmath's mpc


def _symbol(*key: object) -> Fraction:
    """A number of its own for what is not computed, the same for the same key."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return Fraction(int.from_bytes(digest[:12], "big") + 1, int.from_bytes(digest[12:20], "big") + 1)


def _key(value: Value) -> str:
    if isinstance(value, Fraction):  # in base 16: Python refuses to write long integers in base 10
        return f"{value.numerator:x}/{value.denominator:x}"
    mp = context()
    return f"{mp.nstr(value.real, CLOSE)},{mp.nstr(value.imag, CLOSE)}"


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def approximate(value: Value) -> Any:
    mp = context()
    if isinstance(value, Fraction):
        return mp.mpc(mp.mpf(value.numerator) / value.denominator)
    return mp.mpc(value)


def same_value(one: Value, other: Value) -> bool:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    mp = context()
    a, b = approximate(one), approximate(other)
    gap, size = abs(a - b), max(abs(a), abs(b))
    if a == 0 or b == 0:  # what should cancel leaves the error of rounding
        return bool(size <= mp.mpf(10) ** -(DIGITS - 8))
    return bool(gap <= size * mp.mpf(10) ** -CLOSE)


class _Point:
    """Values for the names of one trial."""

    def __init__(self, trial: int) -> None:
        self.trial = trial

    def __getitem__(self, name: str) -> Fraction:
        dice = random.Random(f"{name}/{self.trial}")
        value = Fraction(dice.randrange(10_007, 99_991), dice.choice((10_007, 20_011, 40_009)))
        return -value if self.trial % 2 and dice.random() < 0.7 else value


def evaluate(node: Node, trial: int = 0) -> Value:
    """The value of an expression at the trial's values of its names.

    Raises:
        Unreadable: a division by zero, or what is infinite.
    """
    return _value(node, _Point(trial))


def _value(node: Node, point: _Point) -> Value:
    match node:
        case Num(value):
            return value
        case Name(name):
            return _constant(name, point)
        case Sum(terms):
            return _total([_value(term, point) for term in terms], 0)
        case Product(factors):
            return _total([_value(factor, point) for factor in factors], 1)
        case Power(base, exponent):
            return _power(_value(base, point), _value(exponent, point))
        case Call(function, arguments):
            return _call(function, arguments, point)


def _constant(name: str, point: _Point) -> Value:
    mp = context()
    if name in ("infty", "emptyset"):
        raise Unreadable("no number")
    constants: dict[str, Callable[[], Value]] = {
        "pi": lambda: mp.mpc(mp.pi),
        "e": lambda: mp.mpc(mp.e),
        "i": lambda: mp.mpc(0, 1),
    }
    return constants[name]() if name in constants else point[name]


def _total(values: list[Value], start: int) -> Value:
    """Sum (`start` 0) or product (`start` 1): exact while all is rational and of bounded size."""
    result: Value = Fraction(start)
    for value in values:
        if not (isinstance(result, Fraction) and isinstance(value, Fraction)):
            result, value = approximate(result), approximate(value)
        elif _bits(result) + _bits(value) > 4 * MAX_BITS:
            result = _symbol("long", start, _key(result), _key(value))
            continue
        result = result * value if start else result + value
    return result


def multiplied(one: Value, other: Value) -> Value:
    return _total([one, other], 1)


def _power(base: Value, exponent: Value) -> Value:
    mp = context()
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        power = exponent.numerator
        if base == 0:
            if power <= 0:
                raise Unreadable("a division by zero, or 0^0")
            return Fraction(0)
        if isinstance(base, Fraction):
            if base in (1, -1):
                return base if power % 2 else Fraction(1)
            if _bits(base) * abs(power) <= MAX_BITS:
                return base**power
            return _symbol("power", *_root_of(base, power))
        if abs(power) > MAX_BITS:
            return _symbol("power", _key(base), hex(power))
        return base**power
    if base == 0:
        if approximate(exponent).real <= 0:
            raise Unreadable("a division by zero")
        return Fraction(0)
    if (
        isinstance(base, Fraction)
        and base < 0
        and isinstance(exponent, Fraction)
        and exponent.denominator % 2
    ):
        root = _power(-base, exponent)  # the real root, as school has it
        return -root if exponent.numerator % 2 else root
    a, b = approximate(base), approximate(exponent)
    if abs(b) > 1e6 or abs(b * mp.log(a)) > 1e6:
        return _symbol("power", _key(base), _key(exponent))
    return mp.power(a, b)


def _root_of(base: Fraction, power: int) -> tuple[str, str]:
    """4^50000 as 2^100000: the least base of which this one is a power."""
    if base.denominator == 1 and 1 < base.numerator < 1 << 53:
        for k in range(52, 1, -1):
            root = round(base.numerator ** (1 / k))
            if root > 1 and root**k == base.numerator:
                return _key(Fraction(root)), hex(power * k)
    return _key(base), hex(power)


def _factorial(value: Value) -> Value:
    if isinstance(value, Fraction) and value.denominator == 1 and 0 <= value.numerator <= 2_500:
        return Fraction(math.factorial(value.numerator))
    return _symbol("factorial", _key(value))


def _double_factorial(value: Value) -> Value:
    if isinstance(value, Fraction) and value.denominator == 1 and 0 <= value.numerator <= 2_500:
        return Fraction(math.prod(range(value.numerator, 0, -2)))
    return _symbol("double factorial", _key(value))


def _binomial(n: Value, k: Value) -> Value:
    whole = isinstance(n, Fraction) and isinstance(k, Fraction) and n.denominator == k.denominator == 1
    if whole and 0 <= k <= n <= 5_000:
        return Fraction(math.comb(int(n), int(k)))
    return _symbol("binom", _key(n), _key(k))


def _root(value: Value, degree: Value) -> Value:
    """The real root where there is one: `\\sqrt[3]{-8}` is -2."""
    if isinstance(degree, Fraction) and degree.denominator == 1 and degree.numerator > 0:
        n = degree.numerator
        if isinstance(value, Fraction) and n == 2 and value >= 0:
            top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
            if top * top == value.numerator and bottom * bottom == value.denominator:
                return Fraction(top, bottom)
        if isinstance(value, Fraction) and value < 0 and n % 2:
            return -_root(-value, degree)
    if degree == 0:
        raise Unreadable("a root of degree zero")
    return _power(value, 1 / degree if isinstance(degree, Fraction) else 1 / approximate(degree))


def _whole(which: Callable[[Fraction], int]) -> Callable[[Value], Value]:
    def rounded(value: Value) -> Value:
        if isinstance(value, Fraction):
            return Fraction(which(value))
        if abs(value) > 1e30:
            return _symbol("whole", which.__name__, _key(value))
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
    def computed(value: Value) -> Value:
        mp = context()
        x = approximate(value)
        if abs(x) > 1e6 and function not in ("ln", "log", "lg"):
            return _symbol(function, _key(value))
        if function in ("ln", "log", "lg") and x == 0:
            raise Unreadable("the logarithm of zero")
        name = {"ln": "log", "log": "log10", "lg": "log10", "exp": "exp"}.get(function, function)
        name = name.replace("arc", "a")
        try:
            return approximate(getattr(mp, name)(x.real if x.imag == 0 and abs(x.real) <= 1 else x))
        except (ZeroDivisionError, ValueError) as error:
            raise Unreadable("no number") from error

    return computed


_ANGLES = ("sin", "cos", "tan", "cot", "sec", "csc")
_ONE: dict[str, Callable[[Value], Value]] = {
    "factorial": _factorial,
    "double factorial": _double_factorial,
    "abs": _absolute,
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
    "degrees": lambda value: value,
    **{
        name: _analytic(name)
        for name in (
            *_ANGLES,
            "arcsin",
            "arccos",
            "arctan",
            "arccot",
            "sinh",
            "cosh",
            "tanh",
            "exp",
            "ln",
            "log",
            "lg",
        )
    },
}
_WHOLE: dict[str, Callable[..., Any]] = {"gcd": math.gcd, "lcm": math.lcm, "max": max, "min": min}


def _call(function: str, arguments: tuple[Node, ...], point: _Point) -> Value:
    mp = context()
    values = [_value(argument, point) for argument in arguments]
    if function in _ANGLES and has(arguments[0], "degrees"):
        values = [approximate(values[0]) * mp.pi / 180]
    if function in ("binom", "root"):
        return {"binom": _binomial, "root": _root}[function](*values)
    if function == "log_" and len(values) == 2:
        base, value = (approximate(value) for value in values)
        if base in (0, 1) or value == 0:
            raise Unreadable("no logarithm")
        return mp.log(value) / mp.log(base)
    if function in _ONE and len(values) == 1:
        return _ONE[function](values[0])
    if function in _WHOLE and all(isinstance(value, Fraction) for value in values):
        if function in ("max", "min"):
            return _WHOLE[function](values)
        if all(value.denominator == 1 for value in values):
            return Fraction(_WHOLE[function](*(value.numerator for value in values)))
    return _symbol(function, *(_key(value) for value in values))
