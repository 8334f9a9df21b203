r"""Which answers are equal. Marks (AM, N) that gold lacks do not count, so `equal(gold, found)` is not symmetric."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from larpo_ir.tasks.math import sameness
from larpo_ir.tasks.math.answers import (
    Answer,
    Based,
    Clock,
    Equation,
    Matrix,
    Named,
    Ordered,
    Quantity,
    Reading,
    Region,
    Text,
    Unordered,
)
from larpo_ir.tasks.math.expressions import Name, Node, Num, Product
from larpo_ir.tasks.math.reading import read
from larpo_ir.tasks.math.regions import as_region, same_end
from larpo_ir.tasks.math.tokens import Token, Unreadable, tokens

_CURVE = re.compile(r"\b[xyz]\b.* [-+] .*\b[xyz]\b")
DECIMALS = 6  # a decimal with so many decimals equals what rounds to it


def equal(gold: Answer, found: Answer) -> bool:
    """Whether two answers are equal; `gold` decides which marks (AM, N) are needed."""
    if isinstance(gold, Named) or isinstance(found, Named):
        return _named(gold, found)
    match gold, found:
        case Quantity(), Quantity():
            return _quantities(gold, found)
        case Based(), Based():
            return gold == found
        case (Based(), Quantity()) | (Quantity(), Based()):
            return _beside_base(gold, found)
        case Clock(), Clock():
            return gold.parts == found.parts and gold.half in (None, found.half)
        case (Clock(ratio=Quantity() as ratio), Quantity() as other) | (
            Quantity() as other,
            Clock(ratio=Quantity() as ratio),
        ):
            return _ratio(ratio, other) or _hour(gold, found)
        case Text(), Text():
            return gold == found
        case (Text((word,)), Quantity(Name(name))) | (Quantity(Name(name)), Text((word,))):
            return word == name.casefold()
        case Unordered(), Unordered():
            return _covers(gold.items, found.items) and _covers(found.items, gold.items, swapped=True)
        case Ordered(), Ordered():
            return _in_order(gold, found)
        case (Ordered(items=items), Unordered(joined=True) as many):
            return _each(items, _by_name(many.items))
        case (Unordered(joined=True) as many, Ordered(items=items)):
            return _each(_by_name(many.items), items)
        case (Ordered(items=items), Matrix(rows)) | (Matrix(rows), Ordered(items=items)):
            return _column(rows, items)
        case Matrix(), Matrix():
            return [len(row) for row in gold.rows] == [len(row) for row in found.rows] and all(
                sameness.same(a, b)
                for one, other in zip(gold.rows, found.rows, strict=True)
                for a, b in zip(one, other, strict=True)
            )
        case Equation(), Equation():
            return _equations(gold, found)
        case (Clock(), Quantity()) | (Quantity(), Clock()):
            return _hour(gold, found)
        case (Unordered(items=items), (Quantity() | Text() | Ordered() | Based())) if _alike(items):
            return any(_try(item, found) for item in items)
        case ((Quantity() | Text() | Ordered() | Based()), Unordered(items=items)) if _alike(items):
            return any(_try(gold, item) for item in items)
    ours, theirs = as_region(gold), as_region(found)
    return ours is not None and theirs is not None and _regions(ours, theirs)


def _ratio(ratio: Quantity, other: Quantity) -> bool:
    try:
        return _quantities(ratio, other)
    except Unreadable:  # 3:00 is no ratio
        return False


def _hour(gold: Answer, found: Answer) -> bool:
    """3 is 3:00, and 3 PM where gold does not say which half of the day."""
    clock, number = (gold, found) if isinstance(gold, Clock) else (found, gold)
    assert isinstance(clock, Clock)
    assert isinstance(number, Quantity)
    whole = clock.parts[1:] == (0, 0) and (clock.half is None or clock is found)
    return whole and number.node == Num(Fraction(clock.parts[0]))


def _named(gold: Answer, found: Answer) -> bool:
    if isinstance(gold, Named) and isinstance(found, Named):
        letters = [name for name in (gold.name, found.name) if len(name) == 1 and name.isalpha()]
        same_name = len(letters) < 2 or letters[0].casefold() == letters[1].casefold()
        if same_name and any(equal(a, b) for a in gold.values for b in found.values):
            return True
        if gold.equation is not None and found.equation is not None:
            return _equations(gold.equation, found.equation)
        return False
    named, other = (gold, found) if isinstance(gold, Named) else (found, gold)
    assert isinstance(named, Named)
    if isinstance(other, Equation):
        return named.equation is not None and _equations(named.equation, other)
    if named is gold and named.equation is not None and _CURVE.search(named.name):
        return False  # x^2 + y^2 = 25 is a circle, and not 25
    values = named.values
    if isinstance(other, Quantity):  # 231 is not what `231_4 = 45` says
        values = tuple(value for value in values if isinstance(value, Quantity)) or values
    return any(equal(value, found) if named is gold else equal(gold, value) for value in values)


# --- Numbers -----------------------------------------------------------------------------------------------------


def _quantities(gold: Quantity, found: Quantity) -> bool:
    if gold.beside.marks and gold.beside.marks != found.beside.marks:
        return False
    ours, theirs = gold.beside.unit(), found.beside.unit()
    if ours and theirs and ours != theirs:
        return False
    convert = bool(ours and theirs) and gold.beside.size != found.beside.size
    a = _scaled(gold, gold.beside.scale * (gold.beside.size if convert else 1))
    b = _scaled(found, found.beside.scale * (found.beside.size if convert else 1))
    shares = gold.beside.percent != found.beside.percent
    other = theirs if gold.beside.percent else ours  # 5 dollars are not 5%; 5% per year is
    if _numbers(a, b) and not (shares and other):
        return True
    if not shares or other:
        return False
    # 10% is both 10 and 0.1.
    hundredth = Num(Fraction(1, 100))
    if gold.beside.percent:
        return _numbers(Product((a, hundredth)), b)
    return _numbers(a, Product((b, hundredth)))


def _scaled(quantity: Quantity, factor: Fraction) -> Node:
    return quantity.node if factor == 1 else Product((quantity.node, Num(Fraction(factor))))


def _numbers(gold: Node, found: Node) -> bool:
    if isinstance(gold, Name) and isinstance(found, Name):
        return gold.name.casefold() == found.name.casefold()
    if sameness.same(gold, found):
        return True
    return sameness.rounds_to(gold, found, DECIMALS) or sameness.rounds_to(found, gold, DECIMALS)


def _beside_base(one: Answer, other: Answer) -> bool:
    """A base on one side alone does not count, as a unit does not: 52 is 52_8, and 42 is not."""
    based, plain = (one, other) if isinstance(one, Based) else (other, one)
    assert isinstance(based, Based)
    if not isinstance(plain, Quantity):
        return False
    try:
        return sameness.same(plain.node, _digits(based.digits))
    except ValueError:
        return False


def _digits(text: str) -> Node:
    return Num(Fraction(text))


# --- Several items -------------------------------------------------------------------------------------------------


def _covers(items: Sequence[Answer], others: Sequence[Answer], swapped: bool = False) -> bool:
    """Whether each of `items` equals one of `others`."""
    return all(any(_try(b, a) if swapped else _try(a, b) for b in others) for a in items)


def _try(gold: Answer, found: Answer) -> bool:
    try:
        return equal(gold, found)
    except Unreadable:
        return False


def _alike(items: Sequence[Answer]) -> bool:
    """Whether a list says one thing in several ways: `$5, or 500 cents`."""
    return len(items) > 0 and all(_try(items[0], item) for item in items[1:])


def _each(gold: Sequence[Answer], found: Sequence[Answer]) -> bool:
    return len(gold) == len(found) and all(equal(a, b) for a, b in zip(gold, found, strict=True))


def _by_name(items: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """`y = 2, x = 1` in the order of the names, as the pair (1, 2) is; other lists as they stand."""
    if all(isinstance(item, Named) and item.name for item in items):
        ordered = sorted(items, key=lambda item: item.name if isinstance(item, Named) else "")
        if len({item.name for item in items if isinstance(item, Named)}) == len(items):
            return tuple(ordered)
    return items


def _in_order(gold: Ordered, found: Ordered) -> bool:
    pairs = len(gold.items) == 2
    closed = [(side.left == "[", side.right == "]") for side in (gold, found)]
    # Brackets tell intervals apart; around three or more they are a matter of taste.
    return (not pairs or closed[0] == closed[1]) and _each(gold.items, found.items)


def _column(rows: tuple[tuple[Node, ...], ...], items: tuple[Answer, ...]) -> bool:
    """A tuple is a vector, written as a column or a row."""
    cells = (
        [row[0] for row in rows]
        if all(len(row) == 1 for row in rows)
        else list(rows[0])
        if len(rows) == 1
        else []
    )
    return len(cells) == len(items) and all(
        isinstance(item, Quantity) and sameness.same(cell, item.node)
        for cell, item in zip(cells, items, strict=True)
    )


def _equations(gold: Equation, found: Equation) -> bool:
    """The same relations, each up to a factor, which is positive where there is a direction; in any order."""
    if len(gold.differences) != len(found.differences):
        return False
    left = list(found.differences)
    for difference, relation in gold.differences:
        for candidate in left:
            if candidate[1] == relation and sameness.proportional(
                difference, candidate[0], positive=relation in ("<", "<=")
            ):
                left.remove(candidate)
                break
        else:
            return False
    return True


def _regions(one: Region, other: Region) -> bool:
    return len(one.spans) == len(other.spans) and all(
        same_end(a[0], b[0]) and same_end(a[1], b[1]) and a[2:] == b[2:]
        for a, b in zip(one.spans, other.spans, strict=True)
    )


# --- Texts ---------------------------------------------------------------------------------------------------------


def _spelling(run: Sequence[Token]) -> str:
    """What is left of an answer when blanks, case and brackets around a letter do not count."""
    parts = [
        token.text
        for token in _unbraced(run)
        if token[:2] not in (("mark", "."), ("mark", "$")) and token.text != "quad"
    ]
    if len(parts) == 3 and parts[0] == "()" and parts[2] == ")" and len(parts[1]) == 1:
        parts = parts[1:2]
    return "\x1f".join(parts).casefold() if len(parts) != 1 or parts[0].isalpha() else parts[0]


def _unbraced(run: Sequence[Token]) -> list[Token]:
    """Without the braces around a single token: `\\pmod{7}` is `\\pmod 7`."""
    kept: list[Token] = []
    for token in run:
        kept.append(token)
        if [(part.kind, part.text == "group") for part in kept[-3::2]] == [("open", True), ("close", True)]:
            kept[-3:] = [kept[-2]]
    return kept


def _letters(run: Sequence[Token]) -> str:
    """The letters of a word, in `\\text` or not (`II`); nothing where there is anything else."""
    whole = "".join(token.text for token in run)
    upper = whole.isupper() or any(token.kind == "word" for token in run)
    return whole.casefold() if upper and all(token.kind in ("word", "name") for token in run) else ""


_CHOICE = re.compile(
    r"(?:(?:option|choice|letter|answer) )*(?:([a-h])|\(\) ([a-h]) \)(?: .*)?|([a-h]) \)(?: .*)?)"
)


def _choice(run: Sequence[Token]) -> str | None:
    """The letter of `(B)`, `(B) 12`, `B) 12` or `option B`, or of a B alone."""
    found = _CHOICE.fullmatch(" ".join(token.text for token in run).casefold())
    if found is None:
        return None
    if sum(_is_choice(run, index) for index in range(len(run))) > 1:  # (A) and (C)
        return None
    letter = next(token.text for token in run if len(token.text) == 1 and token.text.isalpha())
    word = any(token.kind == "word" and token.text == letter for token in run)
    # `(a) 12` is a product as likely as a choice.
    return letter.casefold() if word or letter.isupper() or len(run) <= 3 else None


def _without_modulus(run: list[Token]) -> list[Token]:
    """`x = 7` for `x \\equiv 7 \\pmod{11}`."""
    at = next((i for i, token in enumerate(run) if token[:2] == ("word", "mod")), len(run))
    kept = run[: at - 1] if 0 < at < len(run) and run[at - 1].kind == "open" else run[:at]
    return [Token("rel", "=", token.spaced) if token[:2] == ("rel", "mod") else token for token in kept]


def _is_choice(run: Sequence[Token], index: int) -> bool:
    shape = [(token.kind, len(token.text)) for token in run[index : index + 3]]
    return (
        len(shape) == 3
        and shape[0] == ("open", 2)
        and shape[1] in (("word", 1), ("name", 1))
        and shape[2][0] == "close"
    )


def _unlettered(run: list[Token]) -> list[Token]:
    """Without the letter of a choice before its text."""
    shape = [(token.kind, token.text) for token in run[:3]]
    return run[3:] if len(run) > 3 and shape[0] == ("open", "()") and shape[2] == ("close", ")") else run


def equivalent(gold: str, answer: str, *, equations: bool = False) -> bool:
    r"""Whether two answers, as they are written, are equal. What cannot be read equals only what is spelled alike.

    >>> equivalent("12", r"12\text{ eggs}"), equivalent("5", r"5 \text{ million}"), equivalent("x+2y=3", "2x+4y=6")
    (True, False, True)
    """
    try:
        ours, theirs = tokens(gold), tokens(answer)
    except Unreadable:
        return "".join(gold.split()).casefold() == "".join(answer.split()).casefold()
    if _spelling(ours) == _spelling(theirs) or (_letters(ours) and _letters(ours) == _letters(theirs)):
        return True
    choices = _choice(ours), _choice(theirs)
    if choices[0] is not None and choices[0] == choices[1]:
        return True
    if (choices[0] is None) != (choices[1] is None):  # `(E) 1/2` is 1/2
        ours = ours if choices[0] is None else _unlettered(ours)
        theirs = theirs if choices[1] is None else _unlettered(theirs)
    moduli = [any(token[:2] == ("word", "mod") for token in run) for run in (ours, theirs)]
    if moduli[0] != moduli[1]:  # 7 (mod 11) is 7, and 7 (mod 11) is not 7 (mod 13)
        ours, theirs = _without_modulus(ours), _without_modulus(theirs)
    commas = any(token.kind == "num" and "," in token.text for token in (*ours, *theirs))
    for grouped in (True, False)[: 1 + commas]:
        for letters in (True, False):
            try:
                how = Reading(grouped, letters, equations)
                if equal(read(ours, how), read(theirs, how)):
                    return True
            except (ValueError, ArithmeticError, RecursionError):  # what has no value
                continue
    return False
