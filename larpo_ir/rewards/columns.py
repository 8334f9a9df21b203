"""Columns that transformers need, for PyTerrier's inspection: alternatives, each a list of columns that suffices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, product
from typing import TypeAlias

import pyterrier as pt

Needs: TypeAlias = list[list[str]]


def needs_of(transformer: pt.Transformer) -> Needs:
    """The columns that a transformer says it needs; no column where it does not say."""
    return pt.inspect.transformer_inputs(transformer, strict=False) or [[]]


def all_of(*needs: Sequence[Sequence[str]]) -> Needs:
    """The columns that meet several needs at once: one alternative of each, without those that ask for more than
    another.

    >>> all_of([["qid", "text"]], [["gold"], ["answer"]])
    [['qid', 'text', 'gold'], ['qid', 'text', 'answer']]
    """
    return least(list(dict.fromkeys(chain(*choice))) for choice in product(*needs))


def least(needs: Iterable[list[str]]) -> Needs:
    """Alternatives without those that ask for all that another asks for.

    >>> least([["qid", "gold"], ["qid"], ["qid", "answer"]])
    [['qid']]
    """
    distinct = list({frozenset(columns): columns for columns in needs}.values())
    return [columns for columns in distinct if not any(set(other) < set(columns) for other in distinct)]


def require_one(needs: Needs, columns: list[str], who: pt.Transformer) -> None:
    """Raise PyTerrier's `InputValidationError` where a frame of these columns meets none of the alternatives."""
    with pt.validate.any(columns, context=who) as accepted:
        for needed in needs:
            accepted.columns(includes=needed)
