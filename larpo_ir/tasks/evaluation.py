"""Evaluation of recorded responses that are graded one by one.

An evaluation is a folder:

    items.jsonl, items.parquet    each response: qid, query, response, rank, answer (what was read), gold, score
    summary.json                  what was evaluated, counts, and measures with their intervals
    table.md, table.csv, table.tex

Of the counts, `num_without_answer` is of responses in which no answer could be read. A task may count in its own way.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pandas as pd

from larpo_ir.data.files import write_atomically
from larpo_ir.data.records import Located, read_records
from larpo_ir.data.results import rank_results

logger = logging.getLogger("larpo_ir")

PathLike: TypeAlias = str | os.PathLike[str]
Grade: TypeAlias = Callable[[pd.DataFrame, Any], pd.DataFrame]
"""Items with their responses (`text`; None for none), and the judge, to the same with `answer` and `score`."""
Counts: TypeAlias = dict[str, int]
ReadPublished: TypeAlias = Callable[[Iterable[Located], pd.DataFrame], pd.DataFrame | None]
"""Records and topics to `qid, text, rank`; None where the records are not in the form of the task's authors."""

ITEM_COLUMNS = ["qid", "query", "response", "rank", "answer", "gold", "score"]


@dataclass(frozen=True)
class Recorded:
    """Recorded responses to a task, and the folder for their evaluation.

    `read` makes topics of the task's files, which are at `data`; `seed` is the bootstrap's.
    """

    task: str
    read: Callable[[PathLike], pd.DataFrame]
    results: Path
    data: Path
    output: Path
    judge: Any = None
    seed: int = 0


class ExactGrader(Protocol):
    """A module that reads the answer of a response, and compares it with the gold answer."""

    @property
    def extract_answer(self) -> Callable[[str | None], str | None]: ...

    @property
    def is_correct(self) -> Callable[[str | None, str], bool]: ...


def exactly(grader: ExactGrader) -> Grade:
    """Grades of 1 and 0 by the `is_correct` of a module, with the answers that its `extract_answer` reads."""

    def grade(items: pd.DataFrame, judge: Any) -> pd.DataFrame:
        pairs = zip(items["text"], items["gold"], strict=True)
        return items.assign(
            answer=[grader.extract_answer(text) for text in items["text"]],
            score=[float(grader.is_correct(text, gold)) for text, gold in pairs],
        )

    return grade


def count_answers(graded: pd.DataFrame) -> Counts:
    """The number of responses in which no answer could be read."""
    return {"num_without_answer": int((graded["response"].notna() & graded["answer"].isna()).sum())}


def evaluate_graded(
    recorded: Recorded,
    *,
    grade: Grade,
    groups: Sequence[str] = (),
    every_draw: bool = True,
    counts: Callable[[pd.DataFrame], Counts] = count_answers,
    read_published: ReadPublished | None = None,
) -> pd.DataFrame:
    """Grade responses, and write the evaluation to the folder.

    Args:
        grade: adds `answer` and `score` to items.
        groups: columns of the topics by whose values the score is broken down.
        every_draw: whether all responses to an item are graded, or the first-ranked one alone.
        counts: numbers of responses that the summary tells beside those of items and responses.
        read_published: reads responses in the form in which the task's authors publish theirs.

    Returns the measures with their intervals, `measure, mean, low, high, num_queries`.
    """
    from larpo_ir.evaluation.significance import summarise
    from larpo_ir.provenance.identity import identity
    from larpo_ir.tasks.folder import claimed

    topics = recorded.read(recorded.data)
    responses = _read_responses(recorded, topics, read_published)
    if not every_draw:
        responses = responses[responses["rank"] == 0]
    items = topics.merge(responses, on="qid", how="left")
    items["text"] = items["text"].astype(object).where(items["text"].notna(), None)
    settings = {"task": recorded.task, "judge": identity(recorded.judge), "seed": recorded.seed}
    with claimed(recorded.output, settings, items[["qid", "query", "gold", "text"]]):
        graded = grade(items, recorded.judge).rename(columns={"text": "response"})
        shown = [*ITEM_COLUMNS, *(column for column in (*groups, "read_by", "targets") if column in graded)]
        graded = graded[shown].astype({"rank": "Int64"})
        measures = summarise(_per_item(graded, groups), seed=recorded.seed)
        counted = {**_count_items(graded), **counts(graded)}
        _write(recorded, counted, graded, measures)
    _say(counted)
    return measures.reset_index()


def read_results(path: Path) -> pd.DataFrame:
    """Responses as larpo-ir generate writes them: a results frame, ranked, with at least `qid, text, rank`."""
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


def _read_responses(
    recorded: Recorded, topics: pd.DataFrame, read_published: ReadPublished | None
) -> pd.DataFrame:
    """Responses to the topics: `qid, text, rank`."""
    path, data = recorded.results, recorded.data
    if read_published is not None:
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        published = read_published((located for file in files for located in read_records(file)), topics)
        if published is not None:
            return published
    frame = read_results(path)
    unknown = frame.loc[~frame["qid"].isin(topics["qid"]), "qid"].unique()
    if len(unknown):
        raise ValueError(
            f"{path}: {len(unknown)} of {frame['qid'].nunique()} qids are not in {data}, such as {unknown[0]!r}"
            f" (there they are like {topics['qid'].iloc[0]!r}); evaluate responses to these items, made with"
            f" larpo-ir generate --task {recorded.task} --topics {data}"
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


def _count_items(graded: pd.DataFrame) -> Counts:
    answered = graded["response"].notna()
    return {
        "num_items": int(graded["qid"].nunique()),
        "num_responses": int(answered.sum()),
        "num_without_response": int(graded.loc[~answered, "qid"].nunique()),
    }


def _write(recorded: Recorded, counted: Counts, graded: pd.DataFrame, measures: pd.DataFrame) -> None:
    from larpo_ir.evaluation.tables import interval, latex_table, markdown_table

    table = pd.DataFrame(
        [
            {"measure": measure, "mean [95 % interval]": interval(row), "items": int(row["num_queries"])}
            for measure, row in measures.iterrows()
        ]
    )
    task, output = recorded.task, recorded.output
    evaluated = {"task": task, "results": str(recorded.results), "data": str(recorded.data)}
    summary = {**evaluated, **counted, "measures": json.loads(measures.to_json(orient="index"))}
    graded.to_parquet(output / "items.parquet")
    files = {
        "items.jsonl": graded.to_json(orient="records", lines=True, force_ascii=False),
        "summary.json": json.dumps(summary, indent=2, ensure_ascii=False) + "\n",
        "table.md": markdown_table(table),
        "table.csv": measures.to_csv(),
        "table.tex": latex_table(table, f"Responses to {task}.", f"tab:{task}"),
    }
    for file, content in files.items():
        write_atomically(output / file, content)


def _say(counts: Counts) -> None:
    if missing := counts["num_without_response"]:
        logger.info(f"{missing} of {counts['num_items']} items have no response and count as wrong")
    for count, failing in (("answer", "give no answer that could be read"), ("choice", "choose no option")):
        if unread := counts.get(f"num_without_{count}"):
            logger.info(f"{unread} of {counts['num_responses']} responses {failing}: wrong, too")
    if counts.get("num_read_by_judge") and (fell_back := counts["num_read_by_rules"]):
        logger.info(f"the judge's reading of {fell_back} responses could not be parsed: the rules read those")
