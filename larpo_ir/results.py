"""Results frames: what retrievers return and rerankers reorder.

A results frame is PyTerrier's: one row per candidate with the columns `qid, query, docno, text, score, rank`
(rank from 0, ids strings, higher scores better). This module is the one home of document identity, of the
tie rule and of TREC files; every other module that ranks, goes through it.

**Tie rule.** Candidates with equal scores keep the order in which they were retrieved (their earlier `rank`;
without one, their row order). A generator's retrieval order is the order in which it drew its samples, so a
tie never favours long, short, likely or alphabetically early responses.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

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


def rank_results(results: pd.DataFrame) -> pd.DataFrame:
    """Sort each query's candidates by descending `score` and number them from 0 (the tie rule is above).

    Queries keep the order in which they first appear. Missing scores (NaN) rank last.

    >>> frame = pd.DataFrame({"qid": ["q", "q", "q"], "docno": ["a", "b", "c"], "score": [1.0, 2.0, 1.0]})
    >>> rank_results(frame)[["docno", "rank"]].values.tolist()
    [['b', 0], ['a', 1], ['c', 2]]
    """
    order = results.assign(_query=pd.factorize(results["qid"])[0])
    keys, ascending = ["_query", "score"], [True, False]
    if "rank" in results.columns:
        keys, ascending = [*keys, "rank"], [*ascending, True]
    order = order.sort_values(keys, ascending=ascending, kind="stable", na_position="last")
    ranked = order.drop(columns="_query").reset_index(drop=True)
    ranked["rank"] = ranked.groupby("qid", sort=False).cumcount()
    return ranked


def write_atomically(path: str | os.PathLike[str], content: str) -> Path:
    """Write a text file so that a reader (or a crash) never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as handle:
        handle.write(content)
    Path(handle.name).chmod(0o644)
    os.replace(handle.name, path)
    return path


def write_run(results: pd.DataFrame, path: str | os.PathLike[str], tag: str = "larpo_ir") -> Path:
    """Write a TREC run, `qid Q0 docno rank score tag`.

    A document occurs once per query (the best-ranked copy stays). Evaluation tools re-sort by score and break
    ties each in its own way, so where a score equals its predecessor's it is lowered by the least amount that
    survives printing: what they read is strictly ordered.
    """
    require_columns(results, ["qid", "docno", "score"], "a TREC run")
    ranked = rank_results(results).drop_duplicates(["qid", "docno"])
    lines, previous_qid, previous = [], None, float("inf")
    position = 0
    for qid, docno, score in zip(ranked["qid"], ranked["docno"], ranked["score"], strict=True):
        if any(character.isspace() for character in f"{qid}{docno}"):
            raise ValueError(f"TREC files cannot hold ids with white space: qid {qid!r}, docno {docno!r}")
        if qid != previous_qid:
            previous_qid, previous, position = qid, float("inf"), 0
        score = min(round(float(score), 6), round(previous - 1e-6, 6))
        lines.append(f"{qid} Q0 {docno} {position} {score:.6f} {tag}\n")
        previous, position = score, position + 1
    return write_atomically(path, "".join(lines))


def write_qrels(qrels: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write TREC qrels, `qid 0 docno label`, from a frame with the columns `qid, docno, label`."""
    require_columns(qrels, ["qid", "docno", "label"], "a qrels file")
    rows = zip(qrels["qid"], qrels["docno"], qrels["label"], strict=True)
    return write_atomically(path, "".join(f"{qid} 0 {docno} {int(label)}\n" for qid, docno, label in rows))
