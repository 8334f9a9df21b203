"""Answers in words: `no solution`, `all real numbers except 2`, `negative infinity`, `twenty percent`, `even`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from larpo_ir.tasks.math import units
from larpo_ir.tasks.math.answers import Answer, Quantity, Reading, Region, Text
from larpo_ir.tasks.math.bases import NUMBER_WORDS
from larpo_ir.tasks.math.expressions import Name, Num, negative
from larpo_ir.tasks.math.regions import everything
from larpo_ir.tasks.math.tokens import Token

_ARTICLES = {"the", "an", "a"}
_MINUS = {"minus", "negative"}
_EXCEPT = {"except", "excluding", "besides", "without"}
_BETWEEN_WORDS = {("op", "-"), ("mark", "'")}
# Words for a set of numbers, and whether it holds all of them or none.
_REGIONS = {
    "all real numbers": True, "all reals": True, "real numbers": True, "all real": True, "reals": True,
    "no solution": False, "no solutions": False, "no real solution": False, "no real solutions": False,
    "none": False, "empty set": False, "no real roots": False,
}  # fmt: skip


def in_words(run: list[Token], how: Reading) -> Answer | None:
    """Read an answer that has no token but words, hyphens and apostrophes."""
    if not all(token.kind == "word" or token[:2] in _BETWEEN_WORDS for token in run):
        return None
    words = [token for token in run if token.kind == "word"]
    kept = [token for token in words if token.text not in _ARTICLES] or words  # (A) is a choice
    said = tuple(token.text for token in kept)
    return _set(said) or _number(kept) or Text(("does", "not", "exist") if said == ("dne",) else said)


def exception(run: Sequence[Token]) -> list[Token] | None:
    r"""Spell `all real numbers except 2` as `\mathbb{R} \setminus \{2\}`; None for tokens that say no such thing."""
    said = next((i for i, token in enumerate(run) if token.kind != "word"), len(run))
    words = [token.text for token in run[:said]]
    at = next((i for i, word in enumerate(words) if word in _EXCEPT), None)
    if at is None or not _holds_all(words[:at]):
        return None
    rest = run[said:]
    if [token.kind for token in rest[:2]] == ["name", "rel"]:  # except x = 2
        rest = rest[2:]
    return [Token("name", "bbR"), Token("cmd", "setminus"), Token("open", "{}"), *rest, Token("close", "{}")]


def _holds_all(words: Sequence[str]) -> bool | None:
    """Tell whether words are all real numbers or none of them; None for words that name no set."""
    return _REGIONS.get(" ".join(word for word in words if word not in _ARTICLES))


def _set(said: Sequence[str]) -> Region | None:
    """Read `all real numbers` and `no solution`."""
    whole = _holds_all(said)
    if whole is None:
        return None
    return everything() if whole else Region(())


def _number(words: list[Token]) -> Quantity | None:
    """Read `negative infinity`, or a number in words with its unit (`minus five percent`)."""
    minus = len(words) > 1 and words[0].text in _MINUS
    words = words[minus:]
    said = [token.text for token in words]
    if said == ["infinity"]:
        return Quantity(negative(Name("infty")) if minus else Name("infty"), units.read([]))
    number, width = _said_number(said)
    if width and all(units.is_known(word) for word in said[width:]):
        return Quantity(Num(Fraction(-number if minus else number)), units.read(words[width:]))
    return None


def _said_number(words: Sequence[str]) -> tuple[int, int]:
    """Return the number that words begin with, and the count of its words: 25 and 2 for `twenty five apples`."""
    numbers = [NUMBER_WORDS.get(word, -1) for word in words[:2]]
    if len(numbers) == 2 and numbers[0] >= 20 and 0 < numbers[1] < 10:
        return sum(numbers), 2
    return (numbers[0], 1) if numbers and numbers[0] >= 0 else (0, 0)
