"""The table of tasks: each reads its own file format as topics, and grades responses to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from larpo_ir.data.results import require_columns
from larpo_ir.tasks import gsm8k, math, mixeval
from larpo_ir.tasks.evaluation import PathLike, Recorded, evaluate_graded, exactly

# The two kinds of things that `--judge` may be, as messages name them.
GENERATOR, JUDGE = (
    "a generator that reads responses, such as OpenAIGenerator",
    "a judge from larpo_ir.rewards",
)


@dataclass(frozen=True)
class Task:
    """A task's files as topics, and the evaluation of responses to them.

    `judge`: the kind of thing that `--judge` takes for this task, `GENERATOR` or `JUDGE`; None: the task takes none.
    """

    load: Callable[[PathLike], pd.DataFrame]
    evaluate: Callable[[Recorded], pd.DataFrame]
    judge: str | None = None
    needs_judge: bool = False

    def read(self, path: PathLike) -> pd.DataFrame:
        """Read the task's files as topics: `qid` as text, `query`, and `gold` where answers are right or wrong.

        Raises `FileNotFoundError` where there are none, and `ValueError` where there is no item in them.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"{path}: no such file or folder; give the task's own files")
        topics = self.load(path)
        require_columns(topics, ["qid", "query"], "a task")
        if topics.empty:
            raise ValueError(f"{path} is empty: no items to answer")
        return topics.astype({"qid": str})


def _graded(module: ModuleType, groups: Sequence[str] = ()) -> Task:
    """A task whose responses are right or wrong, by the functions of its module.

    `load(path)` returns topics `qid, query, gold`; `extract_answer(text)` the answer in a response, None if there is
    none; `is_correct(text, gold)` says whether a response is right. `groups`: columns of the topics by whose values
    the score is broken down.
    """
    return Task(module.load, partial(evaluate_graded, grade=exactly(module), groups=groups))


def get_task(name: str) -> Task:
    """A task by name. Raises `ValueError` naming the choices."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; choose one of {', '.join(TASKS)}")
    return TASKS[name]


def evaluate_task(
    name: str, results: PathLike, data: PathLike, output: PathLike, judge: Any = None, seed: int = 0
) -> pd.DataFrame:
    """Grade recorded responses to a task, and write the evaluation to a folder.

    Args:
        name: of the task, see `TASKS`.
        results: the responses, as a generator or `larpo-ir rerank` wrote them (`qid, text`; `.parquet` or `.jsonl`),
            or in the form in which the task's authors publish theirs (MixEval, also a folder with a
            file for either kind of items; AlpacaEval).
        data: the task's own files.
        output: a folder, new or with the same evaluation.
        judge: where the task takes one: a generator that reads responses (MixEval), or a `Judge` that compares a
            response with a reference's (AlpacaEval).
        seed: of the bootstrap.

    Returns the table: `measure, mean, low, high, num_queries`, with 95 % bootstrap intervals over items (AlpacaEval:
    its leaderboard). Items without a response count as wrong.

    An evaluation that fails leaves nothing in the folder but verdicts that were judged before. Raises `ValueError`
    for a folder with another evaluation, for responses to unknown items and for malformed files.
    """
    task = get_task(name)
    _check_judge(name, task, judge)
    return task.evaluate(Recorded(name, task.read, Path(results), Path(data), Path(output), judge, seed))


def _check_judge(name: str, task: Task, judge: Any) -> None:
    from larpo_ir.models.generators import ResponseGenerator

    if judge is None:
        if task.needs_judge:
            raise ValueError(f"the task {name} needs --judge: {task.judge}")
    elif task.judge is None:
        raise ValueError(f"the task {name} is graded without a judge; leave --judge out")
    elif isinstance(judge, ResponseGenerator) != (task.judge == GENERATOR):
        raise ValueError(f"--judge of the task {name} must be {task.judge}, not {type(judge).__name__}")


# AlpacaEval's win rates need scipy's optimisers, which no other task waits for.


def _read_instructions(path: PathLike) -> pd.DataFrame:
    from larpo_ir.tasks import alpaca_eval

    return alpaca_eval.load(path)


def _evaluate_comparisons(recorded: Recorded) -> pd.DataFrame:
    from larpo_ir.tasks import alpaca_eval

    return alpaca_eval.evaluate_recorded(recorded)


TASKS: dict[str, Task] = {
    "gsm8k": _graded(gsm8k),
    "math": _graded(math, groups=("level", "subject")),
    "mixeval": Task(
        mixeval.load,
        partial(
            evaluate_graded,
            grade=mixeval.score,
            groups=("type", "benchmark"),
            every_draw=False,
            counts=mixeval.counts,
            read_published=mixeval.read_published,
        ),
        judge=GENERATOR,
    ),
    "alpaca_eval": Task(_read_instructions, _evaluate_comparisons, judge=JUDGE, needs_judge=True),
}
