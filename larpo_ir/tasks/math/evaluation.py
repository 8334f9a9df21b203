r"""The value of an expression.

Rational numbers are exact; roots, π, e, logarithms and angles are computed (`values`). Names get fixed rational
values, several times over; expressions that agree each time are the same (an identity of polynomials that holds at
random points holds with near certainty).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from larpo_ir.tasks.math.expressions import Call, Name, Node, Num, Power, Product, Sum, has
from larpo_ir.tasks.math.functions import ANGLES, in_radians, result_of
from larpo_ir.tasks.math.tokens import Unreadable
from larpo_ir.tasks.math.values import Value, context, power_of, total

TRIALS = 4


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
        Unreadable: a division by zero, or an infinite value.
    """
    return _value(node, _Point(trial))


def _value(node: Node, point: _Point) -> Value:
    match node:
        case Num(value):
            return value
        case Name(name):
            return _constant(name, point)
        case Sum(terms):
            return total([_value(term, point) for term in terms], 0)
        case Product(factors):
            return total([_value(factor, point) for factor in factors], 1)
        case Power(base, exponent):
            return power_of(_value(base, point), _value(exponent, point))
        case Call(function, arguments):
            return _call(function, arguments, point)


_CONSTANTS: dict[str, Callable[[Any], Value]] = {
    "pi": lambda mp: mp.mpc(mp.pi),
    "e": lambda mp: mp.mpc(mp.e),
    "i": lambda mp: mp.mpc(0, 1),
}


def _constant(name: str, point: _Point) -> Value:
    if name in ("infty", "emptyset"):
        raise Unreadable("no number")
    return _CONSTANTS[name](context()) if name in _CONSTANTS else point[name]


def _call(function: str, arguments: tuple[Node, ...], point: _Point) -> Value:
    values = [_value(argument, point) for argument in arguments]
    if function in ANGLES and has(arguments[0], "degrees"):
        values = [in_radians(values[0])]
    return result_of(function, values)
