"""Tasks: where prompts come from and how their responses are graded.

`TASKS` is the table of those that `larpo-ir evaluate --task` knows: each reads its own file format as topics, and
grades responses to them. An evaluation is a folder:

    items.jsonl, items.parquet    each response: qid, query, response, rank, answer (what was read), gold, score
    summary.json                  what was evaluated, counts, and measures with their intervals
    table.md, table.csv, table.tex

Of the counts, `num_without_answer` is of responses in which no answer could be read. MixEval has `num_without_choice`
instead, of responses to multiple-choice items that choose no option: by the rules a free-form response is either
right, its `answer` being the target that it gives, or wrong, with no `answer`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import pandas as pd

from larpo_ir.data.files import write_atomically
from larpo_ir.data.records import read_records
from larpo_ir.data.results import rank_results
from larpo_ir.tasks import gsm8k, math, mixeval

logger = logging.getLogger("larpo_ir")

PathLike: TypeAlias = str | os.PathLike[str]

ITEM_COLUMNS = ["qid", "query", "response", "rank", "answer", "gold", "score"]
# What the judge of a task must be, and how that is said.
GENERATOR, JUDGE = (
    "a generator that reads responses, such as OpenAIGenerator",
    "a judge from larpo_ir.rewards.judges",
)


@dataclass(frozen=True)
class Task:
    """How a task's files are read and its responses evaluated."""

    load: Callable[[PathLike], pd.DataFrame]
    evaluate: Callable[..., pd.DataFrame]
    judge: str | None = None
    needs_judge: bool = False

    def read(self, path: PathLike) -> pd.DataFrame:
        """The task's files as topics. Raises `FileNotFoundError` where there are none."""
        if not Path(path).exists():
            raise FileNotFoundError(f"{path}: no such file or folder; give the task's own files")
        return self.load(path)


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
        judge: what reads or compares responses, where the task takes such a thing.
        seed: of the bootstrap.

    Returns the table: `measure, mean, low, high, num_queries`, with 95 % bootstrap intervals over items (AlpacaEval:
    its leaderboard). Items without a response count as wrong.

    An evaluation that fails leaves nothing in the folder but verdicts that were judged before. Raises `ValueError`
    for a folder with another evaluation, for responses to unknown items and for malformed files.
    """
    task = get_task(name)
    _check_judge(name, task, judge)
    return task.evaluate(name, Path(results), Path(data), Path(output), judge, seed)


def _check_judge(name: str, task: Task, judge: Any) -> None:
    from larpo_ir.models.generators import ResponseGenerator

    if judge is None:
        if task.needs_judge:
            raise ValueError(f"the task {name} needs --judge: {task.judge}")
    elif task.judge is None:
        raise ValueError(f"the task {name} is graded without a judge; leave --judge out")
    elif isinstance(judge, ResponseGenerator) != (task.judge == GENERATOR):
        raise ValueError(f"--judge of the task {name} must be {task.judge}, not {type(judge).__name__}")


# --- Responses that are graded one by one --------------------------------------------------------------------

Grader: TypeAlias = Callable[[pd.DataFrame, Any], pd.DataFrame]


def _grade_exactly(module: ModuleType, items: pd.DataFrame, judge: Any) -> pd.DataFrame:
    pairs = zip(items["text"], items["gold"], strict=True)
    return items.assign(
        answer=[module.extract_answer(text) for text in items["text"]],
        score=[float(module.is_correct(text, gold)) for text, gold in pairs],
    )


def _evaluate_graded(
    name: str,
    results: Path,
    data: Path,
    output: Path,
    judge: Any,
    seed: int,
    *,
    grade: Grader,
    groups: Sequence[str] = (),
    every_draw: bool = True,
) -> pd.DataFrame:
    """`groups`: columns of the topics by whose values the score is broken down. `every_draw`: or the first-ranked."""
    from larpo_ir.evaluation.significance import summarise
    from larpo_ir.provenance.identity import identity
    from larpo_ir.tasks.folder import claimed

    topics = TASKS[name].read(data)
    responses = _read_responses(name, results, topics, data)
    if not every_draw:
        responses = responses[responses["rank"] == 0]
    items = topics.merge(responses, on="qid", how="left")
    items["text"] = items["text"].astype(object).where(items["text"].notna(), None)
    evaluated = {"task": name, "results": str(results), "data": str(data)}
    settings = {"task": name, "judge": identity(judge), "seed": seed}
    with claimed(output, settings, items[["qid", "query", "gold", "text"]]):
        graded = grade(items, judge).rename(columns={"text": "response"})
        shown = [*ITEM_COLUMNS, *(column for column in (*groups, "read_by", "targets") if column in graded)]
        graded = graded[shown].astype({"rank": "Int64"})
        measures = summarise(_per_item(graded, groups), seed=seed)
        counts = _counts(graded)
        _write(output, {**evaluated, **counts}, graded, measures)
    _say(counts)
    return measures.reset_index()


def _write(output: Path, summary: dict[str, Any], graded: pd.DataFrame, measures: pd.DataFrame) -> None:
    from larpo_ir.evaluation.tables import interval, latex_table, markdown_table

    table = pd.DataFrame(
        [
            {"measure": measure, "mean [95 % interval]": interval(row), "items": int(row["num_queries"])}
            for measure, row in measures.iterrows()
        ]
    )
    summary = {**summary, "measures": json.loads(measures.to_json(orient="index"))}
    graded.to_parquet(output / "items.parquet")
    files = {
        "items.jsonl": graded.to_json(orient="records", lines=True, force_ascii=False),
        "summary.json": json.dumps(summary, indent=2, ensure_ascii=False) + "\n",
        "table.md": markdown_table(table),
        "table.csv": measures.to_csv(),
        "table.tex": latex_table(table, f"Responses to {summary['task']}.", f"tab:{summary['task']}"),
    }
    for file, content in files.items():
        write_atomically(output / file, content)


def _read_rows(path: Path) -> pd.DataFrame:
    """A results frame, ranked: at least `qid, text, rank`."""
    rows = list(read_records(path))
    if not rows:
        raise ValueError(f"{path} is empty: no responses to evaluate")
    for place, row in rows:
        if row.get("qid") is None or "text" not in row:
            raise ValueError(
                f"{place}: no `qid` or no `text`; responses have both, as larpo-ir generate writes them"
            )
    frame = pd.DataFrame([row for _, row in rows]).astype({"qid": str})
    return rank_results(frame if "score" in frame else frame.assign(score=0.0))


def _read_responses(name: str, path: Path, topics: pd.DataFrame, data: Path) -> pd.DataFrame:
    """`qid, text, rank` of responses to the topics."""
    # MixEval publishes responses to its two kinds of items in a file each, with the items' own ids.
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    _, first = next((located for file in files for located in read_records(file)), ("", {}))
    if name == "mixeval" and "response" in first and "qid" not in first:
        return mixeval.read_responses((located for file in files for located in read_records(file)), topics)
    frame = _read_rows(path)
    unknown = frame.loc[~frame["qid"].isin(topics["qid"]), "qid"].unique()
    if len(unknown):
        raise ValueError(
            f"{path}: {len(unknown)} of {frame['qid'].nunique()} qids are not in {data}, such as {unknown[0]!r}"
            f" (there they are like {topics['qid'].iloc[0]!r}); evaluate responses to these items, made with"
            f" larpo-ir generate --task {name} --topics {data}"
        )
    return frame[["qid", "text", "rank"]]


def _per_item(graded: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """One row per item: the score of its first-ranked response, Pass@N of all draws, and the score within groups."""
    from larpo_ir.evaluation.measures import pass_at_n

    by_item = graded.groupby("qid", sort=False)
    first = by_item.first()
    score = first["score"].astype(float)
    columns: dict[str, pd.Series[Any]] = {"score": score}
    drawn, correct = by_item["response"].count(), by_item["score"].sum()
    fewest = int(drawn[drawn > 0].min()) if (drawn > 0).any() else 0
    if fewest > 1:
        cutoffs = [n for n in (2**power for power in range(20)) if n < fewest] + [fewest]
        for n in cutoffs:
            enough = drawn.clip(lower=n)  # an item without a response: n draws, none of them right
            columns[f"Pass@{n}"] = pd.Series(pass_at_n(enough, correct, n), index=drawn.index)
    for group in groups:
        for value in sorted(first[group].dropna().unique(), key=str):
            columns[f"{group} {value}"] = score.where(first[group] == value)
    return pd.DataFrame(columns)


def _counts(graded: pd.DataFrame) -> dict[str, int]:
    answered = graded["response"].notna()
    counts = {
        "num_items": int(graded["qid"].nunique()),
        "num_responses": int(answered.sum()),
        "num_without_response": int(graded.loc[~answered, "qid"].nunique()),
    }
    if "read_by" not in graded:
        return {**counts, "num_without_answer": int((answered & graded["answer"].isna()).sum())}
    to_choose = answered & (graded["type"] == mixeval.MULTIPLE_CHOICE)
    readers = graded["read_by"].value_counts()
    return {
        **counts,
        "num_without_choice": int((to_choose & graded["answer"].isna()).sum()),
        "num_read_by_judge": int(readers.get("parser", 0)),
        "num_read_by_rules": int(readers.get("rules", 0)),
    }


def _say(counts: dict[str, int]) -> None:
    if missing := counts["num_without_response"]:
        logger.info(f"{missing} of {counts['num_items']} items have no response and count as wrong")
    for count, what in (("answer", "give no answer that could be read"), ("choice", "choose no option")):
        if unread := counts.get(f"num_without_{count}"):
            logger.info(f"{unread} of {counts['num_responses']} responses {what}: wrong, too")
    if counts.get("num_read_by_judge") and (fell_back := counts["num_read_by_rules"]):
        logger.info(f"the judge's reading of {fell_back} responses could not be parsed: the rules read those")


# --- AlpacaEval: responses are compared with a reference -----------------------------------------------------


def _read_instructions(path: PathLike) -> pd.DataFrame:
    from larpo_ir.tasks import alpaca_eval

    return alpaca_eval.read_outputs(path)[["qid", "query"]]


def _evaluate_alpaca(
    name: str, results: Path, data: Path, output: Path, judge: Any, seed: int
) -> pd.DataFrame:
    from larpo_ir.tasks import alpaca_eval

    _, first = next(read_records(results), ("", {}))
    if first.keys() & {"instruction", "output"} and "qid" not in first:
        return alpaca_eval.evaluate_outputs(alpaca_eval.read_outputs(results), data, judge, output)
    return alpaca_eval.evaluate_outputs(_read_rows(results), data, judge, output)


TASKS: dict[str, Task] = {
    "gsm8k": Task(gsm8k.load, partial(_evaluate_graded, grade=partial(_grade_exactly, gsm8k))),
    "math": Task(
        math.load,
        partial(_evaluate_graded, grade=partial(_grade_exactly, math), groups=("level", "subject")),
    ),
    "mixeval": Task(
        mixeval.load,
        partial(_evaluate_graded, grade=mixeval.score, groups=("type", "benchmark"), every_draw=False),
        judge=GENERATOR,
    ),
    "alpaca_eval": Task(_read_instructions, _evaluate_alpaca, judge=JUDGE, needs_judge=True),
}
