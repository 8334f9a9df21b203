r"""The place in a run of tokens at which a number ends, and the words and signs beside it begin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from larpo_ir.tasks.math.answers import Reading
from larpo_ir.tasks.math.tokens import Token
from larpo_ir.tasks.math.units import is_unit_letter

_NOTHING = Token("end", "")


def end_of_number(run: list[Token], how: Reading) -> tuple[int, bool]:
    """The place at which the number ends, and whether a degree sign stands behind it."""
    letters = how.letters and not _has_variable(run)
    end = len(run)
    while end > 1 and (width := _suffix(run, end, letters)):
        end -= width
    tail = run[end:]
    if _is_degree_sign(tail):  # part of the number, for `\sin 30^\circ`
        return len(run), False
    return end, any(token[:2] == ("mark", "deg") or token.text in ("degrees", "degree") for token in tail)


def without_letters(run: Sequence[Token]) -> list[Token]:
    """Without the units of one letter: `500 g + 200 g`."""
    kept: list[Token] = []
    for token in run:
        unit = is_unit_letter(token) and token.spaced and kept and kept[-1].kind == "num"
        kept += [] if unit else [token]
    return kept


def _has_variable(run: Sequence[Token]) -> bool:
    """Whether a letter stands there that is neither a constant nor the name of a unit."""
    return any(
        token.kind == "name" and token.text not in ("pi", "e") and not is_unit_letter(token) for token in run
    )


def _is_degree_sign(tail: Sequence[Token]) -> bool:
    if not 0 < len(tail) <= 4 or any(token.kind not in ("op", "open", "close", "mark") for token in tail):
        return False
    return {token.text for token in tail if token.kind == "mark"} == {"deg"}


# --- The last tokens of a run -------------------------------------------------------------------------------


def _before(run: Sequence[Token], place: int) -> Token:
    return run[place - 1] if place > 0 else _NOTHING


def _suffix(run: list[Token], end: int, letters: bool) -> int:
    """Number of tokens right before `end` that stand beside the number; 0 where the number ends there."""
    token, before = run[end - 1], run[end - 2]
    if token.kind == "word" or _is_sign(token, before) or _is_letter(run, end - 1, letters):
        return 1
    if token[:2] == ("mark", "deg"):
        return 2 if before[:2] == ("op", "^") else 1
    width = next((width for affix in _AFFIXES if (width := affix(run, end))), 0)
    return width if width < end else 0


def _is_sign(token: Token, before: Token) -> bool:
    """`%`, `$`, the dot of `sq. cm`, the strokes for feet and inches."""
    if token.kind != "mark":
        return False
    return token.text in ("%", "$") or before.kind == {".": "word", "'": "num", "''": "num"}.get(token.text)


def _is_letter(run: list[Token], index: int, letters: bool) -> bool:
    """A letter that is a unit: after a degree sign, a slash or a word, or after a blank (`5 m`).

    `letters`: one that is a variable as likely is a unit too.
    """
    token, before, second = run[index], run[index - 1], _before(run, index - 1)
    if not is_unit_letter(token):
        return False
    if before[:2] == ("mark", "deg") or (before[:2], second[:2]) == (("close", "group"), ("mark", "deg")):
        return True
    if before[:2] == ("op", "/") and second.kind in ("word", "name"):
        return second.kind == "word" or (letters and is_unit_letter(second))
    if not letters:
        return False
    if before[:2] == ("op", "*") and is_unit_letter(second):  # J·s
        return True
    return token.spaced and before.kind in ("num", "close") and token.text in "mgshLJNW"


# --- Affixes of a unit: powers, operators, brackets ---------------------------------------------------------


def _unit_ends(run: Sequence[Token], place: int) -> bool:
    """Whether the name of a unit stands right before this place."""
    before = _before(run, place)
    return before.kind == "word" or before.text in ("m", "s", "J", "N", "W")


def _raised_in_braces(run: list[Token], end: int) -> int:
    """`^{2}` behind a unit, `^{th}` and `^{\\circ}` behind anything."""
    if end < 4:
        return 0
    power, opening, (kind, text, _), closing = run[end - 4 : end]
    if (power[:2], opening[:2], closing[:2]) != (("op", "^"), ("open", "group"), ("close", "group")):
        return 0
    ordinal = kind == "word" and text in ("th", "st", "nd", "rd")
    degree = (kind, text) == ("mark", "deg")
    return 4 if degree or ordinal or (kind == "num" and _unit_ends(run, end - 4)) else 0


def _raised(run: list[Token], end: int) -> int:
    """`^2` behind a unit."""
    raised = run[end - 2][:2] == ("op", "^") and run[end - 1].kind == "num"
    return 2 if raised and _unit_ends(run, end - 2) else 0


def _operator(run: list[Token], end: int) -> int:
    """`/`, `-` and `*` behind a unit, and `/` before a word: `10/person`."""
    kind, text, _ = run[end - 1]
    if kind != "op" or text not in ("/", "-", "*"):
        return 0
    per_word = text == "/" and end < len(run) and run[end].kind == "word"
    return 1 if per_word or _unit_ends(run, end - 1) else 0


def _raised_to_minus(run: list[Token], end: int) -> int:
    """`^{-1}` behind a unit."""
    if (
        end < 5
        or run[end - 2].kind != "num"
        or [token.text for token in run[end - 5 : end - 2]] != ["^", "group", "-"]
    ):
        return 0
    return 5 if _unit_ends(run, end - 5) else 0


def _words_in_brackets(run: list[Token], end: int) -> int:
    """`(cm)`."""
    if run[end - 1][:2] != ("close", ")"):
        return 0
    start = next((i for i in range(end - 2, 0, -1) if run[i].kind != "word"), 0)
    return end - start if run[start][:2] == ("open", "()") and 0 < start < end - 2 else 0


_AFFIXES: tuple[Callable[[list[Token], int], int], ...] = (
    _raised_in_braces,
    _raised,
    _operator,
    _raised_to_minus,
    _words_in_brackets,
)
