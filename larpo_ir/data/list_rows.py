"""Ranked lists from the rows of results frames, and rows from ranked lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from larpo_ir.data.chats import clean_chat, completion_text, prompt_text
from larpo_ir.data.prompts import asked_in
from larpo_ir.data.records import Row
from larpo_ir.data.results import docno_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

PART = 10_000  # lists that are converted at once, because an Arrow array holds at most 2 GiB of text
# column of the lists -> column of the rows
NEEDED = {"completions": "text", "relevance": "score", "docnos": "docno"}
OPTIONAL = {"ref_logps": "logprob", "completion_ids": "token_ids", "finished": "finished"}


def lists_from_rows(rows: pd.DataFrame, lengths: Sequence[int]) -> Dataset:
    """Ranked lists from the rows of a results frame.

    Args:
        rows: `qid, query, docno, text, score` and maybe `prompt`, `logprob`, `token_ids`, `finished`; the rows of a
            list lie together.
        lengths: the number of rows of each list.

    Columns `id` (the qid), `prompt` (the rows' `prompt`, where they have one, else `query`), `completions`,
    `relevance` (the rows' `score`), `docnos`, and, of those that no row lacks, `ref_logps` (`logprob`),
    `completion_ids` (`token_ids`) and `finished`.
    """
    import pyarrow as pa
    from datasets import Dataset

    columns = NEEDED | {name: column for name, column in OPTIONAL.items() if _is_complete(rows, column)}
    ends = np.cumsum([0, *lengths])
    starts = range(0, max(len(lengths), 1), PART)
    pieces = [_table(rows, ends[start : min(start + PART, len(lengths)) + 1], columns) for start in starts]
    return Dataset(pa.concat_tables(pieces))


def _is_complete(rows: pd.DataFrame, column: str) -> bool:
    return column in rows.columns and len(rows) > 0 and bool(rows[column].notna().all())


def _table(rows: pd.DataFrame, ends: np.ndarray, columns: dict[str, str]) -> pa.Table:
    """The lists that end at `ends[1:]`, the first of which begins at `ends[0]`."""
    import pyarrow as pa

    kinds = {
        "text": pa.string(),
        "score": pa.float64(),
        "docno": pa.string(),
        "logprob": pa.float64(),
        "token_ids": pa.list_(pa.int32()),
        "finished": pa.bool_(),
    }
    offsets = ends - ends[0]
    part = rows.iloc[ends[0] : ends[-1]]
    first = part.iloc[offsets[:-1]]
    prompts = asked_in(first)
    table = {
        "id": pa.array(first["qid"].astype(str).tolist(), pa.string()),
        "prompt": pa.array(prompts) if prompts else pa.array([], pa.string()),
    }
    for name, column in columns.items():
        values = pa.array(part[column], from_pandas=True)
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        table[name] = pa.ListArray.from_arrays(offsets, values.cast(kinds[column]))
    return pa.table(table)


def rows_from_lists(lists: Iterable[Row], policy: str) -> pd.DataFrame:
    """Candidates from ranked lists: one row per completion, as `larpo_ir.data.pool.CandidatePool.add` takes them.

    `policy` is who wrote the completions of lists without the column `policies`. Raises `ValueError` for a completion
    of several messages.
    """
    rows = [row for number, one in enumerate(lists) for row in _rows_of(one, str(number), policy)]
    return pd.DataFrame(rows, columns=ROW_COLUMNS)


ROW_COLUMNS = ["qid", "query", "prompt", "docno", "text", "score", "policy", "logprob", "token_ids"]


def _rows_of(one: Row, number: str, policy: str) -> Iterable[tuple[Any, ...]]:
    """The rows of one list, in the order of `ROW_COLUMNS`."""
    qid, query = one.get("id", number), prompt_text(one["prompt"])
    chat = None if isinstance(one["prompt"], str) else clean_chat(one["prompt"])
    several = [text for text in one["completions"] if not isinstance(text, str) and len(text) > 1]
    if several:
        raise ValueError(
            f"the list {qid!r} has a completion of {len(several[0])} messages, and a candidate is one"
            " response: train on such lists with LarPOTrainer, or put all turns but the last into the prompt"
        )
    texts = [completion_text(completion) for completion in one["completions"]]
    nothing = [None] * len(texts)
    recorded = (
        texts,
        one["relevance"],
        one.get("policies", [policy] * len(texts)),
        one.get("ref_logps", nothing),
        one.get("completion_ids", nothing),
    )
    for text, *others in zip(*recorded, strict=True):
        yield qid, query, chat, docno_of(query, text), text, *others
