"""Topics: questions with their ids, from files and from what Python code holds.

    qid, query [, prompt, any other column, such as gold]

`query` is a text for people and for IR tools. `prompt`, where there is one, is what a model is asked instead: a chat
with its system message and history, or a string. Everything that is asked, sampled, ranked, scored and trained goes
by the `qid`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from larpo_ir.data.chats import Messages, check_prompt, clean_chat, prompt_text
from larpo_ir.data.formats import ID_COLUMNS, SYSTEM_COLUMNS, prompt_of
from larpo_ir.data.frame_files import with_prompts
from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.prompts import key_of, one_prompt_each
from larpo_ir.data.records import id_text, read_records
from larpo_ir.data.results import require_columns
from larpo_ir.data.trec import read_results

if TYPE_CHECKING:
    from datasets import Dataset

Prompts: TypeAlias = "pd.DataFrame | Dataset | Sequence[str | Messages]"

CHAT_COLUMNS = ("prompt", "messages")
QUERY_COLUMNS = ("query", "question", "instruction")
EXAMPLE_COLUMNS = (
    ("question", "answer"),
    ("query", "response"),
    ("prompt", "completion"),
    ("instruction", "output"),
)
RESULTS = {"qid", "query", "docno", "text", "score"}  # columns that tell a file of results from one of lists


def topics_of(prompts: Prompts) -> pd.DataFrame:
    """Topics from a frame, a dataset with the column `prompt`, as in TRL, or a list of prompts.

    Of a chat, `query` is what the user asks last. Prompts without ids are numbered. Raises `ValueError` for what is
    no prompt, and for an id with two different prompts.
    """
    if isinstance(prompts, pd.DataFrame):
        topics = prompts.copy()
    else:
        rows = _rows_of(prompts)
        topics = pd.DataFrame(rows, columns=None if rows else ["prompt"])
    if "query" not in topics:
        require_columns(topics, ["prompt"], "a frame of prompts without the column query")
        asked = [clean_chat(prompt) for prompt in topics["prompt"]]
        for number, prompt in enumerate(asked):
            check_prompt(prompt, f"prompt {number}")
        topics["query"] = [prompt_text(prompt) for prompt in asked]
        topics = _with_chats(topics, asked)
    if "qid" not in topics:
        topics["qid"] = range(len(topics))
    return one_prompt_each(topics.astype({"qid": str}))


def _rows_of(prompts: Dataset | Sequence[str | Messages]) -> list[dict[str, Any]]:
    from datasets import Dataset

    return prompts.to_list() if isinstance(prompts, Dataset) else [{"prompt": prompt} for prompt in prompts]


def _with_chats(topics: pd.DataFrame, asked: Sequence[str | Messages | None]) -> pd.DataFrame:
    """Topics with the column `prompt` where it says more than `query` does."""
    differ = [
        None if prompt is None or prompt == query else prompt
        for prompt, query in zip(asked, topics["query"], strict=True)
    ]
    if not any(differ):
        return topics.drop(columns="prompt", errors="ignore")
    return topics.assign(prompt=pd.Series(differ, index=topics.index, dtype=object))


def read_topics(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Topics from a file: `qid` (or another id, or else the row's number), `query` (or `question`, `instruction`) or
    `prompt` (or `messages`), which may be a chat, with `system` (or `system_prompt`) in front, and every other
    column, such as `gold`.

    Raises `ValueError` naming file and line for malformed or empty files, rows without a query, what is no prompt,
    and ids that occur with another prompt before.
    """
    rows: list[dict[str, Any]] = []
    seen: dict[str, str] = {}
    for number, (place, row) in enumerate(read_records(path)):
        prompt, query = _first(row, CHAT_COLUMNS), _first(row, QUERY_COLUMNS)
        try:
            asked = prompt_of(row, query if prompt is None else prompt)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        if asked is None:
            names = ", ".join((*QUERY_COLUMNS, *CHAT_COLUMNS))
            raise ValueError(f"{place}: no query; a topic needs one of the columns {names}")
        check_prompt(asked, f"{place}: prompt")
        query = prompt_text(asked) if query is None else query
        if not isinstance(query, str):
            raise ValueError(f"{place}: the query is {query!r:.60}, which is no text; a chat is a prompt")
        named = next((name for name in ID_COLUMNS if row.get(name) is not None), None)
        qid = str(number) if named is None else id_text(row[named], named, place)
        if seen.setdefault(qid, key_of(asked)) != key_of(asked):
            raise ValueError(f"{place}: the id {qid!r} has another prompt above; give every prompt its own")
        used = (*QUERY_COLUMNS, *CHAT_COLUMNS, *ID_COLUMNS, *SYSTEM_COLUMNS)
        rest = {name: value for name, value in row.items() if name not in used}
        rows.append({"qid": qid, "query": query, "prompt": asked, **rest})
    if not rows:
        raise ValueError(f"{path} is empty: no topics to read")
    topics = pd.DataFrame(rows)
    return one_prompt_each(_with_chats(topics, [row["prompt"] for row in rows]))


def _first(row: dict[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def read_examples(path: str | os.PathLike[str], number: int | None = None) -> list[tuple[str, str]]:
    """The first `number` worked examples of a file (None: up to four), as pairs of question and answer, to be shown
    before a question.

    The columns are `question, answer`, `query, response`, `prompt, completion` or `instruction, output`. Raises
    `ValueError` naming file and line for rows without them, and for files with fewer rows.
    """
    pairs: list[tuple[str, str]] = []
    for place, row in read_records(path):
        if len(pairs) == (4 if number is None else number):
            break
        found = next(
            (names for names in EXAMPLE_COLUMNS if all(isinstance(row.get(n), str) for n in names)), None
        )
        if found is None:
            known = "; ".join(", ".join(names) for names in EXAMPLE_COLUMNS)
            raise ValueError(f"{place}: no worked example; it needs a text in each of the columns {known}")
        pairs.append((row[found[0]], row[found[1]]))
    if len(pairs) < (1 if number is None else number):
        raise ValueError(
            f"{path} has {len(pairs)} worked examples, fewer than the {number or 1} that are to be shown"
        )
    return pairs


def read_candidates(path: str | os.PathLike[str]) -> tuple[CandidatePool, pd.DataFrame]:
    """Recorded, graded candidates and their topics.

    The file holds ranked lists of any layout that `larpo_ir.data.lists` knows, or results as `larpo-ir rerank` wrote
    them.

    Raises `ValueError` for results that no reward has ranked yet: their scores say in which order they were drawn.
    """
    _, first = next(read_records(path), ("", {}))
    if not first.keys() >= RESULTS:
        pool = CandidatePool.from_ranked(path)
    else:
        results = with_prompts(read_results(path))
        if "rank" in results and (results["score"] == -results["rank"]).all():
            raise ValueError(
                f"{path}: these responses have not been ranked by a reward; run larpo-ir rerank on them"
            )
        pool = CandidatePool()
        pool.add(results, policy="offline")
    topics = pool.frame[["qid", "query", "prompt"]].drop_duplicates("qid").reset_index(drop=True)
    return pool, topics if topics["prompt"].notna().any() else topics.drop(columns="prompt")
