r"""A number with what stands beside it, a numeral in a base, a time of day: answers without others in them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from larpo_ir.tasks.math import units
from larpo_ir.tasks.math.answers import Answer, Based, Clock, Quantity, Reading, Unordered, split, wrapped
from larpo_ir.tasks.math.expressions import Node, Num, Product, Sum, choose_sign, has, negative
from larpo_ir.tasks.math.parser import parse
from larpo_ir.tasks.math.tokens import Token, Unreadable

# --- Times and bases ----------------------------------------------------------------------------------------


def clock(run: list[Token], how: Reading) -> Answer | None:
    """`6:00`, `6:00 PM`, `6 PM`, `10:08:30`."""
    if len(run) == 1 and run[0].text in ("noon", "midnight"):
        return Clock((12, 0, 0), "pm" if run[0].text == "noon" else "am", None)
    half = run[-1].text if run[-1].kind == "word" and run[-1].text in ("am", "pm") else None
    rest = run[:-1] if half else run
    if len(rest) not in (1, 3, 5) or not all(
        token.text.isdigit() if index % 2 == 0 else token[:2] == ("op", ":")
        for index, token in enumerate(rest)
    ):
        return None
    parts = [token.text for token in rest[::2]]
    if (len(parts) == 1 and not half) or not all(len(part) == 2 and part < "60" for part in parts[1:]):
        return None
    if len(parts[0]) > 2 or int(parts[0]) > 24:
        return None
    ratio = Quantity(parse(rest), units.Beside()) if not half and len(parts) == 2 else None
    return Clock((*map(int, parts), *[0] * (3 - len(parts))), half, ratio)


_NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS = {word: number for number, word in enumerate(_NUMBERS.split())} | {
    word: ten for ten, word in zip(range(20, 100, 10), _TENS.split(), strict=True)
}


def based(run: list[Token], how: Reading) -> Answer | None:
    """`52_8`, `(52)_{8}`, `52_{\\text{eight}}`, `52 (base 8)`; digits that the base does not have make it none."""
    parts, between = split(run, lambda token: token[:2] in (("op", "_"), ("word", "base")))
    if len(between) != 1:
        if len(run) < 5 or [token.text for token in run[-4:-2]] != ["()", "base"]:  # `52 (base 8)`
            return None
        parts = [run[:-4], [run[-2]]]
    digits, spec = parts
    said = [token for token in spec if token.kind in ("num", "word") and token.text != "base"]
    if len(said) != 1 or any(token.kind not in ("num", "word", "open", "close") for token in spec):
        return None
    base = (
        int(said[0].text)
        if said[0].text.isdigit() and len(said[0].text) < 3
        else NUMBER_WORDS.get(said[0].text, 0)
    )
    while wrapped(digits):
        digits = digits[1:-1]
    sign = "-" if digits and digits[0][:2] == ("op", "-") else ""
    digits = digits[len(sign) :]
    numeral = "".join(token.text for token in digits).replace(",", "")
    if (
        not 2 <= base <= 36
        or not numeral
        or any(token.kind not in ("num", "name", "word") for token in digits)
    ):
        return None
    if numeral.count(".") > 1 or (not any(letter.isdigit() for letter in numeral) and base < 11):
        return None
    if not all(
        letter == "." or (letter.isascii() and letter.isalnum() and int(letter, 36) < base)
        for letter in numeral
    ):
        return None
    whole, point, behind = numeral.casefold().partition(".")
    return Based(
        sign + (whole.lstrip("0") or "0") + (point + behind.rstrip("0") if behind.strip("0") else ""), base
    )


# --- Numbers with units -------------------------------------------------------------------------------------


_SIGN_WORDS = ("negative", "minus")


def quantity(run: list[Token], how: Reading) -> Answer:
    """A number or another expression, with what stands beside it; two of them where it has a sign ±."""
    sign = 1
    ratio = [token.kind for token in run] == ["num", "word", "num"] and run[1].text == "to"  # `3 to 2`
    run = [run[0], Token("op", ":"), run[2]] if ratio else run
    if len(run) > 1 and run[0].kind == "word" and run[0].text in _SIGN_WORDS:
        run, sign = run[1:], -1
    currency = [index for index, token in enumerate(run[:3]) if token[:2] == ("mark", "$")]
    if currency and all(token.kind in ("op", "mark") for token in run[: currency[0]]):
        run = [*run[: currency[0]], *run[currency[0] + 1 :], Token("mark", "$")]
    run = [token for index, token in enumerate(run) if not (_is_money(run, index))]
    end, degrees = _core(run, how)
    core, beside = run[:end], units.read(run[end:], degrees=degrees)
    if not core:
        raise Unreadable("a unit alone")
    node = _parsed(core, beside)
    if sign < 0:
        node = negative(node)
    if has(node, "pm", "mp"):
        return Unordered(tuple(Quantity(choose_sign(node, upper), beside) for upper in (True, False)))
    return Quantity(node, beside)


def _is_money(run: Sequence[Token], index: int) -> bool:
    """A `$` before a later number: `$324 - $288`."""
    return run[index][:2] == ("mark", "$") and index + 1 < len(run) and run[index + 1].kind == "num"


def _parsed(core: list[Token], beside: units.Beside) -> Node:
    try:
        return parse(core)
    except Unreadable:
        # `5 feet 6 inches`: numbers, each with its unit, in units of the last.
        pieces, terms, sizes = _compound(core, beside)
        if not pieces:
            raise
        return Sum(
            tuple(Product((term, Num(size / sizes[-1]))) for term, size in zip(terms, sizes, strict=True))
        )


def _compound(core: list[Token], last: units.Beside) -> tuple[bool, list[Node], list[Fraction]]:
    terms: list[Node] = []
    sizes: list[Fraction] = []
    place = 0
    for index in range(1, len(core)):
        if core[index].kind == "num" and core[index - 1].kind in ("word", "mark"):
            start = next(i for i in range(place, index) if core[i].kind in ("word", "mark"))
            piece = units.read(core[start:index])
            if piece.unit() != last.unit() or not piece.unit():
                return False, [], []
            terms.append(parse(core[place:start]))
            sizes.append(piece.size)
            place = index
    if not terms:
        return False, [], []
    terms.append(parse(core[place:]))
    sizes.append(last.size)
    descending = all(a > b for a, b in pairwise(sizes))
    return descending, terms, sizes


def _core(run: list[Token], how: Reading) -> tuple[int, bool]:
    """Where what stands beside the number begins, and whether a degree sign ends the number."""
    end = len(run)
    letters = how.letters and not any(
        token.kind == "name" and token.text not in ("pi", "e")
        for token in run
        if not units.is_unit_letter(token)
    )
    while end > 1:
        token, before = run[end - 1], run[end - 2]
        if token.kind == "word" or _is_sign(token, before) or _is_letter(run, end - 1, letters):
            end -= 1
        elif token[:2] == ("mark", "deg"):
            end -= 2 if before[:2] == ("op", "^") else 1
        elif (wide := _affix(run, end)) and end > wide:
            end -= wide
        else:
            break
    tail = run[end:]
    degrees = any(token[:2] == ("mark", "deg") or token.text in ("degrees", "degree") for token in tail)
    # A degree sign alone is part of the number for `\sin 30^\circ`.
    if len(tail) <= 4 and tail and all(token.kind in ("op", "open", "close", "mark") for token in tail):
        marks = {token.text for token in tail if token.kind == "mark"}
        if marks == {"deg"}:
            return len(run), False
    return max(end, 0), degrees


def _is_sign(token: Token, before: Token) -> bool:
    """`%`, `$`, the dot of `sq. cm`, the strokes for feet and inches."""
    if token.kind != "mark":
        return False
    return token.text in ("%", "$") or before.kind == {".": "word", "'": "num", "''": "num"}.get(token.text)


def without_letters(run: Sequence[Token]) -> list[Token]:
    """Without the units of one letter: `500 g + 200 g`."""
    kept: list[Token] = []
    for token in run:
        unit = units.is_unit_letter(token) and token.spaced and kept and kept[-1].kind == "num"
        kept += [] if unit else [token]
    return kept


def _is_letter(run: list[Token], index: int, letters: bool) -> bool:
    """A letter that is a unit: after a degree sign, a slash or a word, or after a blank (`5 m`)."""
    token, before = run[index], run[index - 1]
    if not units.is_unit_letter(token):
        return False
    if before[:2] == ("mark", "deg") or (
        before[:2] == ("close", "group") and run[max(index - 2, 0)][:2] == ("mark", "deg")
    ):
        return True
    if before[:2] == ("op", "/") and index >= 2 and run[index - 2].kind in ("word", "name"):
        return run[index - 2].kind == "word" or (letters and units.is_unit_letter(run[index - 2]))
    if before[:2] == ("op", "*") and index >= 2 and letters and units.is_unit_letter(run[index - 2]):  # J·s
        return True
    return letters and token.spaced and before.kind in ("num", "close") and token.text in "mgshLJNW"


def _is_inverse(run: Sequence[Token]) -> bool:
    """`^{-1}`, behind a unit."""
    return [token.text for token in run[:3]] == ["^", "group", "-"] and len(run) == 5 and run[3].kind == "num"


def _affix(run: list[Token], end: int) -> int:
    """How many tokens before `end` belong to a unit: `^2`, `^{2}`, `^{th}`, `^{\\circ}`, `/` behind words, `(cm)`."""
    texts = [token[:2] for token in run[max(end - 4, 0) : end]]

    def follows(width: int) -> bool:
        before = run[end - width - 1] if end > width else Token("end", "")
        return before.kind == "word" or before.text in ("m", "s", "J", "N", "W")

    if texts[:2] == [("op", "^"), ("open", "group")] and texts[3:] == [("close", "group")]:
        kind, text = texts[2]
        ordinal = kind == "word" and text in ("th", "st", "nd", "rd")
        if (kind, text) == ("mark", "deg") or ordinal or (kind == "num" and follows(4)):
            return 4
    if texts[-2:-1] == [("op", "^")] and texts[-1][0] == "num" and follows(2):
        return 2
    if texts[-1][0] == "op" and texts[-1][1] in ("/", "-", "*") and follows(1):
        return 1
    if texts[-1] == ("op", "/") and run[end : end + 1] and run[end].kind == "word":  # `10/person`
        return 1
    if _is_inverse(run[max(end - 5, 0) : end]) and follows(5):
        return 5
    if texts[-1] == ("close", ")"):
        start = next((i for i in range(end - 2, 0, -1) if run[i].kind != "word"), 0)
        if run[start][:2] == ("open", "()") and 0 < start < end - 2:
            return end - start
    return 0
