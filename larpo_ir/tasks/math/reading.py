r"""Tokens to an answer. Brackets keep together what is in them, so that nothing is split inside of braces.

Each form looks at the tokens in turn; the first that knows them reads them, and reads what they hold in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from larpo_ir.tasks.math import values
from larpo_ir.tasks.math.answers import (
    MAX_ITEMS,
    Answer,
    Equation,
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
from larpo_ir.tasks.math.expressions import Call, Name, Node, Num, Power, Product, Sum, names, negative
from larpo_ir.tasks.math.parser import parse
from larpo_ir.tasks.math.quantities import based, clock, quantity
from larpo_ir.tasks.math.regions import FLIPPED, as_region, everything, half_line, intersection, union
from larpo_ir.tasks.math.tokens import Token, Unreadable

_FILLER = """about around approximately roughly exactly simply just only thus therefore is are was be the total of
answer final value equals equal we get so hence an"""
_FILLERS = frozenset(_FILLER.split())
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
    for form in (_words, clock, based, _listed, _related, _region, _bracketed, _matrix):
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
    said = tuple(token.text for token in run if token.kind == "word" and token.text not in _ARTICLES)
    whole = _REGIONS.get(" ".join(said))
    if whole is not None:
        return everything() if whole else Region(())
    return Text(said)


def _listed(run: list[Token], how: Reading) -> Answer | None:
    def separates(token: Token) -> bool:
        return token.kind == "sep" and token.text in (",", "and", "or", "\\")

    if not _has_matrix(run):
        pieces, _ = split(run, lambda token: token[:2] == ("sep", "quad"))
        related = all(any(token.kind == "rel" for token in piece) for piece in pieces)
        kept = Token("sep", ",")
        run = [token for i, piece in enumerate(pieces) for token in ([kept] * (i > 0 and related) + piece)]
    parts, between = split(run, separates)
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return read(parts[0], how) if between and parts else None
    if len(parts) > MAX_ITEMS:
        raise Unreadable("a list of too many items")
    items = [read(part, how) for part in parts]
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
    smallest = quantities[-1]
    terms = tuple(Product((item.node, Num(item.beside.size / smallest.beside.size))) for item in quantities)
    return Quantity(Sum(terms), smallest.beside)


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
        return Named(_name(sides[0], how) or "?", (read(sides[1], how),))
    if kinds <= {"<", "<=", ">", ">=", "!=", "="}:
        return _compared(sides, [relation.text for relation in relations])
    raise Unreadable("relations that do not go together")


def _equated(sides: list[list[Token]], relations: list[Token], how: Reading) -> Answer:
    name = _name(sides[0], how, zero=[token.text for token in sides[-1]] == ["0"])
    equation = _equation(sides[0], sides[-1])
    if name is None:
        if equation is None:
            raise Unreadable("sides that are no expressions")
        return equation
    answers = [read(side, how) for side in sides[1:]]
    if name == "" and len(sides) > 1:  # a number on the left is a value too
        answers.insert(0, read(sides[0], how))
        relations = [relations[0], *relations]
    kept = [answers[-1]]
    for index in range(len(answers) - 2, -1, -1):
        if not _agree(answers[index], kept[0], relations[index + 1].text):
            break
        kept.insert(0, answers[index])
    return Named(name, tuple(kept), equation if name and names_of(sides[-1]) is not None else None)


def names_of(run: Sequence[Token]) -> set[str] | None:
    try:
        return names(parse(run))
    except Unreadable:
        return None


def _agree(before: Answer, after: Answer, relation: str) -> bool:
    """Whether one side of a chain is the other, or that one rounded: then both are the answer."""
    if not isinstance(before, Quantity) or not isinstance(after, Quantity):
        return False
    try:
        return values.same(before.node, after.node) or values.rounds_to(
            before.node, after.node, 0 if relation == "~" else 1
        )
    except Unreadable:
        return False


def _name(side: list[Token], how: Reading, zero: bool = False) -> str | None:
    """The name that an equation gives to its right side; "" for a number on the left, None for an equation.

    A name is a letter, words, `f(x)`, `\\sin x`, `(x, y)`, `\\angle ABC`, or, unless `how.equations`, a quantity that
    letters make (`_is_quantity`). `zero`: the right side is 0.
    """
    text = " ".join(token.text for token in side)
    if any(token.kind == "word" for token in side):
        return (
            text
            if all(token.kind in ("word", "name", "open", "close", "op", "num") for token in side)
            else None
        )
    if wrapped(side) and side[0].text in ("()", "<>"):
        return (
            text
            if all(token.kind in ("name", "open", "close") or token[:2] == ("sep", ",") for token in side)
            else None
        )
    try:
        node = parse(side)
    except Unreadable:
        return None
    if not names(node):
        return "" if not isinstance(node, Name) else text
    match node:
        case Name() | Call():
            return text
        case Power(Name() | Call(), Num()) if not how.equations and isinstance(node.base, Call):
            return text
        case Power(Name(name), _) if name in ("f", "g", "h"):  # f^{-1}
            return text
        case Product(factors) if len(factors) == 2 and isinstance(factors[0], Power):
            if isinstance(factors[0].base, Name) and factors[0].base.name in ("f", "g", "h"):  # f^{-1}(x)
                return text
    capitals = [
        token for token in side if token.kind == "name" and len(token.text) == 1 and token.text.isupper()
    ]
    if len(capitals) == len(side):  # AB, the length of a segment
        return text
    return text if not how.equations and len(names(node)) > 1 and _is_quantity(node, zero) else None


def _is_quantity(node: Node, zero: bool) -> bool:
    """Whether a left side is a value asked for: `m + n`, `x^2 + y^2`, `100a + b`; not `3x + 2y`, nor `x + y` if 0."""
    coordinates = bool(names(node) & {"x", "y", "z"})
    return (_is_plain(node) and not (coordinates and zero)) or (
        not coordinates and not zero and _is_plain(node, True)
    )


def _is_plain(node: Node, coefficients: bool = False) -> bool:
    """Letters, added, subtracted, multiplied or divided, with or without coefficients."""
    match node:
        case Name() | Call():
            return True
        case Num(value):
            return coefficients or value == -1
        case Sum(parts) | Product(parts):
            return all(_is_plain(part, coefficients) for part in parts)
        case Power(base, Num(value)):
            return _is_plain(base, coefficients) and value in (-1, 2, 3)
    return False


def _equation(left: Sequence[Token], right: Sequence[Token]) -> Equation | None:
    try:
        difference = Sum((parse(left), negative(parse(right))))
    except Unreadable:
        return None
    return Equation(((difference, "="),)) if names(difference) else None


def _compared(sides: list[list[Token]], relations: list[str]) -> Answer:
    nodes = [parse(_unworded(side)) for side in sides]
    found: list[tuple[Node, str]] = []
    for left, right, relation in zip(nodes, nodes[1:], relations, strict=False):
        if relation in (">", ">="):
            left, right, relation = right, left, FLIPPED[relation]
        found.append((Sum((left, negative(right))), relation))
    equation = Equation(tuple(found))
    variables = [index for index, node in enumerate(nodes) if names(node)]
    if len(variables) != 1 or not isinstance(nodes[variables[0]], Name):
        return equation
    region = everything()
    for index, (left, right, relation) in enumerate(zip(nodes, nodes[1:], relations, strict=False)):
        if index == variables[0]:
            region = intersection([region, half_line(relation, right)])
        elif index + 1 == variables[0]:
            region = intersection([region, half_line(FLIPPED[relation], left)])
    return Named(nodes[variables[0]].name, (region,), equation)  # type: ignore[union-attr]


def _unworded(side: Sequence[Token]) -> list[Token]:
    """Without a unit at the end of a side (`x > 5 cm`)."""
    end = len(side)
    while end > 1 and side[end - 1].kind == "word":
        end -= 1
    return list(side[:end])


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
                mp = values._mp()
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
    if not run or run[0].kind != "cmd" or not run[0].text.startswith("begin "):
        return None
    name = run[0].text.removeprefix("begin ")
    if name not in _MATRICES or run[-1][:2] != ("cmd", f"end {name}"):
        raise Unreadable(f"the environment {name}")
    rows, _ = split(run[1:-1], lambda token: token[:2] == ("sep", "\\"))
    if name == "vmatrix":
        raise Unreadable("a determinant")
    cells = [split(row, lambda token: token[:2] == ("sep", "&"))[0] for row in rows if row]
    if sum(map(len, cells)) > MAX_ITEMS:
        raise Unreadable("a matrix of too many entries")
    return Matrix(tuple(tuple(parse(cell) for cell in row) for row in cells))
