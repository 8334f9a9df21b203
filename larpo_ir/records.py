"""Rows of a file, each with the place it was read from, so that an error can name file and line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Located = tuple[str, Row]  # where it was read ("file:line"), and the row


def _parse(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{path}:{line + error.lineno - 1}"
        raise ValueError(f"{place}: malformed JSON, {error.msg} at column {error.colno}") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}:{line}: not UTF-8 text") from None


def _read_jsonl(path: Path) -> Iterator[Located]:
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if line.strip():
            yield f"{path}:{number}", _parse(line, path, number)


def _read_json(path: Path) -> Iterator[Located]:
    """A JSON array, RLHFlow's `{"instances": [...]}`, or JSON Lines under the wrong name (also RLHFlow's)."""
    text = _read_text(path)
    if not text.strip():
        return
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            yield from _read_jsonl(path)
            return
        content = _parse(text, path, 1)
    if isinstance(content, dict):
        content = content.get("instances", [content])
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected an array of objects, found {type(content).__name__}")
    for number, row in enumerate(content):
        yield f"{path}: record {number}", row


def _read_parquet(path: Path) -> Iterator[Located]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    return _numbered(table.to_pylist(), f"{path}: ")


READERS: dict[str, Callable[[Path], Iterator[Located]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


def _numbered(rows: Iterable[Row], prefix: str = "") -> Iterator[Located]:
    return ((f"{prefix}row {number}", row) for number, row in enumerate(rows))


def _one_split(source: Any, split: str | None, name: str) -> Iterable[Row]:
    if not isinstance(source, dict):  # a DatasetDict is a dict
        if split is not None:
            raise ValueError(f"{name} has no splits, so split={split!r} cannot be chosen")
        return source
    if split is None and len(source) == 1:
        return next(iter(source.values()))
    if split not in source:
        raise ValueError(f"{name} has no split {split!r}; choose split from {', '.join(source)}")
    return source[split]


def read_records(source: Any, split: str | None = None) -> Iterator[Located]:
    """The rows of a source, each as `(place, row)`.

    Args:
        source: a file (`.jsonl`; `.json` with an array of objects, or with `{"instances": [...]}`; `.parquet`), a
            folder that `datasets` saved, a `Dataset`, a `DatasetDict`, or dicts.
        split: which split, where there are several.

    Lines count from 1, rows of anything else from 0. Blank lines of a `.jsonl` are skipped. Raises
    `FileNotFoundError` for a missing file and `ValueError` for malformed JSON (with file and line), a row that is
    no object, an unknown kind of file, an unknown split; each in one line.

    >>> list(read_records([{"prompt": "2+2?"}]))
    [('row 0', {'prompt': '2+2?'})]
    """
    for place, row in _located(source, split):
        if not isinstance(row, dict):
            raise ValueError(f"{place}: expected an object with columns, found {type(row).__name__}")
        yield place, row


def _located(source: Any, split: str | None) -> Iterator[Located]:
    if not isinstance(source, (str, os.PathLike)):
        return _numbered(_one_split(source, split, "the source"))
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.is_dir():
        from datasets import load_from_disk

        try:
            saved = load_from_disk(str(path))
        except (FileNotFoundError, ValueError):
            raise ValueError(f"{path}: not a folder that datasets' save_to_disk wrote") from None
        return _numbered(_one_split(saved, split, str(path)), f"{path}: ")
    if path.suffix not in READERS:
        known = ", ".join(READERS)
        raise ValueError(
            f"{path}: cannot read this kind of file; use {known} or a folder that datasets saved"
        )
    if split is not None:
        raise ValueError(f"{path} has no splits, so split={split!r} cannot be chosen")
    return READERS[path.suffix](path)
