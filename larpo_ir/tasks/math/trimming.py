"""Tokens of an answer without full stops, separators, words that lead to it, and braces around it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile

from larpo_ir.tasks.math.brackets import wrapped
from larpo_ir.tasks.math.tokens import Token

MAX_ROUNDS = 10  # one thing may surround another

_FILLER = """about around approximately roughly exactly simply just only thus therefore is are was be the total of
answer final value equals equal we get so hence an usd inr rs there they it he she has have had gets will
needs"""
_FILLERS = frozenset(_FILLER.split())
_STOPS = {("mark", "."), ("mark", "?"), ("op", ":")}
_LEADING_SIGNS = {("op", ":"), ("rel", "="), ("rel", "~")}


def bare(run: Sequence[Token]) -> list[Token]:
    """Drop full stops, separators and fillers at the ends, braces around everything, and a label (`Total: 5`)."""
    kept = list(run) if has_matrix(run) else [token for token in run if token[:2] != ("sep", "&")]
    for _ in range(MAX_ROUNDS):
        before = len(kept)
        for trim in (_without_stops, _without_separators, _without_fillers, _without_sign, _without_braces):
            kept = trim(kept)
        if len(kept) == before:
            break
    return _without_label(kept)


def has_matrix(run: Sequence[Token]) -> bool:
    """Tell whether an environment begins among the tokens."""
    return any(token.kind == "cmd" and token.text.startswith("begin ") for token in run)


def ungrouped(run: Sequence[Token]) -> list[Token]:
    """Read `1,200` as two numbers."""
    found: list[Token] = []
    for token in run:
        pieces = token.text.split(",") if token.kind == "num" else [token.text]
        for index, piece in enumerate(pieces):
            found += [Token("sep", ",")] * (index > 0) + [token._replace(text=piece)]
    return found


def _without_stops(run: list[Token]) -> list[Token]:
    end = len(run)
    while end and (run[end - 1].kind == "sep" or run[end - 1][:2] in _STOPS):
        end -= 1
    return run[:end]


def _without_separators(run: list[Token]) -> list[Token]:
    return list(dropwhile(lambda token: token.kind == "sep" or token[:2] == ("mark", "."), run))


def _without_fillers(run: list[Token]) -> list[Token]:
    """Drop the fillers in front of an answer; the last token stays, since it may be the answer."""
    start = 0
    while start < len(run) - 1 and run[start].kind == "word" and run[start].text in _FILLERS:
        start += 1
    return run[start:]


def _without_sign(run: list[Token]) -> list[Token]:
    return run[1:] if len(run) > 1 and run[0][:2] in _LEADING_SIGNS else run


def _without_braces(run: list[Token]) -> list[Token]:
    return run[1:-1] if wrapped(run) and run[0].text == "group" else run


def _without_label(run: list[Token]) -> list[Token]:
    words = next((i for i, token in enumerate(run) if token.kind != "word"), 0)
    labelled = words > 0 and run[words][:2] == ("op", ":") and len(run) > words + 1
    return run[words + 1 :] if labelled else run
