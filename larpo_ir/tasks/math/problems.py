"""MATH's problems as a topics frame.

Source: Hendrycks et al., *Measuring Mathematical Problem Solving With the MATH Dataset*, 2021, arXiv:2103.03874.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.records import Located, read_records
from larpo_ir.tasks.math.boxes import boxed


def load(path: str | os.PathLike[str]) -> pd.DataFrame:
    r"""Read MATH's problems as a topics frame.

    Args:
        path: a folder with a JSON file per problem (`algebra/1.json`; subfolders are read), or a file with a problem
            per line (`.jsonl`), array entry (`.json`) or row (`.parquet`). A problem is an object with `problem`,
            `solution` (its answer in the last `\boxed{}`) or `answer`, and, where known, `level` and `type`.

    Returns the columns `qid` (`algebra/1`, or `<file>-<number>`, from 1), `query`, `gold`, `level` and `subject`.

    Raises:
        ValueError: naming file and problem, for a missing or empty problem, or a solution without its answer; and
            for a file or folder without problems.
    """
    path = Path(path)
    rows = [{"qid": qid, **_problem(place, row)} for qid, place, row in _located(path)]
    if not rows:
        raise ValueError(
            f"{path}: no problems there; expected JSON objects with `problem` and `solution`, in one file, or in a"
            " folder one file each"
        )
    return pd.DataFrame(rows, columns=["qid", "query", "gold", "level", "subject"])


def _located(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    files = sorted(path.rglob("*.json"), key=_natural) if path.is_dir() else [path]
    for file in files:
        name = file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem.split(".")[0]
        found: list[Located] = list(read_records(file))
        for number, (place, row) in enumerate(found, start=1):
            alone = path.is_dir() and len(found) == 1
            yield (name if alone else f"{name}-{number}").replace(" ", "_"), place, row


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort 10.json after 9.json."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in (*path.parent.parts, path.stem)]


def _problem(place: str, row: dict[str, Any]) -> dict[str, Any]:
    problem, solution = row.get("problem"), row.get("solution")
    if not isinstance(problem, str) or not problem.strip():
        raise ValueError(f"{place}: no text under `problem`; a problem has `problem` and `solution`")
    answer = row.get("answer")
    gold = (
        str(answer).strip()
        if answer is not None
        else boxed(solution, words=False)
        if isinstance(solution, str)
        else None
    )
    if not gold:
        raise ValueError(
            f"{place}: no \\boxed{{}} answer under `solution`; a solution ends in one, or the problem has an `answer`"
        )
    return {
        "query": problem,
        "gold": gold,
        "level": row.get("level"),
        "subject": row.get("type", row.get("subject")),
    }
