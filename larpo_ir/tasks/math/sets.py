r"""Sets of numbers that signs combine: `(0, 1) \cup (2, 3)`, `\mathbb{R} \setminus \{2\}`, `\mathbb{R} - \{2\}`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from larpo_ir.tasks.math import values
from larpo_ir.tasks.math.answers import Region
from larpo_ir.tasks.math.brackets import split
from larpo_ir.tasks.math.regions import intersection, union
from larpo_ir.tasks.math.tokens import Token

_REALS_MINUS = [("name", "bbR"), ("op", "-")]


def operands(run: list[Token]) -> tuple[list[list[Token]], list[Token]]:
    """Return the sets that signs combine, and these signs; no sign where none stands outside of brackets."""
    parts, signs = split(run, lambda token: token.kind == "cmd" and token.text in _COMBINE)
    if not signs and [token[:2] for token in run[:2]] == _REALS_MINUS:
        return [run[:1], run[2:]], [Token("cmd", "setminus")]
    return parts, signs


def combined(regions: Sequence[Region], signs: Sequence[Token]) -> Region:
    """Combine sets from left to right."""
    result = regions[0]
    for sign, region in zip(signs, regions[1:], strict=True):
        result = _COMBINE[sign.text](result, region)
    return result


def _difference(region: Region, removed: Region) -> Region:
    mp = values.context()
    for low, high, closed, shut in removed.spans:
        outside = Region(((-mp.inf, low, False, not closed), (high, mp.inf, not shut, False)))
        region = intersection([region, outside])
    return region


_COMBINE: dict[str, Callable[[Region, Region], Region]] = {
    "cup": lambda one, other: union([one, other]),
    "cap": lambda one, other: intersection([one, other]),
    "setminus": _difference,
}
