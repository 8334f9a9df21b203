"""Tokens in brackets: how deep each token lies, the parts between separators, and brackets around everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from larpo_ir.tasks.math.tokens import Token, Unreadable


def depths(run: Sequence[Token]) -> Iterator[tuple[int, Token]]:
    """Every token with the number of brackets around it; a bracket counts as being inside of itself."""
    depth = 0
    for token in run:
        opens = token.kind == "open" or (token.kind == "cmd" and token.text.startswith("begin "))
        closes = token.kind == "close" or (token.kind == "cmd" and token.text.startswith("end "))
        depth += opens
        yield depth, token
        depth -= closes
        if depth < 0:
            raise Unreadable("a bracket closes that is not open")
    if depth:
        raise Unreadable("a bracket does not close")


def split(run: Sequence[Token], at: Callable[[Token], bool]) -> tuple[list[list[Token]], list[Token]]:
    """The parts between tokens outside of brackets for which `at` holds, and those tokens."""
    parts: list[list[Token]] = [[]]
    between: list[Token] = []
    for depth, token in depths(run):
        if depth == 0 and at(token):
            parts.append([])
            between.append(token)
        else:
            parts[-1].append(token)
    return parts, between


def wrapped(run: Sequence[Token]) -> bool:
    """Whether the first bracket closes with the last token: no other closes at the depth of one."""
    if len(run) < 2 or run[0].kind != "open" or run[-1].kind != "close":
        return False
    return not any(depth == 1 and token.kind == "close" for depth, token in list(depths(run))[:-1])
