r"""Expressions: trees of `Num`, `Name`, `Sum`, `Product`, `Power` and `Call`. Nothing is evaluated here.

`\pm` is a `Call("pm")`, which `choose_sign` resolves.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias


@dataclass(frozen=True)
class Num:
    """A numeral with so many `decimals` behind its point and so many significant `digits` (0: it is no decimal)."""

    value: Fraction
    decimals: int = 0
    digits: int = 0


@dataclass(frozen=True)
class Name:
    """A letter with its index and strokes, a constant (`CONSTANTS`), or a set of numbers (`bbR`)."""

    name: str


@dataclass(frozen=True)
class Sum:
    terms: tuple[Node, ...]


@dataclass(frozen=True)
class Product:
    factors: tuple[Node, ...]


@dataclass(frozen=True)
class Power:
    base: Node
    exponent: Node


@dataclass(frozen=True)
class Call:
    """A function of its arguments, named as `functions` has it, or as the text does (`f`)."""

    function: str
    arguments: tuple[Node, ...]


Node: TypeAlias = Num | Name | Sum | Product | Power | Call

MINUS_ONE = Num(Fraction(-1))


def numeral(text: str) -> Num:
    """The number that digits write: `1,200`, `.5`, `3.140`."""
    plain = text.replace(",", "")
    whole, _, behind = plain.partition(".")
    digits = len((whole + behind).lstrip("0")) if behind else 0
    return Num(Fraction(f"{whole or 0}.{behind or 0}"), len(behind), digits)


def negative(node: Node) -> Node:
    return Product((MINUS_ONE, node))


def inverse(node: Node) -> Node:
    return Power(node, MINUS_ONE)


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Sum(terms):
            return terms
        case Product(factors):
            return factors
        case Power(base, exponent):
            return (base, exponent)
        case Call(_, arguments):
            return arguments
    return ()


CONSTANTS = {"pi", "e", "i", "infty", "emptyset"}


def names(node: Node) -> set[str]:
    """The variables of an expression."""
    if isinstance(node, Name):
        return {node.name} - CONSTANTS
    return set().union(*(names(child) for child in children(node)))


def has(node: Node, *functions: str) -> bool:
    """Whether an expression calls one of these functions."""
    if isinstance(node, Call) and node.function in functions:
        return True
    return any(has(child, *functions) for child in children(node))


def choose_sign(node: Node, upper: bool) -> Node:
    r"""The expression with the upper, or lower, sign of every `\pm` and `\mp`."""
    match node:
        case Call("pm" | "mp" as sign, (inner,)):
            inner = choose_sign(inner, upper)
            return inner if (sign == "pm") == upper else negative(inner)
        case Sum(terms):
            return Sum(tuple(choose_sign(term, upper) for term in terms))
        case Product(factors):
            return Product(tuple(choose_sign(factor, upper) for factor in factors))
        case Power(base, exponent):
            return Power(choose_sign(base, upper), choose_sign(exponent, upper))
        case Call(function, arguments):
            return Call(function, tuple(choose_sign(argument, upper) for argument in arguments))
    return node
