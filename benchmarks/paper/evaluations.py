"""Evaluations of a policy as in the paper: AlpacaEval 2 and MixEval, by the tasks of `larpo-ir evaluate`.

    evaluations:
      alpaca_eval:
        data: FILE
        judge: {class_path: …, init_args: …}
        generator: {temperature: 0.7, max_new_tokens: 2048}

`data` is the task's own file, `judge` is as for `larpo-ir evaluate`, and `generator` replaces options of the setup's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.models.distributed import is_main_process, wait_for_everyone

# task -> column of items.parquet with its measure, and name of the measure in tables
ITEMS = {
    "alpaca_eval": ("preference", "win rate"),
    "mixeval": ("score", "MixEval"),
    "gsm8k": ("score", "GSM8K"),
    "math": ("score", "MATH"),
}


def evaluated(generator: Any, evaluations: Mapping[str, Mapping[str, Any]], folder: Path) -> pd.DataFrame:
    """Per-item values of every evaluation, a column each, indexed by `TASK:item`. Responses stay in `folder`."""
    from larpo_ir.tasks import evaluate_task, get_task

    columns = []
    for name, options in evaluations.items():
        responses = folder / name / "responses.parquet"
        if not responses.exists():
            asked = generator.replace(num_candidates=1, **options.get("generator", {}))
            results = asked.transform(get_task(name).read(options["data"]))
            if is_main_process():
                responses.parent.mkdir(parents=True, exist_ok=True)
                results.to_parquet(responses)
        wait_for_everyone()
        if is_main_process():
            evaluate_task(name, responses, options["data"], folder / name / "evaluation", judge_of(options))
        wait_for_everyone()
        items = pd.read_parquet(folder / name / "evaluation" / "items.parquet")
        column, title = ITEMS[name]
        ids = items["instruction_id" if name == "alpaca_eval" else "qid"].astype(str)
        columns.append(pd.Series(items[column].to_numpy(), index=f"{name}:" + ids, name=title))
    return pd.concat(columns, axis=1) if columns else pd.DataFrame()


def judge_of(options: Mapping[str, Any]) -> Any:
    """The judge of an evaluation's options, as `larpo-ir evaluate --judge` makes it."""
    if options.get("judge") is None:
        return None
    from larpo_ir.cli import COMMANDS
    from larpo_ir.cli.engine import parser_of

    parser = parser_of("larpo-ir", COMMANDS, "evaluate")
    given = parser.instantiate(parser.parse_object({"results": "-", "judge": dict(options["judge"])}))
    return given["judge"]


def joint_leaderboard(study: Path) -> pd.DataFrame | None:
    """Length-controlled win rates of a study's conditions and seeds, fitted together; None without AlpacaEval."""
    from larpo_ir.tasks.alpaca_eval import leaderboard

    files = sorted(study.glob("*/seed-*/alpaca_eval/evaluation/items.parquet"))
    if not files:
        return None
    judged = [
        pd.read_parquet(file).assign(model=f"{file.parents[3].name}, {file.parents[2].name}")
        for file in files
    ]
    return leaderboard(pd.concat(judged, ignore_index=True))
