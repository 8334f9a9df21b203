"""AlpacaEval 2: a judge compares responses with a reference's, and a leaderboard says how often each system wins.

`larpo_ir.data.annotations` reads and writes AlpacaEval's files, `larpo_ir.tasks.win_rates` defines the win rates.
Nothing is fetched.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from larpo_ir.data.annotations import (
    JUDGEMENT_COLUMNS,
    TEXT_COLUMNS,
    PathLike,
    first_ranked,
    read_annotations,
    read_outputs,
    with_lengths,
    write_annotations,
    write_outputs,
)
from larpo_ir.data.files import write_atomically
from larpo_ir.data.records import read_records
from larpo_ir.data.results import require_columns
from larpo_ir.tasks.evaluation import Recorded, read_results
from larpo_ir.tasks.verdicts import Compare, RememberingJudge, verdicts
from larpo_ir.tasks.win_rates import (
    check_judgements,
    given_difficulty,
    length_controlled_win_rates,
    win_rate,
)

logger = logging.getLogger("larpo_ir")

__all__ = [
    "JUDGEMENT_COLUMNS", "TEXT_COLUMNS", "evaluate_outputs", "evaluate_recorded", "judge_outputs", "leaderboard",
    "length_controlled_win_rates", "load", "read_annotations", "read_outputs", "win_rate", "write_annotations",
    "write_outputs",
]  # fmt: skip


def load(path: PathLike) -> pd.DataFrame:
    """Read the instructions of AlpacaEval's model outputs as a topics frame, `qid, query`; see `read_outputs`."""
    return read_outputs(path)[["qid", "query"]]


def evaluate_recorded(recorded: Recorded) -> pd.DataFrame:
    """`evaluate_outputs` on files: AlpacaEval's model outputs, or results of `larpo-ir generate` or `rerank`."""
    _, first = next(read_records(recorded.results), ("", {}))
    is_published = first.keys() & {"instruction", "output"} and "qid" not in first
    results = read_outputs(recorded.results) if is_published else read_results(recorded.results)
    return evaluate_outputs(results, recorded.data, recorded.judge, recorded.output)


def judge_outputs(
    outputs: pd.DataFrame, references: pd.DataFrame | PathLike, judge: Compare, model: str | None = None
) -> pd.DataFrame:
    """Have responses compared with the reference's.

    Args:
        outputs: a results frame, whose first-ranked responses count; a column `generator` tells several systems
            apart.
        references: AlpacaEval's model outputs of the reference system: a file, or a frame with the columns
            `instruction` and `output` (or a results frame).
        judge: a `Judge` of `larpo_ir.rewards`, or a function of its form; it compares two responses.
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
    judge: Compare,
    output: PathLike,
    *,
    model: str | None = None,
    others: pd.DataFrame | None = None,
    difficulty: Mapping[Any, float] | pd.Series[float] | None = None,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Judge responses, and write the evaluation to a folder; `judge_outputs` tells the first three arguments.

    Args:
        output: a folder, new or with this evaluation: no pair that was judged there is judged again.
        model: the name of a system without a column `generator`; None: `model`.
        others: judgements of other systems against the same references (`read_annotations`), from which the
            difficulty of instructions is inferred together with these.
        difficulty: of instructions by `instruction_id`, see `length_controlled_win_rates`.
        batch_size: so many items go to the judge at a time, and are kept if a later one fails.

    The folder holds `annotations.json` (AlpacaEval's form), `items.parquet` (the same as judgements),
    `verdicts.jsonl` (the verdicts so far; a `RecordedJudge` needs none), `summary.json`, and the leaderboard as
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
        # Recorded verdicts need no second record, which would not tell the systems apart.
        is_recorded = isinstance(judge, RecordedJudge)
        judgements = _judged(
            pairs, judge if is_recorded else RememberingJudge(judge, folder / "verdicts.jsonl", batch_size)
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


def _judged(pairs: pd.DataFrame, judge: Compare) -> pd.DataFrame:
    asked = pairs.rename(columns={"instruction": "query", "output": "text"})
    preference = verdicts(judge, asked)
    return with_lengths(pairs.assign(preference=preference, annotator=repr(judge)))


def _paired(outputs: pd.DataFrame, references: pd.DataFrame | PathLike, model: str | None) -> pd.DataFrame:
    """Responses with the reference's, one row for each: a judgement without lengths and verdict."""
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
    first = first_ranked(outputs, model)
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
