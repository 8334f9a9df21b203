"""Lists of answers: the tokens that part their items, and the one answer that items may be together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from larpo_ir.tasks.math.answers import Answer, Named, Quantity, Region, Unordered
from larpo_ir.tasks.math.brackets import split
from larpo_ir.tasks.math.expressions import Num, Product, Sum
from larpo_ir.tasks.math.regions import intersection, union
from larpo_ir.tasks.math.tokens import Token
from larpo_ir.tasks.math.units import Beside

_BOUNDS = {
    "more", "less", "fewer", "greater", "higher", "lower", "larger", "smaller", "above", "below", "under", "over",
}  # fmt: skip
_SEPARATORS = (",", "and", "or", "\\")


# --- Tokens -------------------------------------------------------------------------------------------------


def separates(token: Token) -> bool:
    """Tell whether a token stands between two items."""
    return token.kind == "sep" and token.text in _SEPARATORS


def separated(run: list[Token]) -> list[Token]:
    r"""Put `,` for `\quad` between relations, and `or` for `\cup`; a `\quad` between other tokens only parts them."""
    return _with_or(_with_commas(run))


def _with_commas(run: list[Token]) -> list[Token]:
    pieces, _ = split(run, lambda token: token[:2] == ("sep", "quad"))
    related = all(any(token.kind == "rel" for token in piece) for piece in pieces)
    return _between(pieces, [Token("sep", ",")] if related else [])


def _with_or(run: list[Token]) -> list[Token]:
    r"""Spell `x < 1 \cup x > 2` as `x < 1 or x > 2`."""
    pieces, cups = split(run, lambda token: token[:2] == ("cmd", "cup"))
    related = all(any(token.kind == "rel" and token.text != "in" for token in piece) for piece in pieces)
    return _between(pieces, [Token("sep", "or")]) if cups and related else run


def _between(pieces: list[list[Token]], mark: list[Token]) -> list[Token]:
    joined = list(pieces[0])
    for piece in pieces[1:]:
        joined += [*mark, *piece]
    return joined


def has_bound(parts: Sequence[Sequence[Token]]) -> bool:
    """Tell whether words behind the first part make it a bound: `7 or more`."""
    return any(_is_worded(part) and part[0].text in _BOUNDS for part in parts[1:])


def as_words(run: Sequence[Token]) -> list[Token]:
    """Take separators for words."""
    return [Token("word", token.text) if token.kind == "sep" else token for token in run]


def counts_words(run: Sequence[Token], parts: Sequence[Sequence[Token]]) -> bool:
    """Tell whether the items are words that one number counts: `15 apples and oranges`."""
    return bool(run) and run[0].kind == "num" and any(_is_worded(part) for part in parts[1:])


def _is_worded(part: Sequence[Token]) -> bool:
    return all(token.kind == "word" for token in part)


# --- Answers ------------------------------------------------------------------------------------------------


def unconditional(items: list[Answer]) -> list[Answer]:
    r"""Drop conditions behind a value: `x + 3, x \ne 2`."""
    kept = [item for item in items if not _is_condition(item)]
    return kept if kept and not isinstance(kept[0], Region) else items


def _is_condition(item: Answer) -> bool:
    return isinstance(item, Named) and item.equation is not None and item.equation.differences[0][1] == "!="


def flat(items: Sequence[Answer]) -> tuple[Answer, ...]:
    r"""Count `1 \pm \sqrt{5}` within a list as two of its items."""
    return tuple(
        inner
        for item in items
        for inner in (item.items if isinstance(item, Unordered) and not item.braced else (item,))
    )


def one_region(items: Sequence[Answer], between: Sequence[Token]) -> Region | None:
    """Return the set of numbers that inequalities describe together; None where an item is no inequality."""
    values = [item.values[0] for item in items if isinstance(item, Named) and len(item.values) == 1]
    regions = [value for value in values if isinstance(value, Region)]
    if len(regions) < len(items):
        return None
    both, either = intersection(regions), union(regions)
    # `x < 2 and x > 3` means both parts of a union.
    return either if any(token.text == "or" for token in between) or not both.spans else both


def _descend(units: Sequence[Beside]) -> bool:
    """Tell whether units are of one kind, each smaller than the one before."""
    kinds = {tuple(sorted(unit.unit().items())) for unit in units}
    return len(kinds) == 1 and () not in kinds and all(a.size > b.size for a, b in pairwise(units))


def one_quantity(items: Sequence[Answer], between: Sequence[Token]) -> Quantity | None:
    """Add `2 hours and 30 minutes`: units of one kind, each smaller than the one before."""
    quantities = [item for item in items if isinstance(item, Quantity)]
    if {token.text for token in between} != {"and"} or len(quantities) < len(items):
        return None
    if not _descend([item.beside for item in quantities]):
        return None
    # 18 dollars and 50 cents are 18.50, in the larger unit; 2 hours and 30 minutes are 150, in the smaller one.
    unit = quantities[0 if "money" in quantities[0].beside.unit() else -1].beside
    terms = tuple(Product((item.node, Num(item.beside.size / unit.size))) for item in quantities)
    return Quantity(Sum(terms), unit)
