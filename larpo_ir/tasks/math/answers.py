r"""Forms of an answer: a number with its unit, a word, a list, a pair, a set of reals, a matrix, an equation.

`reading` makes these of tokens, `comparison` tells which are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from larpo_ir.tasks.math.expressions import Node
from larpo_ir.tasks.math.units import Beside

MAX_ITEMS = 64


@dataclass(frozen=True)
class Quantity:
    """An expression with the words beside it."""

    node: Node
    beside: Beside


@dataclass(frozen=True)
class Based:
    """A numeral in a base that is written beside it."""

    digits: str
    base: int


@dataclass(frozen=True)
class Clock:
    """A time of day. `ratio`: the fraction that `3:40` is when it is no time."""

    parts: tuple[int, ...]
    half: str | None
    ratio: Quantity | None


@dataclass(frozen=True)
class Text:
    words: tuple[str, ...]


@dataclass(frozen=True)
class Ordered:
    items: tuple[Answer, ...]
    left: str
    right: str


@dataclass(frozen=True)
class Unordered:
    """A list without order. `joined`: it was written with commas, `and` or `or`; `braced`: as a set; else with ±."""

    items: tuple[Answer, ...]
    joined: bool = False
    braced: bool = False


@dataclass(frozen=True)
class Region:
    """A set of reals, by intervals `(low, high, holds its low end, holds its high end)`, sorted and disjoint."""

    spans: tuple[tuple[Any, Any, bool, bool], ...]


@dataclass(frozen=True)
class Matrix:
    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True)
class Equation:
    """`differences`: (left - right, "=", "<", "<=" or "!=") per relation of a chain."""

    differences: tuple[tuple[Node, str], ...]


@dataclass(frozen=True)
class Named:
    """`x = 5`: a value, or several of one number (`1/3 = 0.333`), under a name; and the equation that it also is."""

    name: str
    values: tuple[Answer, ...]
    equation: Equation | None = None


Answer: TypeAlias = Quantity | Based | Clock | Text | Ordered | Unordered | Region | Matrix | Equation | Named


@dataclass(frozen=True)
class Reading:
    """The choice between two readings of the same tokens.

    `grouped`: `1,200` is one number. `letters`: the m of `5 m` is a unit. `equations`: `a + b = 5` is an equation
    rather than the value of a + b.
    """

    grouped: bool = True
    letters: bool = True
    equations: bool = False
