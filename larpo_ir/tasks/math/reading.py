r"""From tokens to an answer. Brackets keep their tokens together, so that nothing is split inside of braces.

Each form looks at the tokens in turn. The first that knows them reads them, and the tokens inside in the same way.
This module has the forms that hold other answers. Words, matrices and quantities have modules of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from larpo_ir.tasks.math import lists, sets
from larpo_ir.tasks.math.answers import MAX_ITEMS, Answer, Named, Ordered, Reading, Region, Unordered
from larpo_ir.tasks.math.bases import based
from larpo_ir.tasks.math.brackets import split, wrapped
from larpo_ir.tasks.math.clocks import clock
from larpo_ir.tasks.math.matrices import matrix
from larpo_ir.tasks.math.naming import name_of
from larpo_ir.tasks.math.quantities import quantity
from larpo_ir.tasks.math.regions import as_region
from larpo_ir.tasks.math.relations import agree, compared, equation_of, names_of
from larpo_ir.tasks.math.tokens import Token, Unreadable
from larpo_ir.tasks.math.trimming import bare, has_matrix, ungrouped
from larpo_ir.tasks.math.wording import exception, in_words

_EQUALITIES = {"=", "~"}
_COMPARISONS = {"<", "<=", ">", ">=", "!=", "="}
_ORDERED = ("()", "[", "<>")  # brackets whose items have an order


def read(run: Sequence[Token], how: Reading) -> Answer:
    """Return the answer that tokens write.

    Raises:
        Unreadable: when no form knows the tokens.
    """
    run = bare(run)
    if not run:
        raise Unreadable("nothing")
    if not how.grouped:
        run = ungrouped(run)
    for form in (clock, in_words, based, _excepted, _implied, _listed, _related, _region, _bracketed, matrix):
        answer = form(run, how)
        if answer is not None:
            return answer
    return quantity(run, how)


def _excepted(run: list[Token], how: Reading) -> Answer | None:
    """Read `all real numbers except 2`."""
    spelled = exception(run)
    return _region(spelled, how) if spelled is not None else None


def _implied(run: list[Token], how: Reading) -> Answer | None:
    r"""Read the last relation alone of `2x = 8 \implies x = 4`."""
    parts, arrows = split(run, lambda token: token[:2] == ("sep", "implies"))
    if not arrows:
        return None
    if not all(any(token.kind == "rel" for token in part) for part in parts):
        raise Unreadable("an implication that is no calculation")
    return read(parts[-1], how)


def _listed(run: list[Token], how: Reading) -> Answer | None:
    """Read items between commas, `and` or `or`: as one set of numbers, one quantity, or a list."""
    if not has_matrix(run):
        run = lists.separated(run)
    parts, between = split(run, lists.separates)
    parts = [part for part in parts if part]
    if lists.has_bound(parts):
        raise Unreadable("a bound, which is no number")
    if lists.counts_words(run, parts):
        return quantity(lists.as_words(run), how)
    if len(parts) < 2:
        return read(parts[0], how) if between and parts else None
    items = lists.unconditional(_items(parts, how))
    if len(items) == 1:
        return items[0]
    together = lists.one_region(items, between) or lists.one_quantity(items, between)
    return together or Unordered(lists.flat(items), joined=True)


def _items(parts: Sequence[Sequence[Token]], how: Reading) -> list[Answer]:
    if len(parts) > MAX_ITEMS:
        raise Unreadable("a list of too many items")
    return [read(part, how) for part in parts]


# --- Relations ----------------------------------------------------------------------------------------------


def _related(run: list[Token], how: Reading) -> Answer | None:
    """Read an equation, a chain of them, an inequality, or `x \\in`."""
    sides, relations = split(run, lambda token: token.kind == "rel")
    if not relations:
        return None
    if not sides[0]:  # `\approx 12`, `= 5`; `> 5` is no number
        if relations[0].text in ("=", "~", "in"):
            return read(run[1:], how)
        raise Unreadable("a relation without a left side")
    if not all(sides):
        raise Unreadable("a relation without a side")
    kinds = {relation.text for relation in relations}
    if kinds <= _EQUALITIES:
        return _equated(sides, relations, how)
    if kinds == {"in"} and len(sides) == 2:
        return Named(name_of(sides[0], how) or "?", (read(sides[1], how),))
    if kinds <= _COMPARISONS:
        return compared(sides, [relation.text for relation in relations])
    raise Unreadable("relations that do not go together")


def _equated(sides: list[list[Token]], relations: list[Token], how: Reading) -> Answer:
    """Read `x = 1/3 = 0.333`: a name for a value, or an equation where the left side is no name."""
    sides, name = _with_name(sides, how)
    equation = equation_of(sides[0], sides[-1])
    if name is None and equation is None and has_matrix(sides[-1]):  # A^{-1} = \begin{pmatrix}
        name = "?"
    if name is None:
        if equation is None:
            raise Unreadable("sides that are no expressions")
        return equation
    first = 1 if name else 0  # a number on the left is a value too
    values = _agreeing(sides[first:], relations[first:], how)
    return Named(name, values, equation if name and names_of(sides[-1]) is not None else None)


def _with_name(sides: list[list[Token]], how: Reading) -> tuple[list[list[Token]], str | None]:
    """Return the sides with the name in front (`5 = x` turned round), and the name as `name_of` tells it."""
    if based(sides[0], how) is not None:
        name: str | None = ""
    else:
        name = name_of(sides[0], how, zero=[token.text for token in sides[-1]] == ["0"])
    if name == "" and len(sides) == 2 and len(sides[1]) == 1:
        behind = name_of(sides[1], how)
        return (sides[::-1], behind) if behind else (sides, name)
    return sides, name


def _agreeing(sides: list[list[Token]], relations: list[Token], how: Reading) -> tuple[Answer, ...]:
    """Read the last side, and keep with it the sides right before it that agree with it."""
    before = [_attempt(side, how) for side in sides[:-1]]
    kept = [read(sides[-1], how)]
    for value, relation in zip(reversed(before), reversed(relations), strict=True):
        if value is None or not agree(value, kept[0], relation.text):
            break
        kept.insert(0, value)
    return tuple(kept)


def _attempt(side: list[Token], how: Reading) -> Answer | None:
    r"""Read a side in between, which may be words: `P = \frac{\text{favorable}}{\text{total}} = \frac{1}{2}`."""
    try:
        return read(side, how)
    except Unreadable:
        return None


# --- Sets and brackets --------------------------------------------------------------------------------------


def _region(run: list[Token], how: Reading) -> Answer | None:
    """Read sets of numbers that signs combine."""
    parts, signs = sets.operands(run)
    if not signs:
        return None
    regions = [region for part in parts if (region := as_region(read(part, how))) is not None]
    if len(regions) < len(parts):
        raise Unreadable("a union of what are no sets of numbers")
    return sets.combined(regions, signs)


def _bracketed(run: list[Token], how: Reading) -> Answer | None:
    """Read a set, a pair or an interval; or words or relations that have brackets around them."""
    if not wrapped(run):
        return None
    shape, inside = run[0].text, run[1:-1]
    if shape == "{}":
        return _set(inside, how)
    parts = _coordinates(inside, shape)
    if len(parts) == 1:
        more = shape == "()" and any(token.kind in ("rel", "word", "sep") for token in inside)
        return read(inside, how) if more else None
    if shape not in _ORDERED or not all(parts):
        raise Unreadable("brackets that hold no list")
    return Ordered(tuple(_items(parts, replace(how, grouped=False))), shape, run[-1].text)


def _coordinates(inside: list[Token], shape: str) -> list[list[Token]]:
    """Split at commas; where no comma stands alone, split numerals at theirs too: `(1,200)` is a pair."""
    parts, commas = split(inside, _is_comma)
    if commas or shape not in _ORDERED:
        return parts
    return split(ungrouped(inside), _is_comma)[0]


def _is_comma(token: Token) -> bool:
    return token[:2] == ("sep", ",")


def _set(inside: list[Token], how: Reading) -> Answer:
    """Read a set in braces: an empty one, its items, or its condition (`x | x > 2`)."""
    parts, bars = split(inside, lambda token: token[:2] in (("mark", "bar"), ("op", ":")))
    if len(bars) == 1 and any(token.kind == "rel" for token in parts[1]):
        return read(parts[1], how)
    if not inside:
        return Region(())
    parts, _ = split(ungrouped(inside), lambda token: token.kind == "sep" and token.text in (",", "and"))
    if len(parts) > MAX_ITEMS:
        raise Unreadable("a set of too many items")
    return Unordered(lists.flat([read(part, how) for part in parts if part]), braced=True)
