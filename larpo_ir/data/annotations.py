"""AlpacaEval's files: outputs of a system, and annotations, the recorded comparisons of outputs with a reference's.

Outputs are read as a results frame. Annotations are read as judgements, one row per system and instruction:

    model, instruction_id     the system and the instruction
    preference                the probability, 0 to 1, that the system's response beats the reference's; 0.5 is a tie
    length, reference_length  characters of the two responses
    instruction, output, reference, reference_model, annotator      texts and names, where they are known

In the files a preference is from 1 (for `output_1`) to 2 (for `output_2`).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from larpo_ir.data.files import write_atomically
from larpo_ir.data.records import Row, read_records
from larpo_ir.data.results import docno_of, rank_results, require_columns

logger = logging.getLogger("larpo_ir")

PathLike: TypeAlias = str | os.PathLike[str]

JUDGEMENT_COLUMNS = ["model", "instruction_id", "preference", "length", "reference_length"]
TEXT_COLUMNS = ["instruction", "output", "reference"]

# --- Outputs -----------------------------------------------------------------------------------------------------


def read_outputs(path: PathLike) -> pd.DataFrame:
    """Responses in AlpacaEval's form (a JSON array of `instruction`, `output`, `generator`) as a results frame.

    Columns: `qid, query, docno, text, score, rank, generator`, and any other that the file has, such as `dataset`.
    `qid` is the place in the file, from 0. Raises `ValueError` naming the record that has no text under `instruction`
    or `output`, and for an empty file.
    """
    rows = []
    for number, (place, row) in enumerate(read_records(path)):
        instruction, output = (_text(row, field, place) for field in ("instruction", "output"))
        more = {name: value for name, value in row.items() if name not in ("instruction", "output")}
        rows.append(
            {
                "qid": str(number),
                "query": instruction,
                "docno": docno_of(instruction, output),
                "text": output,
                "score": 0.0,
                "rank": 0,
                **{"generator": Path(path).stem, **more},
            }
        )
    if not rows:
        raise ValueError(f"{path} is empty: no outputs to read")
    return pd.DataFrame(rows)


def write_outputs(results: pd.DataFrame, path: PathLike, generator: str | None = None) -> Path:
    """Write the first-ranked response to every query as AlpacaEval's model outputs, a JSON array.

    `generator`: the name of the system; None: the results' column `generator`. A column `dataset` or `datasplit` is
    written, too.
    """
    first = first_ranked(results, generator)
    columns = {"dataset": "dataset", "query": "instruction", "text": "output", "generator": "generator"}
    columns |= {"datasplit": "datasplit"}
    present = {name: field for name, field in columns.items() if name in first}
    return _write_json(first[list(present)].rename(columns=present), path)


def first_ranked(results: pd.DataFrame, generator: str | None) -> pd.DataFrame:
    """The first-ranked response of each generator to each query, with the column `generator`."""
    if generator is not None:
        results = results.assign(generator=generator)
    require_columns(results, ["qid", "query", "text", "generator"], "AlpacaEval")
    if results.empty:
        raise ValueError("there are no responses: the results are empty")
    results = results if "score" in results else results.assign(score=0.0)
    parts = [rank_results(part) for _, part in results.groupby("generator", sort=False)]
    return pd.concat([part[part["rank"] == 0] for part in parts], ignore_index=True)


# --- Annotations -------------------------------------------------------------------------------------------------


def read_annotations(path: PathLike | Sequence[PathLike], baseline: str | None = None) -> pd.DataFrame:
    """Read verdicts that AlpacaEval (or `write_annotations`) has recorded, as judgements.

    Args:
        path: one or several files, each a JSON array of objects with `instruction`, `output_1`, `output_2`,
            `generator_1`, `generator_2` and `preference`, from 1 (for output_1) to 2.
        baseline: the generator all others are compared with, on whichever side it is. None: the one in every
            comparison; of two that are, the one that is always `generator_1`.

    Returns the columns of a judgement with its texts, as the module's docstring tells them. `instruction_id` counts
    instructions from 0 as they first occur, or is the record's `index` where every record has one. As AlpacaEval
    does, comparisons without a verdict are left out, which is said, and 0 is read as a tie.

    Raises `ValueError` naming file and record for missing fields and preferences out of range, and where the baseline
    cannot be told or is in none of a record's two places.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    located = [(place, row, str(file)) for file in paths for place, row in read_records(file)]
    if not located:
        raise ValueError(f"{', '.join(map(str, paths))}: empty, no annotations to read")
    for place, row, _ in located:
        _check_comparison(row, place)
    baseline = _baseline([row for _, row, _ in located], baseline)
    frame = pd.DataFrame([_judgement(row, place, baseline) | {"file": file} for place, row, file in located])
    frame["instruction_id"] = frame["index"] if frame["index"].notna().all() else _numbered(frame)
    judged = frame["preference"].notna()
    if not judged.all():
        logger.info(f"{int((~judged).sum())} of {len(frame)} comparisons have no verdict and are left out")
    return with_lengths(frame[judged].drop(columns=["file", "index"]).reset_index(drop=True))


def write_annotations(judgements: pd.DataFrame, path: PathLike) -> Path:
    """Write judgements with their texts as AlpacaEval's annotations: the reference is output_1, preferences 1 to 2.

    `alpaca_eval.metrics` and the leaderboard's tools read them. Columns: those that `read_annotations` returns.
    """
    require_columns(judgements, [*JUDGEMENT_COLUMNS, *TEXT_COLUMNS], "AlpacaEval's annotations")
    defaults = {"reference_model": "reference", "annotator": "unknown"}
    judgements = judgements.assign(
        **{name: value for name, value in defaults.items() if name not in judgements}
    )
    return _write_json(
        pd.DataFrame(
            {
                "index": judgements["instruction_id"],
                "instruction": judgements["instruction"],
                "output_1": judgements["reference"],
                "generator_1": judgements["reference_model"],
                "output_2": judgements["output"],
                "generator_2": judgements["model"],
                "annotator": judgements["annotator"],
                "preference": judgements["preference"] + 1,
            }
        ),
        path,
    )


def with_lengths(frame: pd.DataFrame) -> pd.DataFrame:
    """Judgements with lengths in characters. An empty response counts one, so that it is a length like others."""
    frame = frame.assign(
        length=frame["output"].str.len().clip(lower=1),
        reference_length=frame["reference"].str.len().clip(lower=1),
    )
    return frame[[*JUDGEMENT_COLUMNS, *(column for column in frame if column not in JUDGEMENT_COLUMNS)]]


def _check_comparison(row: Row, place: str) -> None:
    for field in ("instruction", "output_1", "output_2", "generator_1", "generator_2"):
        _text(row, field, place)
    if "preference" not in row:
        raise ValueError(f"{place}: no `preference`; AlpacaEval's annotations have one from 1 to 2")


def _baseline(rows: Iterable[Row], name: str | None) -> str:
    if name is not None:
        return name
    pairs = [(str(row["generator_1"]), str(row["generator_2"])) for row in rows]
    always = set(pairs[0]).intersection(*pairs)
    first = {pair[0] for pair in pairs}
    for candidates in (always, always & first if len(first) == 1 else set()):
        if len(candidates) == 1:
            return candidates.pop()
    raise ValueError(
        f"which generator is the baseline cannot be told from {', '.join(sorted(set().union(*pairs))[:6])}: name it"
        " as baseline"
    )


def _judgement(row: Row, place: str, baseline: str) -> dict[str, Any]:
    preference = _recorded_preference(row["preference"], place)
    side = 1 if row["generator_1"] == baseline else 2
    if row[f"generator_{side}"] != baseline:
        raise ValueError(
            f"{place}: compares {row['generator_1']} with {row['generator_2']}, not with {baseline}"
        )
    return {
        "model": row[f"generator_{3 - side}"],
        "index": row.get("index"),
        "instruction": row["instruction"],
        "output": row[f"output_{3 - side}"],
        "reference": row[f"output_{side}"],
        "reference_model": baseline,
        "preference": preference if side == 1 else 1 - preference,
        "annotator": row.get("annotator"),
    }


def _recorded_preference(value: Any, place: str) -> float:
    """P(output_2 beats output_1), NaN without a verdict."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return np.nan
    if not isinstance(value, int | float) or isinstance(value, bool) or not (value == 0 or 1 <= value <= 2):
        raise ValueError(f"{place}: preference must be from 1 to 2, got {value!r}")
    return 0.5 if value == 0 else float(value) - 1


def _numbered(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Numbers of instructions as they first occur; one that a system met twice is two."""
    occurrence = frame.groupby(["file", "model", "instruction"]).cumcount()
    numbers, _ = pd.factorize(pd.MultiIndex.from_arrays([frame["instruction"], occurrence]))
    return np.asarray(numbers, dtype=np.int64)


# --- Both --------------------------------------------------------------------------------------------------------


def _text(row: Mapping[str, Any], field: str, place: str) -> str:
    if not isinstance(row.get(field), str):
        raise ValueError(f"{place}: no text under `{field}`")
    return str(row[field])


def _write_json(frame: pd.DataFrame, path: PathLike) -> Path:
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
