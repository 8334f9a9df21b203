r"""Tokens to an answer. Brackets keep together what is in them, so that nothing is split inside of braces.

Each form looks at the tokens in turn; the first that knows them reads them, and reads what they hold in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from larpo_ir.tasks.math import units, values
from larpo_ir.tasks.math.answers import (
    MAX_ITEMS,
    Answer,
    Matrix,
    Named,
    Ordered,
    Quantity,
    Reading,
    Region,
    Text,
    Unordered,
    split,
    wrapped,
)
from larpo_ir.tasks.math.expressions import Name, Num, Product, Sum, negative
from larpo_ir.tasks.math.parser import parse
from larpo_ir.tasks.math.quantities import NUMBER_WORDS, based, clock, quantity
from larpo_ir.tasks.math.regions import as_region, everything, intersection, union
from larpo_ir.tasks.math.relations import agree, compared, equation_of, name_of, names_of
from larpo_ir.tasks.math.tokens import Token, Unreadable

_FILLER = """about around approximately roughly exactly simply just only thus therefore is are was be the total of
answer final value equals equal we get so hence an usd inr rs there they it he she has have had gets will
needs"""
_FILLERS = frozenset(_FILLER.split())
_BOUNDS = {
    "more",
    "less",
    "fewer",
    "greater",
    "higher",
    "lower",
    "larger",
    "smaller",
    "above",
    "below",
    "under",
    "over",
}
_ARTICLES = {"the", "an", "a"}
_REGIONS = {
    "all real numbers": True, "all reals": True, "real numbers": True, "all real": True, "reals": True,
    "no solution": False, "no solutions": False, "no real solution": False, "no real solutions": False,
    "none": False, "empty set": False, "no real roots": False,
}  # fmt: skip


def read(run: Sequence[Token], how: Reading) -> Answer:
    """The answer that tokens write.

    Raises:
        Unreadable: no form that is known here.
    """
    run = _bare(run)
    if not run:
        raise Unreadable("nothing")
    if not how.grouped:
        run = _ungrouped(run)
    for form in (clock, _words, based, _excepted, _implied, _listed, _related, _region, _bracketed, _matrix):
        answer = form(run, how)
        if answer is not None:
            return answer
    return quantity(run, how)


def _bare(run: Sequence[Token]) -> list[Token]:
    """Without full stops, separators and fillers at the ends, and without braces around everything."""
    run = [token for token in run if token[:2] != ("sep", "&")] if not _has_matrix(run) else list(run)
    for _ in range(10):
        before = len(run)
        while run and (run[-1].kind == "sep" or run[-1][:2] in (("mark", "."), ("mark", "?"), ("op", ":"))):
            run = run[:-1]
        while run and (run[0].kind == "sep" or run[0][:2] == ("mark", ".")):
            run = run[1:]
        while len(run) > 1 and run[0].kind == "word" and run[0].text in _FILLERS:
            run = run[1:]
        if run[:1] and run[0][:2] in (("op", ":"), ("rel", "="), ("rel", "~")) and len(run) > 1:
            run = run[1:]
        if wrapped(run) and run[0].text == "group":
            run = run[1:-1]
        if len(run) == before:
            break
    # `Total: 5`
    labels = next((i for i, token in enumerate(run) if token.kind != "word"), 0)
    return run[labels + 1 :] if labels and run[labels][:2] == ("op", ":") and len(run) > labels + 1 else run


def _has_matrix(run: Sequence[Token]) -> bool:
    return any(token.kind == "cmd" and token.text.startswith("begin ") for token in run)


def _ungrouped(run: Sequence[Token]) -> list[Token]:
    """`1,200` as two numbers."""
    found: list[Token] = []
    for token in run:
        pieces = token.text.split(",") if token.kind == "num" else [token.text]
        for index, piece in enumerate(pieces):
            found += [Token("sep", ",")] * (index > 0) + [token._replace(text=piece)]
    return found


def _words(run: list[Token], how: Reading) -> Answer | None:
    if not all(token.kind == "word" or token[:2] in (("op", "-"), ("mark", "'")) for token in run):
        return None
    words = [token for token in run if token.kind == "word"]
    kept = [token for token in words if token.text not in _ARTICLES] or words  # (A) is a choice
    said = tuple(token.text for token in kept)
    whole = _REGIONS.get(" ".join(said))
    if whole is not None:
        return everything() if whole else Region(())
    minus = len(said) > 1 and said[0] in ("minus", "negative")
    if said[minus:] == ("infinity",):
        return Quantity(negative(Name("infty")) if minus else Name("infty"), units.read([]))
    number, width = _said_number(said[minus:])
    if width and all(units.is_known(word) for word in said[minus + width :]):  # `five percent`
        return Quantity(Num(Fraction(-number if minus else number)), units.read(kept[minus + width :]))
    return Text(("does", "not", "exist") if said == ("dne",) else said)


_EXCEPT = {"except", "excluding", "besides", "without"}


def _excepted(run: list[Token], how: Reading) -> Answer | None:
    """`all real numbers except 2`."""
    said = next((i for i, token in enumerate(run) if token.kind != "word"), len(run))
    words = [token.text for token in run[:said]]
    at = next((i for i, word in enumerate(words) if word in _EXCEPT), None)
    if at is None or not _REGIONS.get(" ".join(word for word in words[:at] if word not in _ARTICLES)):
        return None
    rest = run[said:]
    if [token.kind for token in rest[:2]] == ["name", "rel"]:  # except x = 2
        rest = rest[2:]
    return _region(
        [Token("name", "bbR"), Token("cmd", "setminus"), Token("open", "{}"), *rest, Token("close", "{}")],
        how,
    )


def _said_number(words: Sequence[str]) -> tuple[int, int]:
    """The number that words begin with, and of how many words it is: `twenty five`."""
    numbers = [NUMBER_WORDS.get(word, -1) for word in words[:2]]
    if len(numbers) == 2 and numbers[0] >= 20 and 0 < numbers[1] < 10:
        return sum(numbers), 2
    return (numbers[0], 1) if numbers and numbers[0] >= 0 else (0, 0)


def _implied(run: list[Token], how: Reading) -> Answer | None:
    r"""`2x = 8 \\implies x = 4` says what its last relation says."""
    parts, arrows = split(run, lambda token: token[:2] == ("sep", "implies"))
    if not arrows:
        return None
    if not all(any(token.kind == "rel" for token in part) for part in parts):
        raise Unreadable("an implication that is no calculation")
    return read(parts[-1], how)


def _listed(run: list[Token], how: Reading) -> Answer | None:
    def separates(token: Token) -> bool:
        return token.kind == "sep" and token.text in (",", "and", "or", "\\")

    if not _has_matrix(run):
        pieces, _ = split(run, lambda token: token[:2] == ("sep", "quad"))
        related = all(any(token.kind == "rel" for token in piece) for piece in pieces)
        kept = Token("sep", ",")
        run = [token for i, piece in enumerate(pieces) for token in ([kept] * (i > 0 and related) + piece)]
        run = _joined(run)
    parts, between = split(run, separates)
    parts = [part for part in parts if part]
    if any(_worded(part) and part[0].text in _BOUNDS for part in parts[1:]):
        raise Unreadable("a bound, which is no number")  # `7 or more`
    if any(token.kind == "num" for token in run[:1]) and any(_worded(part) for part in parts[1:]):
        # `15 apples and oranges`
        return quantity([Token("word", token.text) if token.kind == "sep" else token for token in run], how)
    if len(parts) < 2:
        return read(parts[0], how) if between and parts else None
    if len(parts) > MAX_ITEMS:
        raise Unreadable("a list of too many items")
    items = _unconditional([read(part, how) for part in parts])
    if len(items) == 1:
        return items[0]
    if all(
        isinstance(item, Named) and len(item.values) == 1 and isinstance(item.values[0], Region)
        for item in items
    ):
        regions = [item.values[0] for item in items if isinstance(item, Named)]
        both = intersection([region for region in regions if isinstance(region, Region)])
        either = union([region for region in regions if isinstance(region, Region)])
        # `x < 2 and x > 3` means both parts of a union.
        return either if any(token.text == "or" for token in between) or not both.spans else both
    return _summed(items, between) or Unordered(_flat(items), joined=True)


def _unconditional(items: list[Answer]) -> list[Answer]:
    """Without conditions behind a value: `x + 3, x \\ne 2`."""
    kept = [
        item
        for item in items
        if not (isinstance(item, Named) and item.equation and item.equation.differences[0][1] == "!=")
    ]
    return kept if kept and not isinstance(kept[0], Region) else items


def _joined(run: list[Token]) -> list[Token]:
    """`x < 1 \\cup x > 2` as `x < 1 or x > 2`."""
    pieces, cups = split(run, lambda token: token[:2] == ("cmd", "cup"))
    if not cups or not all(
        any(token.kind == "rel" and token.text != "in" for token in piece) for piece in pieces
    ):
        return run
    joined = pieces[0]
    for piece in pieces[1:]:
        joined = [*joined, Token("sep", "or"), *piece]
    return joined


def _worded(part: Sequence[Token]) -> bool:
    return all(token.kind == "word" for token in part)


def _flat(items: Sequence[Answer]) -> tuple[Answer, ...]:
    """`1 \\pm \\sqrt{5}` within a list is two of its items."""
    return tuple(
        inner
        for item in items
        for inner in (item.items if isinstance(item, Unordered) and not item.braced else (item,))
    )


def _summed(items: list[Answer], between: list[Token]) -> Answer | None:
    """`2 hours and 30 minutes` is one quantity: the units of one kind, each smaller than the one before."""
    if {token.text for token in between} != {"and"}:
        return None
    quantities = [item for item in items if isinstance(item, Quantity)]
    if len(quantities) < len(items):
        return None
    kinds = {tuple(sorted(item.beside.unit().items())) for item in quantities}
    sizes = [item.beside.size for item in quantities]
    if len(kinds) != 1 or () in kinds or any(a <= b for a, b in pairwise(sizes)):
        return None
    # 18 dollars and 50 cents are 18.50, in the larger unit; 2 hours and 30 minutes are 150, in the smaller one.
    unit = quantities[0 if "money" in quantities[0].beside.unit() else -1].beside
    terms = tuple(Product((item.node, Num(item.beside.size / unit.size))) for item in quantities)
    return Quantity(Sum(terms), unit)


# --- Relations ----------------------------------------------------------------------------------------------


def _related(run: list[Token], how: Reading) -> Answer | None:
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
    if kinds <= {"=", "~"}:
        return _equated(sides, relations, how)
    if kinds == {"in"} and len(sides) == 2:
        return Named(name_of(sides[0], how) or "?", (read(sides[1], how),))
    if kinds <= {"<", "<=", ">", ">=", "!=", "="}:
        return compared(sides, [relation.text for relation in relations])
    raise Unreadable("relations that do not go together")


def _equated(sides: list[list[Token]], relations: list[Token], how: Reading) -> Answer:
    name = (
        ""
        if based(sides[0], how) is not None
        else name_of(sides[0], how, zero=[token.text for token in sides[-1]] == ["0"])
    )
    if name == "" and len(sides) == 2 and len(sides[1]) == 1 and name_of(sides[1], how):  # `5 = x`
        sides, name = sides[::-1], name_of(sides[1], how)
    equation = equation_of(sides[0], sides[-1])
    if name is None and equation is None and _has_matrix(sides[-1]):  # A^{-1} = \\begin{pmatrix}
        name = "?"
    if name is None:
        if equation is None:
            raise Unreadable("sides that are no expressions")
        return equation
    answers = [_attempt(side, how) for side in sides[1:]]
    if name == "" and len(sides) > 1:  # a number on the left is a value too
        answers.insert(0, _attempt(sides[0], how))
        relations = [relations[0], *relations]
    kept = [read(sides[-1], how)]
    for index in range(len(answers) - 2, -1, -1):
        before = answers[index]
        if before is None or not agree(before, kept[0], relations[index + 1].text):
            break
        kept.insert(0, before)
    return Named(name, tuple(kept), equation if name and names_of(sides[-1]) is not None else None)


def _attempt(side: list[Token], how: Reading) -> Answer | None:
    """A side in between, which may be words: `P = \\frac{\\text{favorable}}{\\text{total}} = \\frac{1}{2}`."""
    try:
        return read(side, how)
    except Unreadable:
        return None


# --- Sets, brackets, matrices -------------------------------------------------------------------------------


def _region(run: list[Token], how: Reading) -> Answer | None:
    parts, between = split(
        run, lambda token: token.kind == "cmd" and token.text in ("cup", "cap", "setminus")
    )
    minus = [i for i, token in enumerate(run) if token[:2] == ("op", "-")]
    if not between and minus and run[0][:2] == ("name", "bbR") and minus[0] == 1:
        parts, between = [run[:1], run[2:]], [Token("cmd", "setminus")]
    if not between:
        return None
    regions = [as_region(read(part, how)) for part in parts]
    if any(region is None for region in regions):
        raise Unreadable("a union of what are no sets of numbers")
    result = regions[0] or Region(())
    for token, region in zip(between, regions[1:], strict=True):
        region = region or Region(())
        if token.text == "setminus":
            for low, high, closed, shut in region.spans:
                mp = values.context()
                outside = Region(((-mp.inf, low, False, not closed), (high, mp.inf, not shut, False)))
                result = intersection([result, outside])
        else:
            result = (union if token.text == "cup" else intersection)([result, region])
    return result


def _bracketed(run: list[Token], how: Reading) -> Answer | None:
    if not wrapped(run):
        return None
    shape, inside = run[0].text, run[1:-1]
    if shape == "{}":
        return _set(inside, how)
    parts, commas = split(inside, lambda token: token[:2] == ("sep", ","))
    if (
        not commas
        and shape in ("()", "[", "<>")
        and any(token.kind == "num" and "," in token.text for token in inside)
    ):
        # `(1,200)`: in brackets a comma separates.
        parts, commas = split(_ungrouped(inside), lambda token: token[:2] == ("sep", ","))
    if not commas:
        if shape == "()" and any(token.kind in ("rel", "word", "sep") for token in inside):
            return read(inside, how)
        return None
    if shape not in ("()", "[", "<>") or not all(parts):
        raise Unreadable("brackets that hold no list")
    if len(parts) > MAX_ITEMS:
        raise Unreadable("a list of too many items")
    inner = replace(how, grouped=False)
    return Ordered(tuple(read(part, inner) for part in parts), shape, run[-1].text)


def _set(inside: list[Token], how: Reading) -> Answer:
    parts, bars = split(inside, lambda token: token[:2] in (("mark", "bar"), ("op", ":")))
    if len(bars) == 1 and any(token.kind == "rel" for token in parts[1]):
        return read(parts[1], how)  # { x | x > 2 }
    if not inside:
        return Region(())
    parts, _ = split(_ungrouped(inside), lambda token: token.kind == "sep" and token.text in (",", "and"))
    if len(parts) > MAX_ITEMS:
        raise Unreadable("a set of too many items")
    return Unordered(_flat([read(part, how) for part in parts if part]), braced=True)


_MATRICES = {"matrix", "pmatrix", "bmatrix", "vmatrix", "Bmatrix", "smallmatrix", "array"}


def _matrix(run: list[Token], how: Reading) -> Answer | None:
    while wrapped(run):
        run = run[1:-1]
    begins = next((i for i, token in enumerate(run) if token.text.startswith("begin ")), None)
    if begins is None:
        return None
    factor, run = run[:begins], run[begins:]  # `\\frac{1}{2} \\begin{pmatrix}`
    if factor and factor[-1][:2] == ("op", "*"):
        factor = factor[:-1]
    if [token[:2] for token in factor] == [("op", "-")]:
        factor = [*factor, Token("num", "1")]
    scale = parse(factor) if factor else None
    name = run[0].text.removeprefix("begin ")
    if name not in _MATRICES or run[-1][:2] != ("cmd", f"end {name}"):
        raise Unreadable(f"the environment {name}")
    rows, _ = split(run[1:-1], lambda token: token[:2] == ("sep", "\\"))
    if name == "vmatrix":
        raise Unreadable("a determinant")
    cells = [split(row, lambda token: token[:2] == ("sep", "&"))[0] for row in rows if row]
    if sum(map(len, cells)) > MAX_ITEMS:
        raise Unreadable("a matrix of too many entries")
    entries = [[parse(cell) for cell in row] for row in cells]
    return Matrix(tuple(tuple(Product((scale, node)) if scale else node for node in row) for row in entries))
