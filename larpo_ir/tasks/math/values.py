r"""Numbers: exact fractions, and where roots or π make exact ones impossible, numbers computed to `DIGITS` digits.

`mpmath`, which comes with PyTorch's SymPy, computes the latter.

Nothing here takes long. A power with more than `MAX_BITS` bits is a symbol of its own: 10^{10^{10}} equals itself and
no other number.
"""

from __future__ import annotations

import hashlib
import threading
from fractions import Fraction
from typing import Any

from larpo_ir.tasks.math.tokens import Unreadable

DIGITS = 60
MAX_BITS = 1 << 15
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


def is_whole(value: Value) -> bool:
    return isinstance(value, Fraction) and value.denominator == 1


def symbol(*key: object) -> Fraction:
    """A number of its own that stands for a result too large to compute, the same for the same key."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return Fraction(int.from_bytes(digest[:12], "big") + 1, int.from_bytes(digest[12:20], "big") + 1)


def key_of(value: Value) -> str:
    """The value as a text, for the key of a symbol."""
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
    """Whether two values are the same: exactly, or, where one is computed, in `CLOSE` digits."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one == other
    mp = context()
    a, b = approximate(one), approximate(other)
    gap, size = abs(a - b), max(abs(a), abs(b))
    if a == 0 or b == 0:  # terms that should cancel leave the error of rounding
        return bool(size <= mp.mpf(10) ** -(DIGITS - 8))
    return bool(gap <= size * mp.mpf(10) ** -CLOSE)


# --- Sums, products, powers ---------------------------------------------------------------------------------


def total(values: list[Value], start: int) -> Value:
    """Sum (`start` 0) or product (`start` 1): exact while all is rational and of bounded size."""
    result: Value = Fraction(start)
    for value in values:
        if not (isinstance(result, Fraction) and isinstance(value, Fraction)):
            result, value = approximate(result), approximate(value)
        elif _bits(result) + _bits(value) > 4 * MAX_BITS:
            result = symbol("long", start, key_of(result), key_of(value))
            continue
        result = result * value if start else result + value
    return result


def multiplied(one: Value, other: Value) -> Value:
    return total([one, other], 1)


def power_of(base: Value, exponent: Value) -> Value:
    """The power; of a negative base its real root where there is one, as at school: (-8)^{1/3} is -2.

    Raises:
        Unreadable: zero with an exponent that is not positive.
    """
    if is_whole(exponent):
        return _whole_power(base, exponent.numerator)
    if base == 0:
        if approximate(exponent).real <= 0:
            raise Unreadable("a division by zero")
        return Fraction(0)
    if _has_real_root(base, exponent):
        root = power_of(-base, exponent)
        return -root if exponent.numerator % 2 else root
    mp, a, b = context(), approximate(base), approximate(exponent)
    if abs(b) > 1e6 or abs(b * mp.log(a)) > 1e6:
        return symbol("power", key_of(base), key_of(exponent))
    return mp.power(a, b)


def _whole_power(base: Value, power: int) -> Value:
    if base == 0:
        if power <= 0:
            raise Unreadable("a division by zero, or 0^0")
        return Fraction(0)
    if not isinstance(base, Fraction):
        return symbol("power", key_of(base), hex(power)) if abs(power) > MAX_BITS else base**power
    if base in (1, -1):
        return base if power % 2 else Fraction(1)
    if _bits(base) * abs(power) <= MAX_BITS:
        return base**power
    return symbol("power", *_least_base(base, power))


def _has_real_root(base: Value, exponent: Value) -> bool:
    """Whether a negative base has an exponent with an odd denominator; both are fractions then."""
    exact = isinstance(base, Fraction) and isinstance(exponent, Fraction)
    return exact and base < 0 and exponent.denominator % 2 == 1


def _least_base(base: Fraction, power: int) -> tuple[str, str]:
    """4^50000 as 2^100000: the least base of which this one is a power."""
    if base.denominator == 1 and 1 < base.numerator < 1 << 53:
        for k in range(52, 1, -1):
            root = round(base.numerator ** (1 / k))
            if root > 1 and root**k == base.numerator:
                return key_of(Fraction(root)), hex(power * k)
    return key_of(base), hex(power)
