r"""The `$` of a text that delimit formulas, and those that are money.

A `$` opens a formula when the next unescaped `$` can close it:

* on the inner side of both there is no blank, or a blank on both (`$ x = 5 $`);
* no digit follows the closing one (`$5+$7` is two amounts), and no digit or blank line stands before the opening one;
* the text between them is a formula: not prose (`$5 for apples and 6$`), not cut off at an operator, a comma or an
  open bracket (`$324 - $`, `$5, $`), and without Markdown's `**`.

Every other `$` beside a number is money (`$1,200.50`, `$.50`, `36$`), as is every `\$`; the rest means nothing.
The rules look from one `$` to the next, so that reading takes time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_FORMULA = 2_000  # characters between two delimiters


class Span(NamedTuple):
    """A formula with its delimiters, at `text[start:end]`, and the text between them."""

    start: int
    end: int
    inside: str


_DELIMITER = re.compile(
    r"\\\\|\\\$|\$\$|\$|\\[(\[]|\\begin\{(?:align|equation|gather|eqnarray|multline)\*?\}"
)
_UP_TO_DOLLAR = re.compile(rf"(?:\\.|[^$\\]){{1,{MAX_FORMULA}}}+(?=\$)", re.DOTALL)
_CLOSING = {"$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|operatorname)\s{0,3}\{[^{}]*\}|\\[A-Za-z]+")
_PROSE = re.compile(
    r"\b(?:for|at|on|in|of|to|from|with|per|each|every|and|or|but|so|the|a|an|is|are|was|were|has|had|have|he|she|it"
    r"|they|we|his|her|their|if|then|than|that|this|by|as|because|while|after|before|plus|minus|times|left|more|less"
    r"|would|will|can|costs?|pays?|paid|spends?|spent|earns?|makes?|gets?|gives?|total|not)\b"
    r"|[A-Za-z]{2,}[,;]? [A-Za-z]{2,} [A-Za-z]{2,}|[.!?] +[A-Z]|\*\*|__|\n[ \t]*\n|<<|>>",
    re.IGNORECASE,
)
# `and` and `or` join formulas too (`$x=1 and x=2$`); `a` is a name; both are prose only after an amount of money.
_JOINED = re.compile(r"\b(?:and|or|if|is|in|a|for|to)\b", re.IGNORECASE)
# An operator that waits for more, the x of `$5 x $4` too.
_CUT = re.compile(r"[-+*/=,;:(\[{<>^&×÷−–—]\s*$|[0-9)]\s[xX]\s+$")
_WORDS_ALONE = re.compile(r"\s[A-Za-z][A-Za-z ,;']+\s")
_AMOUNT = re.compile(r"\s?-?(?:[0-9]|\.[0-9])")


def _balanced(inside: str) -> bool:
    """Brackets close in an order in which they open; `[0, 1)` is a formula too."""
    depth = 0
    for bracket in re.finditer(r"\\.|[()\[\]{}]", inside, re.DOTALL):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(bracket[0], 0)
        if depth < 0:
            return False
    return depth == 0


def _is_formula(text: str, start: int, end: int) -> bool:
    """Whether the `$` at `start` and the next one, at `end`, delimit a formula."""
    inside = text[start + 1 : end]
    if not inside.strip() or len(inside) > MAX_FORMULA:
        return False
    if text[end + 1 : end + 2].isdigit() or inside[0].isspace() != inside[-1].isspace():
        return False
    if text[start - 1 : start].isdigit() and not re.match(r"[A-Za-z\\({]", inside):
        return False
    if _CUT.search(inside) or _WORDS_ALONE.fullmatch(inside):
        return False
    return not _is_prose(inside) and _balanced(inside)


def _is_prose(inside: str) -> bool:
    """Whether words say more than a formula does; behind an amount of money fewer words may stand."""
    words = _COMMAND.sub(" ", inside)
    if _AMOUNT.match(inside) is not None:
        return "\n" in inside or _PROSE.search(words) is not None
    return _PROSE.search(_JOINED.sub(" ", words)) is not None


def _close(text: str, mark: re.Match[str]) -> tuple[int, int] | None:
    """The place of the delimiter that closes the formula which `mark` opens; None where it opens none."""
    if mark[0] == "$":
        inside = _UP_TO_DOLLAR.match(text, mark.end())
        is_formula = inside and _is_formula(text, mark.start(), inside.end())
        return (inside.end(), inside.end() + 1) if inside and is_formula else None
    closing = _CLOSING.get(mark[0]) or mark[0].replace("begin", "end")
    close = text.find(closing, mark.end(), mark.end() + MAX_FORMULA)
    return (close, close + len(closing)) if text[mark.end() : max(close, 0)].strip() else None


def _found(text: str) -> Iterator[tuple[str, Span]]:
    place = 0
    while (mark := _DELIMITER.search(text, place)) is not None:
        place = mark.end()
        if mark[0] not in ("\\\\", "\\$") and (close := _close(text, mark)) is not None:
            place = close[1]
            yield "formula", Span(mark.start(), place, text[mark.end() : close[0]])
        elif mark[0] == "\\$" or (mark[0] == "$" and _is_amount(text, mark.start())):
            yield "money", Span(mark.start(), place, mark[0])


def _is_amount(text: str, start: int) -> bool:
    return bool(_AMOUNT.match(text, start + 1)) or text[start - 1 : start].isdigit()


def formulas(text: str) -> list[Span]:
    r"""The formulas of a text in `$…$`, `$$…$$`, `\(…\)`, `\[…\]` and `\begin{align}…`, in order.

    >>> [span.inside for span in formulas(r"It costs $5 and $7, so $x = 12$, that is \(12\) or $$\$12$$.")]
    ['x = 12', '12', '\\$12']
    """
    return [span for kind, span in _found(text) if kind == "formula"]


def money(text: str) -> list[int]:
    r"""Places of each `$` (or `\$`) that is money, outside of formulas.

    >>> money("Savings = $324 - $288 = **$36**, not $36$"), money(r"\$5")
    ([10, 17, 26], [0])
    """
    return [span.start for kind, span in _found(text) if kind == "money"]
