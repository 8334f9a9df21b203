r"""Answers as they are written: equal spellings, letters of choices, moduli."""

from __future__ import annotations

import re
from collections.abc import Sequence

from larpo_ir.tasks.math.tokens import Token

_CHOICE = re.compile(
    r"(?:(?:option|choice|letter|answer) )*(?:([a-h])|\(\) ([a-h]) \)(?: .*)?|([a-h]) \)(?: .*)?)"
)


def spelled_alike(ours: Sequence[Token], theirs: Sequence[Token]) -> bool:
    """Whether two answers differ in blanks, case, braces and brackets around a letter, or `\\text` at most."""
    if _spelling(ours) == _spelling(theirs):
        return True
    letters = _letters(ours)
    return letters != "" and letters == _letters(theirs)


def _spelling(run: Sequence[Token]) -> str:
    """The texts of the tokens, without dots, `$`, wide blanks and the brackets around a letter."""
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


# --- Choices ------------------------------------------------------------------------------------------------


def choice(run: Sequence[Token]) -> str | None:
    """The letter of `(B)`, `(B) 12`, `B) 12` or `option B`, or of a B alone."""
    if not _CHOICE.fullmatch(" ".join(token.text for token in run).casefold()):
        return None
    if sum(_is_choice(run[index : index + 3]) for index in range(len(run))) > 1:  # (A) and (C)
        return None
    letter = next(token.text for token in run if len(token.text) == 1 and token.text.isalpha())
    word = any(token[:2] == ("word", letter) for token in run)
    # `(a) 12` is a product as likely as a choice.
    return letter.casefold() if word or letter.isupper() or len(run) <= 3 else None


def _is_choice(run: Sequence[Token]) -> bool:
    if [token.kind for token in run] not in (["open", "word", "close"], ["open", "name", "close"]):
        return False
    return (len(run[0].text), len(run[1].text)) == (2, 1)


def without_choice(run: list[Token]) -> list[Token]:
    """Without the letter of a choice before its text: `(E) 1/2` is 1/2."""
    lettered = len(run) > 3 and (run[0][:2], run[2][:2]) == (("open", "()"), ("close", ")"))
    return run[3:] if lettered else run


# --- Moduli -------------------------------------------------------------------------------------------------


def has_modulus(run: Sequence[Token]) -> bool:
    return any(token[:2] == ("word", "mod") for token in run)


def without_modulus(run: list[Token]) -> list[Token]:
    """`x = 7` for `x \\equiv 7 \\pmod{11}`."""
    at = next((i for i, token in enumerate(run) if token[:2] == ("word", "mod")), len(run))
    kept = run[: at - 1] if 0 < at < len(run) and run[at - 1].kind == "open" else run[:at]
    return [Token("rel", "=", token.spaced) if token[:2] == ("rel", "mod") else token for token in kept]
