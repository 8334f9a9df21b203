"""AlpacaEval 2: its files, judging responses against a reference's, and the leaderboard.

`larpo_ir.tasks.win_rates` defines the win rates. Nothing is fetched: outputs, references and annotations are files in
AlpacaEval's own form.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from larpo_ir.data.files import write_atomically
from larpo_ir.data.records import read_records
from larpo_ir.data.results import docno_of, rank_results, require_columns
from larpo_ir.tasks.win_rates import (
    JUDGEMENT_COLUMNS,
    check_judgements,
    check_preferences,
    given_difficulty,
    length_controlled_win_rates,
    win_rate,
)

if TYPE_CHECKING:
    from larpo_ir.rewards.judges import Judge

logger = logging.getLogger("larpo_ir")

PathLike: TypeAlias = str | os.PathLike[str]

__all__ = [
    "JUDGEMENT_COLUMNS", "TEXT_COLUMNS", "evaluate_outputs", "judge_outputs", "leaderboard",
    "length_controlled_win_rates", "read_annotations", "read_outputs", "win_rate", "write_annotations",
    "write_outputs",
]  # fmt: skip

TEXT_COLUMNS = ["instruction", "output", "reference"]

# --- AlpacaEval's files ------------------------------------------------------------------------------------------


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
    first = _first_ranked(results, generator)
    columns = {"dataset": "dataset", "query": "instruction", "text": "output", "generator": "generator"}
    columns |= {"datasplit": "datasplit"}
    present = {name: field for name, field in columns.items() if name in first}
    return _write_json(first[list(present)].rename(columns=present), path)


def read_annotations(path: PathLike | Sequence[PathLike], baseline: str | None = None) -> pd.DataFrame:
    """Verdicts that AlpacaEval (or `write_annotations`) has recorded, as judgements.

    Args:
        path: one or several files, each a JSON array of objects with `instruction`, `output_1`, `output_2`,
            `generator_1`, `generator_2` and `preference`, from 1 (for output_1) to 2.
        baseline: the generator all others are compared with, on whichever side it is. None: the one in every
            comparison; of two that are, the one that is always `generator_1`.

    Returns the columns of a judgement (see `length_controlled_win_rates`), and `instruction, output, reference,
    reference_model, annotator`. `instruction_id` counts instructions from 0 as they first occur, or is the record's
    `index` where every record has one. As AlpacaEval does, comparisons without a verdict are left out, which is said,
    and 0 is read as a tie.

    Raises `ValueError` naming file and record for missing fields and preferences out of range, and where the baseline
    cannot be told or is in none of a record's two places.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    located = [(place, row, str(file)) for file in paths for place, row in read_records(file)]
    if not located:
        raise ValueError(f"{', '.join(map(str, paths))}: empty, no annotations to read")
    for place, row, _ in located:
        for field in ("instruction", "output_1", "output_2", "generator_1", "generator_2"):
            _text(row, field, place)
        if "preference" not in row:
            raise ValueError(f"{place}: no `preference`; AlpacaEval's annotations have one from 1 to 2")
    baseline = _baseline([row for _, row, _ in located], baseline)
    rows = []
    for place, row, file in located:
        preference = _recorded_preference(row["preference"], place)
        side = 1 if row["generator_1"] == baseline else 2
        if row[f"generator_{side}"] != baseline:
            raise ValueError(
                f"{place}: compares {row['generator_1']} with {row['generator_2']}, not with {baseline}"
            )
        rows.append(
            {
                "model": row[f"generator_{3 - side}"],
                "file": file,
                "index": row.get("index"),
                "instruction": row["instruction"],
                "output": row[f"output_{3 - side}"],
                "reference": row[f"output_{side}"],
                "reference_model": baseline,
                "preference": preference if side == 1 else 1 - preference,
                "annotator": row.get("annotator"),
            }
        )
    frame = pd.DataFrame(rows)
    frame["instruction_id"] = frame["index"] if frame["index"].notna().all() else _numbered(frame)
    judged = frame["preference"].notna()
    if not judged.all():
        logger.info(f"{int((~judged).sum())} of {len(frame)} comparisons have no verdict and are left out")
    return _with_lengths(frame[judged].drop(columns=["file", "index"]).reset_index(drop=True))


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


def _text(row: Mapping[str, Any], field: str, place: str) -> str:
    if not isinstance(row.get(field), str):
        raise ValueError(f"{place}: no text under `{field}`")
    return str(row[field])


def _write_json(frame: pd.DataFrame, path: PathLike) -> Path:
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=2) + "\n")


def _first_ranked(results: pd.DataFrame, generator: str | None) -> pd.DataFrame:
    """The first-ranked response of each generator to each query, with the column `generator`."""
    if generator is not None:
        results = results.assign(generator=generator)
    require_columns(results, ["qid", "query", "text", "generator"], "AlpacaEval")
    if results.empty:
        raise ValueError("there are no responses: the results are empty")
    results = results if "score" in results else results.assign(score=0.0)
    parts = [rank_results(part) for _, part in results.groupby("generator", sort=False)]
    return pd.concat([part[part["rank"] == 0] for part in parts], ignore_index=True)


def _baseline(rows: Sequence[Mapping[str, Any]], name: str | None) -> str:
    pairs = [(str(row["generator_1"]), str(row["generator_2"])) for row in rows]
    if name is not None:
        return name
    always = set(pairs[0]).intersection(*pairs)
    first = {pair[0] for pair in pairs}
    for candidates in (always, always & first if len(first) == 1 else set()):
        if len(candidates) == 1:
            return candidates.pop()
    raise ValueError(
        f"which generator is the baseline cannot be told from {', '.join(sorted(set().union(*pairs))[:6])}: name it"
        " as baseline"
    )


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
    return pd.factorize(pd.MultiIndex.from_arrays([frame["instruction"], occurrence]))[0]


def _with_lengths(frame: pd.DataFrame) -> pd.DataFrame:
    """Lengths in characters. An empty response counts one, so that it is a length like others."""
    frame = frame.assign(
        length=frame["output"].str.len().clip(lower=1),
        reference_length=frame["reference"].str.len().clip(lower=1),
    )
    return frame[[*JUDGEMENT_COLUMNS, *(column for column in frame if column not in JUDGEMENT_COLUMNS)]]


# --- Evaluations -------------------------------------------------------------------------------------------------


def judge_outputs(
    outputs: pd.DataFrame, references: pd.DataFrame | PathLike, judge: Judge, model: str | None = None
) -> pd.DataFrame:
    """Have responses compared with the reference's.

    Args:
        outputs: a results frame, whose first-ranked responses count; a column `generator` tells several systems
            apart.
        references: AlpacaEval's model outputs of the reference system: a file, or a frame with the columns
            `instruction` and `output` (or a results frame).
        judge: see `larpo_ir.rewards.judges`.
        model: the name of a system without a column `generator`.

    Responses are matched with references by instruction, or by `qid`, the place of the instruction in the references,
    where the outputs have no `query`. `instruction_id` is that place, so that AlpacaEval's own table of difficulties
    fits its own references. Instructions without a response are left out, as AlpacaEval does, which is said.

    Returns judgements with their texts, as `read_annotations` does. Raises `ValueError` for responses to instructions
    that have no reference.
    """
    return _judged(_paired(outputs, references, model), judge)


def evaluate_outputs(
    results: pd.DataFrame,
    references: pd.DataFrame | PathLike,
    judge: Judge,
    output: PathLike,
    *,
    model: str | None = None,
    others: pd.DataFrame | None = None,
    difficulty: Mapping[Any, float] | pd.Series[float] | None = None,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Judge responses, and write the evaluation to a folder; `judge_outputs` tells the first three arguments.

    Args:
        output: a folder, new or with this evaluation: what was judged there is not judged again.
        model: the name of a system without a column `generator`; None: `model`.
        others: judgements of other systems against the same references (`read_annotations`), from which the
            difficulty of instructions is inferred together with these.
        difficulty: of instructions by `instruction_id`, see `length_controlled_win_rates`.
        batch_size: so many items go to the judge at a time, and are kept if a later one fails.

    The folder holds `annotations.json` (AlpacaEval's form), `items.parquet` (the same as judgements),
    `verdicts.jsonl` (what was judged so far; a `RecordedJudge` needs none), `summary.json`, and the leaderboard as
    `leaderboard.csv`, `.md` and `.tex`. An evaluation that fails before the first verdict leaves no folder.

    Returns the leaderboard, best first: `model, win_rate, length_controlled_win_rate, standard_error, num_items,
    mean_length`. Raises `ValueError` for a folder with anything else, before it is touched.
    """
    from larpo_ir.provenance.identity import identity
    from larpo_ir.rewards.judges import RecordedJudge
    from larpo_ir.tasks.folder import claimed

    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    pairs = _paired(results, references, model)
    if others is not None:
        check_judgements(others)
    if difficulty is not None:
        given_difficulty(difficulty, pd.Index(pairs["instruction_id"].unique()))
    folder, given = Path(output), {"judge": judge, "others": others, "difficulty": difficulty}
    settings = {"task": "alpaca_eval", "models": list(pairs["model"].unique()), "judge": repr(judge)}
    made_from = settings | {name: identity(thing) for name, thing in given.items()}
    with claimed(folder, made_from, pairs[["model", *TEXT_COLUMNS]]):
        # What is on record needs no second one, which would not tell the systems apart.
        is_recorded = isinstance(judge, RecordedJudge)
        judgements = _judged(
            pairs, judge if is_recorded else _Remembering(judge, folder / "verdicts.jsonl", batch_size)
        )
        board = leaderboard(judgements, others, difficulty)
        write_annotations(judgements, folder / "annotations.json")
        judgements.to_parquet(folder / "items.parquet")
        _write_leaderboard(board, folder)
        rows = json.loads(board.to_json(orient="records"))
        summary = {**settings, "reference": judgements["reference_model"].iloc[0], "leaderboard": rows}
        write_atomically(folder / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return board


def leaderboard(
    judgements: pd.DataFrame,
    others: pd.DataFrame | None = None,
    difficulty: Mapping[Any, float] | pd.Series[float] | None = None,
) -> pd.DataFrame:
    """The table of `evaluate_outputs`, of judgements; `others` are fitted jointly, and get no row."""
    together = judgements
    if others is not None:
        new = others[~others["model"].isin(judgements["model"])]
        together = pd.concat([judgements[JUDGEMENT_COLUMNS], new[JUDGEMENT_COLUMNS]], ignore_index=True)
    by_model = judgements.groupby("model", sort=False)["length"]
    board = length_controlled_win_rates(together, difficulty).loc[list(by_model.groups)]
    board = board.assign(num_items=by_model.size(), mean_length=by_model.mean().round().astype(int))
    return board.sort_values("length_controlled_win_rate", ascending=False, kind="stable").reset_index()


def _write_leaderboard(board: pd.DataFrame, folder: Path) -> None:
    from larpo_ir.evaluation.tables import latex_table, markdown_table

    shown = board.rename(columns=lambda name: name.replace("_", " "))
    write_atomically(folder / "leaderboard.csv", board.to_csv(index=False))
    write_atomically(folder / "leaderboard.md", markdown_table(shown))
    caption = "AlpacaEval 2: win rates against the reference, in percent"
    write_atomically(folder / "leaderboard.tex", latex_table(shown, caption, "tab:alpaca-eval"))


def _judged(pairs: pd.DataFrame, judge: Callable[[pd.DataFrame], pd.Series[float]]) -> pd.DataFrame:
    asked = pairs.rename(columns={"instruction": "query", "output": "text"})
    preference = _verdicts(judge, asked)
    return _with_lengths(pairs.assign(preference=preference, annotator=repr(judge)))


def _verdicts(judge: Callable[[pd.DataFrame], pd.Series[float]], asked: pd.DataFrame) -> NDArray[np.float64]:
    preferences = np.asarray(judge(asked), dtype=float)
    if preferences.shape != (len(asked),):
        raise ValueError(f"{judge!r} gave {preferences.size} preferences for {len(asked)} responses")
    check_preferences(preferences, f"preferences of {judge!r}")
    return preferences


def _paired(outputs: pd.DataFrame, references: pd.DataFrame | PathLike, model: str | None) -> pd.DataFrame:
    """Responses with the reference's, one row for each: what a judgement has but lengths and verdict."""
    reference = _reference_frame(references)
    if model is None and "generator" not in outputs:
        model = "model"
    if "query" not in outputs:
        require_columns(outputs, ["qid", "text"], "AlpacaEval")
        places = reference.set_index(reference["instruction_id"].astype(str))["instruction"]
        unknown = outputs.loc[~outputs["qid"].astype(str).isin(places.index), "qid"]
        if len(unknown):
            raise ValueError(
                f"qid {unknown.iloc[0]!r} is no place of an instruction among the {len(places)} references, from"
                " 0; give the responses with their column query"
            )
        outputs = outputs.assign(query=outputs["qid"].astype(str).map(places))
    first = _first_ranked(outputs, model)
    wrong = first["text"].map(lambda text: not isinstance(text, str))
    if wrong.any():
        raise ValueError(f"the response to query {first.loc[wrong, 'qid'].iloc[0]} has no text")
    first["occurrence"] = first.groupby(["generator", "query"]).cumcount()
    pairs = first.rename(columns={"generator": "model", "query": "instruction", "text": "output"})
    pairs = pairs[["model", "instruction", "occurrence", "output"]].merge(
        reference, on=["instruction", "occurrence"], how="left"
    )
    unknown = pairs.loc[pairs["reference"].isna(), "instruction"]
    if len(unknown):
        raise ValueError(
            f"{len(unknown)} of {len(pairs)} responses are to instructions without a reference, such as"
            f" {unknown.iloc[0][:60]!r}; evaluate responses to the references' instructions"
        )
    for name, number in pairs["model"].value_counts().items():
        if number < len(reference):
            logger.info(
                f"{name}: {len(reference) - number} of {len(reference)} instructions have no response"
            )
    return pairs.drop(columns="occurrence").astype({"instruction_id": int})


def _reference_frame(references: pd.DataFrame | PathLike) -> pd.DataFrame:
    frame = references if isinstance(references, pd.DataFrame) else read_outputs(references)
    if "instruction" not in frame:
        frame = frame.rename(columns={"query": "instruction", "text": "output"})
    require_columns(frame, ["instruction", "output"], "the references")
    if frame.empty:
        raise ValueError("there are no references to compare with")
    names = frame["generator"] if "generator" in frame else pd.Series("reference", index=frame.index)
    if names.nunique() > 1:
        raise ValueError(f"references must be of one generator, got {', '.join(map(str, names.unique()))}")
    return pd.DataFrame(
        {
            "instruction": frame["instruction"],
            "occurrence": frame.groupby("instruction").cumcount(),
            "instruction_id": np.arange(len(frame)),
            "reference": frame["output"],
            "reference_model": names,
        }
    )


class _Remembering:
    """A judge that asks another in batches, writes each verdict down, and asks for none twice."""

    def __init__(self, judge: Judge, path: Path, batch_size: int) -> None:
        self.judge, self.path, self.batch_size = judge, path, batch_size

    def __repr__(self) -> str:
        return repr(self.judge)

    def __call__(self, frame: pd.DataFrame) -> pd.Series[float]:
        known = self._read()
        keys = [_key(*texts) for texts in frame[["query", "text", "reference"]].itertuples(index=False)]
        waiting = list({key: row for row, key in enumerate(keys) if key not in known}.values())
        for start in range(0, len(waiting), self.batch_size):
            rows = waiting[start : start + self.batch_size]
            verdicts = _verdicts(self.judge, frame.iloc[rows].reset_index(drop=True))
            new = {keys[row]: float(verdict) for row, verdict in zip(rows, verdicts, strict=True)}
            lines = [json.dumps({"key": key, "preference": preference}) for key, preference in new.items()]
            with self.path.open("a", encoding="utf-8") as file:
                # Begins a line of its own, whatever a crash has left.
                file.write("\n" + "\n".join(lines) + "\n")
            known |= new
        return pd.Series([known[key] for key in keys], index=frame.index, dtype=float)

    def _read(self) -> dict[str, float]:
        """Verdicts by key; a line that a crash has cut short is passed over."""
        verdicts = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            try:
                row = json.loads(line or "{}")
                verdicts[row["key"]] = float(row["preference"])
            except (ValueError, TypeError, LookupError, RecursionError):
                continue
        return verdicts


def _key(*texts: str) -> str:
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
