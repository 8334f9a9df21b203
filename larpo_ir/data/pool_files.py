"""Files of candidate pools: Parquet, with the columns of `larpo_ir.data.pool.CandidatePool` and a version."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from larpo_ir.data.chats import Messages, clean_chat
from larpo_ir.data.files import whole_file

FORMAT_VERSION = 2
READABLE = (1, 2)  # version 1 has no column `prompt`
VERSION_KEY = b"larpo_ir.pool"  # in the metadata of the file; files keep it, wherever this module lies

# column -> (type in memory, type on disk)
COLUMNS: dict[str, tuple[Any, pa.DataType]] = {
    "qid": ("str", pa.large_string()),
    "query": ("str", pa.large_string()),
    "prompt": (object, pa.large_string()),  # on disk as JSON, for it is a string or a list of messages
    "docno": ("str", pa.large_string()),
    "text": ("str", pa.large_string()),
    "score": ("float64", pa.float64()),
    "logprob": ("float64", pa.float64()),
    "num_tokens": ("Int64", pa.int64()),
    "temperature": ("float64", pa.float64()),
    "finished": ("boolean", pa.bool_()),
    "token_ids": (pd.ArrowDtype(pa.list_(pa.int32())), pa.list_(pa.int32())),
    "iteration": ("int64", pa.int64()),
    "policy": ("str", pa.large_string()),
    "count": ("int64", pa.int64()),
}
_SCHEMA = pa.schema([(name, on_disk) for name, (_, on_disk) in COLUMNS.items()])
_NUMERIC = ("score", "logprob", "num_tokens", "temperature")


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The pool's columns in their order and types; absent ones are null."""
    return pd.DataFrame({name: _column(frame, name) for name in COLUMNS})


def _column(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    in_memory = COLUMNS[name][0]
    if name not in frame.columns:
        return pd.Series([None] * len(frame), index=frame.index, dtype=in_memory)
    column = frame[name]
    if name == "prompt":
        return pd.Series([_prompt(value) for value in column], index=frame.index, dtype=object)
    if name in _NUMERIC:
        try:
            column = pd.to_numeric(column)
        except (ValueError, TypeError) as error:
            raise ValueError(f"column {name} holds something that is no number: {error}") from None
    return column.astype(in_memory)


def _prompt(value: Any) -> str | Messages | None:
    """A prompt or None. A frame may hold NaN where there is no prompt, and arrays where there are chats."""
    value = clean_chat(value)
    return value if isinstance(value, (str, list)) else None


def write_pool(rows: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write the rows of a pool, at once or not at all: a reader or a crash never sees half of the file."""
    written = [None if prompt is None else json.dumps(prompt) for prompt in rows["prompt"]]
    frame = rows.assign(prompt=pd.Series(written, index=rows.index, dtype=object))
    table = pa.Table.from_pandas(frame, schema=_SCHEMA, preserve_index=False)
    with whole_file(path) as writing:
        pq.write_table(table.replace_schema_metadata({VERSION_KEY: str(FORMAT_VERSION).encode()}), writing)
    return Path(path)


def read_pool(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The rows of a pool that `write_pool` wrote.

    Raises `FileNotFoundError` or `ValueError`, one line that names the file, if there is none, if it is damaged, if
    it is no pool, or if a later version wrote it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such candidate pool")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: damaged or not Parquet ({str(error).splitlines()[0]})") from None
    _check_version(table.schema, path)
    try:
        return typed(_frame_of(table))
    except (pa.ArrowException, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged ({' '.join(str(error).split()):.200})") from None


def _check_version(schema: pa.Schema, path: Path) -> None:
    version = (schema.metadata or {}).get(VERSION_KEY, b"").decode()
    since_then = {"prompt"} if version == "1" else set()
    lacking = COLUMNS.keys() - set(schema.names) - since_then
    if version not in map(str, READABLE) or lacking:
        found = f"version {version}" if version else "no version"
        raise ValueError(f"{path}: not a candidate pool of version {FORMAT_VERSION} ({found} found in it)")


def _frame_of(table: pa.Table) -> pd.DataFrame:
    known = [name for name in COLUMNS if name in table.column_names]
    frame = table.select(known).to_pandas(types_mapper=_on_arrow)
    if "prompt" in frame:
        read = [None if prompt is None else json.loads(prompt) for prompt in table["prompt"].to_pylist()]
        frame["prompt"] = pd.Series(read, index=frame.index, dtype=object)
    return frame


def _on_arrow(kind: pa.DataType) -> Any:
    return pd.ArrowDtype(kind) if pa.types.is_list(kind) or pa.types.is_int64(kind) else None
