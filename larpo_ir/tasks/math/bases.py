r"""Numerals in a base: `52_8`, `(52)_{8}`, `52_{\text{eight}}`, `52 (base 8)`; and numbers as words."""

from __future__ import annotations

from larpo_ir.tasks.math.answers import Answer, Based, Reading
from larpo_ir.tasks.math.brackets import split, wrapped
from larpo_ir.tasks.math.tokens import Token

_NUMBERS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS = {word: number for number, word in enumerate(_NUMBERS.split())} | {
    word: ten for ten, word in zip(range(20, 100, 10), _TENS.split(), strict=True)
}
_BASES = range(2, 37)


def based(run: list[Token], how: Reading) -> Answer | None:
    """The numeral and its base; None without a base, and where the base does not have such digits."""
    parts = _numeral_and_base(run)
    base = _base(parts[1]) if parts else None
    if parts is None or base is None:
        return None
    digits = parts[0]
    while wrapped(digits):
        digits = digits[1:-1]
    sign = "-" if digits and digits[0][:2] == ("op", "-") else ""
    digits = digits[len(sign) :]
    if any(token.kind not in ("num", "name", "word") for token in digits):
        return None
    numeral = "".join(token.text for token in digits).replace(",", "")
    return Based(sign + _shortest(numeral), base) if _has_digits_of(numeral, base) else None


def _numeral_and_base(run: list[Token]) -> tuple[list[Token], list[Token]] | None:
    """The tokens before and behind `_` or `base`."""
    parts, between = split(run, lambda token: token[:2] in (("op", "_"), ("word", "base")))
    if len(between) == 1:
        return parts[0], parts[1]
    if len(run) >= 5 and [token.text for token in run[-4:-2]] == ["()", "base"]:  # `52 (base 8)`
        return run[:-4], [run[-2]]
    return None


def _base(run: list[Token]) -> int | None:
    """The base that tokens write as a numeral or a word, in brackets or not; None where they write none."""
    said = [token.text for token in run if token.kind in ("num", "word") and token.text != "base"]
    if len(said) != 1 or any(token.kind not in ("num", "word", "open", "close") for token in run):
        return None
    numeral = said[0].isdigit() and len(said[0]) < 3
    base = int(said[0]) if numeral else NUMBER_WORDS.get(said[0], 0)
    return base if base in _BASES else None


def _has_digits_of(numeral: str, base: int) -> bool:
    """Whether a numeral is one of this base; only beyond base ten are letters alone a numeral (`FF_{16}`)."""
    if not numeral or numeral.count(".") > 1:
        return False
    if base < 11 and not any(letter.isdigit() for letter in numeral):
        return False
    return all(letter == "." or _is_digit_of(letter, base) for letter in numeral)


def _is_digit_of(letter: str, base: int) -> bool:
    return letter.isascii() and letter.isalnum() and int(letter, 36) < base


def _shortest(numeral: str) -> str:
    """The numeral in lower case, without zeros that say nothing."""
    whole, point, behind = numeral.casefold().partition(".")
    fraction = point + behind.rstrip("0") if behind.strip("0") else ""
    return (whole.lstrip("0") or "0") + fraction
