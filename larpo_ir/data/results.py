"""Results frames, which retrievers return and rerankers reorder.

A results frame is PyTerrier's: one row per candidate with the columns `qid, query, docno, text, score, rank`
(rank from 0, ids strings, higher scores better). This module is the one home of document identity and of the
tie rule; every other module that ranks goes through it. Files of results are the affair of `larpo_ir.data.trec`.

**Tie rule.** Candidates with equal scores keep the order in which they were retrieved (their earlier `rank`;
without one, their row order). A generator's retrieval order is the order in which it drew its samples, so a
tie never favours long, short, likely or alphabetically early responses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

RESULT_COLUMNS = ["qid", "query", "docno", "text", "score", "rank"]


def docno_of(query: str, text: str) -> str:
    """Content hash of a response: the same response to the same query met twice is the same document.

    Returns 16 hexadecimal digits of BLAKE2b over query and text.

    >>> docno_of("2+2?", "4") == docno_of("2+2?", "4"), docno_of("2+2?", "4") == docno_of("2+3?", "4")
    (True, False)
    """
    return hashlib.blake2b(f"{query}\x00{text}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def require_columns(frame: pd.DataFrame, columns: Iterable[str], who: str) -> None:
    """Raise a one-line `ValueError` naming the columns that `who` needs and `frame` lacks."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"{who} needs the column(s) {', '.join(missing)}; the frame has {', '.join(frame.columns)}"
        )


def numbers(column: pd.Series[Any], what: str) -> pd.Series[Any]:
    """A column as numbers, NaN where there is none. Raises `ValueError` for text, which sorts 9 before 10.

    >>> numbers(pd.Series([1, None], dtype=object), "the column score").tolist()
    [1.0, nan]
    """
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column
    missing = column.isna()
    wrong = ~missing & np.array([not isinstance(value, Real) for value in column], dtype=bool)
    if wrong.any():
        raise ValueError(f"{what} must hold numbers, found {column[wrong].iloc[0]!r:.60}; convert it first")
    return column.where(~missing, np.nan).astype(float)


def rank_results(results: pd.DataFrame) -> pd.DataFrame:
    """Sort each query's candidates by descending `score` and number them from 0 (the tie rule is above).

    Queries keep the order in which they first appear. Missing scores (NaN) rank last. Raises `ValueError` for scores
    or ranks that are no numbers, such as strings.

    >>> frame = pd.DataFrame({"qid": ["q", "q", "q"], "docno": ["a", "b", "c"], "score": [1.0, 2.0, 1.0]})
    >>> rank_results(frame)[["docno", "rank"]].values.tolist()
    [['b', 0], ['a', 1], ['c', 2]]
    """
    order = results.assign(_query=pd.factorize(results["qid"])[0])
    keys = {"_query": True, "score": False, **({"rank": True} if "rank" in results.columns else {})}
    for name in list(keys)[1:]:
        order[name] = numbers(order[name], f"the column {name}")
    order = order.sort_values(list(keys), ascending=list(keys.values()), kind="stable", na_position="last")
    ranked = order.drop(columns="_query").reset_index(drop=True)
    ranked["rank"] = ranked.groupby("qid", sort=False).cumcount()
    return ranked
