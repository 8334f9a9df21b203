"""Runs and qrels in files: TREC's formats, and results as records. Reading one imports neither torch nor PyTerrier.

    run      qid Q0 docno rank score tag      read_run, write_run
    qrels    qid 0 docno label                read_qrels, write_qrels

Any number of blanks and tabs parts columns. A byte-order mark, CRLF, blank lines and `.gz` are read as if they were
not there. Every other line is refused, with its place: a tool that guesses would guess wrong.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.files import write_atomically
from larpo_ir.data.json_text import INT64
from larpo_ir.data.records import id_text, read_records
from larpo_ir.data.results import rank_results, require_columns
from larpo_ir.data.text_files import cells_of, read_lines

RUN = ("qid", "Q0", "docno", "rank", "score", "tag")
QRELS = ("qid", "0", "docno", "label")
RECORDS = (".jsonl", ".json", ".parquet")
LEAST_STEP = 1e-6  # between scores that survives printing
# `float` would also take 1_0, infinity and the digits of every script.
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)


# Cells


def number_of(cell: str, what: str, where: str) -> float:
    """A finite number, from text."""
    if not NUMBER.fullmatch(cell) or math.isinf(number := float(cell)):
        raise ValueError(f"{where}: {what} {cell!r:.60} is not a finite number")
    return number


def whole_number_of(cell: Any, what: str, where: str) -> int:
    """A whole number of 64 bits, from text or a number; 1.0 is one, 0.5 and True are none.

    >>> whole_number_of("1.0", "label", "qrels.tsv:2")
    1
    """
    text = str(cell)
    if len(text) < 19 and text.isascii() and text.isdigit():
        return int(text)
    number = float(text) if NUMBER.fullmatch(text) else math.nan
    whole = (int(text) if text.lstrip("+-").isdigit() else int(number)) if number.is_integer() else None
    if whole is None or whole not in INT64:
        raise ValueError(f"{where}: {what} {cell!r:.60} is not a whole number")
    return whole


def score_of(value: Any, where: str) -> float:
    """The score of a record, NaN where there is none. A string is read as a number, if it is one."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        return number_of(value.strip(), "score", where)
    try:
        number = math.inf if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.inf
    if math.isinf(number):
        raise ValueError(f"{where}: score is {value!r:.60}; it must be a finite number")
    return number


# Reading


def read_run(path: str | os.PathLike[str]) -> pd.DataFrame:
    """A TREC run: `qid, docno, score, rank, tag`, each query's documents ranked by score.

    `rank` counts from 0. Equal scores keep the order of the ranks in the file (the tie rule of
    `larpo_ir.data.results`).

    Raises `FileNotFoundError`, or `ValueError` with file and line for more or fewer columns than six, a rank that is
    no whole number, a score that is no finite number, and a document that a query has twice; and for an empty file.
    """
    path = existing(path)
    seen: dict[tuple[str, str], int] = {}
    rows = []
    for number, (qid, _, docno, rank, score, tag) in _rows(path, RUN, "a TREC run"):
        where = f"{path}:{number}"
        if (first := seen.setdefault((qid, docno), number)) != number:
            raise ValueError(
                f"{where}: document {docno!r} of query {qid!r} again, as in line {first}; keep one"
            )
        rows.append((qid, docno, number_of(score, "score", where), whole_number_of(rank, "rank", where), tag))
    if not rows:
        raise ValueError(f"{path} is empty: a run holds at least one line, qid Q0 docno rank score tag")
    return rank_results(pd.DataFrame(rows, columns=["qid", "docno", "score", "rank", "tag"]))


def read_qrels(path: str | os.PathLike[str]) -> pd.DataFrame:
    """TREC qrels: `qid, docno, label` in the order of the file.

    A label is a whole number (`1.0` is 1), which may be negative. A judgement that occurs twice counts once.

    Raises `FileNotFoundError`, or `ValueError` with file and line for more or fewer columns than four, another label,
    and a document that a query judges in two ways; and for an empty file.
    """
    path = existing(path)
    rows = _rows(path, QRELS, "TREC qrels")
    labels = judged_once((f"{path}:{number}", (qid, docno, label)) for number, (qid, _, docno, label) in rows)
    if not labels:
        raise ValueError(f"{path} is empty: qrels hold at least one line, qid 0 docno label")
    return pd.DataFrame([(*pair, label) for pair, label in labels.items()], columns=["qid", "docno", "label"])


def judged_once(judgements: Iterable[tuple[str, tuple[str, str, Any]]]) -> dict[tuple[str, str], int]:
    """The label of each `(qid, docno)`, from `(where, (qid, docno, label))`.

    Raises `ValueError` with its place for a label that is no whole number, or that contradicts an earlier one.
    """
    labels: dict[tuple[str, str], int] = {}
    for where, (qid, docno, cell) in judgements:
        label = whole_number_of(cell, "label", where)
        if (first := labels.setdefault((qid, docno), label)) != label:
            raise ValueError(
                f"{where}: document {docno!r} of query {qid!r} has the label {label}, and {first} above; keep one"
            )
    return labels


def results_from_records(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Results from JSON Lines, JSON or Parquet: `qid`, `docno`, `score` and every other column of the file.

    Ids become strings. A score is a number, or a string that is one; null and NaN say that there is none.

    Raises `FileNotFoundError`, or `ValueError` with file and row for a row without these columns, an id that is no
    string or whole number, a score that is no finite number; and for an empty file.
    """
    rows: list[dict[str, Any]] = []
    for where, row in read_records(path):
        missing = [name for name in ("qid", "docno", "score") if name not in row]
        if missing:
            have = ", ".join(map(str, row)) or "none"
            raise ValueError(f"{where}: results need the column(s) {', '.join(missing)}; there are {have}")
        checked: dict[str, Any] = {name: id_text(row[name], name, where) for name in ("qid", "docno")}
        checked["score"] = score_of(row["score"], where)
        rank = row.pop("rank", None)
        if rank is not None:
            checked["rank"] = whole_number_of(rank, "rank", where)
        rows.append({**row, **checked})
    if not rows:
        raise ValueError(f"{path} is empty: no results to read")
    return pd.DataFrame(rows)


def read_results(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Results from records (`.jsonl`, `.json`, `.parquet`; also `.gz`), or from a TREC run of any other name."""
    bare = Path(path).with_suffix("") if Path(path).suffix == ".gz" else Path(path)
    return (results_from_records if bare.suffix in RECORDS else read_run)(path)


def existing(path: str | os.PathLike[str]) -> Path:
    """The path of a file. Raises `FileNotFoundError` where there is none."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return Path(path)


def _rows(path: Path, columns: tuple[str, ...], what: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line that is not blank."""
    for number, line in read_lines(path):
        cells = cells_of(line)
        if cells and len(cells) != len(columns):
            raise ValueError(
                f"{path}:{number}: not {what} ({len(cells)} columns; each line is {' '.join(columns)})"
            )
        if cells:
            yield number, cells


# Writing


def write_run(results: pd.DataFrame, path: str | os.PathLike[str], tag: str = "larpo_ir") -> Path:
    """Write a TREC run, `qid Q0 docno rank score tag`.

    A document occurs once per query (the best-ranked copy stays). Evaluation tools re-sort by score and break
    ties each in its own way, so where a score equals its predecessor's it is lowered by the least amount that
    survives printing: what they read is strictly ordered. Documents without a score (NaN) are left out, with a
    warning that counts them.

    Raises `ValueError` for infinite scores, and for ids that are empty or hold white space.
    """
    require_columns(results, ["qid", "docno", "score"], "a TREC run")
    ranked = rank_results(results).drop_duplicates(["qid", "docno"])
    unscored = int(ranked["score"].isna().sum())
    if unscored:
        warnings.warn(
            f"{path}: {unscored} of {len(ranked)} documents have no score and are left out", stacklevel=2
        )
        ranked = ranked[ranked["score"].notna()]
    lines, previous_qid, previous = [], None, math.inf
    position = 0
    tag = _cell(tag, "the tag")
    for qid, docno, score in zip(ranked["qid"], ranked["docno"], ranked["score"], strict=True):
        if math.isinf(score):
            raise ValueError(f"TREC files cannot hold the score {score} of docno {docno!r}, qid {qid!r}")
        if qid != previous_qid:
            previous_qid, previous, position = qid, math.inf, 0
        score = min(
            round(float(score), 6), round(previous - LEAST_STEP, 6), math.nextafter(previous, -math.inf)
        )
        lines.append(f"{_cell(qid, 'qid')} Q0 {_cell(docno, 'docno')} {position} {score:.6f} {tag}\n")
        previous, position = score, position + 1
    return _write(path, lines)


def write_qrels(qrels: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write TREC qrels, `qid 0 docno label`, from a frame with the columns `qid, docno, label`.

    Raises `ValueError` for labels that are no whole numbers, and for ids that are empty or hold white space.
    """
    require_columns(qrels, ["qid", "docno", "label"], "a qrels file")
    lines = []
    for qid, docno, label in zip(qrels["qid"], qrels["docno"], qrels["label"], strict=True):
        whole = whole_number_of(label, "label", f"qid {qid!r}, docno {docno!r}")
        lines.append(f"{_cell(qid, 'qid')} 0 {_cell(docno, 'docno')} {whole}\n")
    return _write(path, lines)


def _cell(value: Any, what: str) -> str:
    text = str(value)
    if not text or any(character.isspace() for character in text):
        raise ValueError(f"TREC files cannot hold ids with white space or none: {what} {text!r}")
    return text


def _write(path: str | os.PathLike[str], lines: Iterable[str]) -> Path:
    content = "".join(lines)
    packed = Path(path).suffix == ".gz"
    return write_atomically(path, gzip.compress(content.encode(), mtime=0) if packed else content)
