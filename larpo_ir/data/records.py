"""Rows of a file, each with the place it was read from, so that an error can name file and line."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from larpo_ir.data.json_text import JSONFile, parse_line, read_value
from larpo_ir.data.text_files import cells_of, first_line, opened, read_lines

Row = dict[str, Any]
Located = tuple[str, Row]  # where it was read ("file:line"), and the row


def _read_jsonl(path: Path) -> Iterator[Located]:
    for number, line in read_lines(path):
        if line.strip():
            yield f"{path}:{number}", parse_line(line, path, number)


def _read_json(path: Path) -> Iterator[Located]:
    """A JSON array, RLHFlow's `{"instances": [...]}`, one object, or JSON Lines under the wrong name (RLHFlow's)."""
    with opened(path) as handle:
        file = JSONFile(path, handle)
        start = file.peek()
        if start == "[":
            yield from _numbered(file.values(), f"{path}: ", "record")
            return
        if not start:
            return
    if _is_record(next(line for _, line in read_lines(path) if line.strip())):
        yield from _read_jsonl(path)
        return
    content = read_value(path)
    if isinstance(content, dict):
        content = content.get("instances", [content])
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected an array of objects, found {type(content).__name__}")
    yield from _numbered(content, f"{path}: ", "record")


def _is_record(line: str) -> bool:
    """True for a line that is a whole object by itself, as in JSON Lines, and not RLHFlow's one object with all."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and "instances" not in row


# Tables


def read_table(
    path: Path, columns: Sequence[str] | None = None, *, delimiter: str | None = "\t", quoted: bool = False
) -> Iterator[Located]:
    """The rows of a text file with one row per line (also `.gz`), each as `("file:line", row)`; cells are strings.

    Args:
        path: the file.
        columns: names of the columns; None: the first line has them.
        delimiter: what is between cells; None: any white space.
        quoted: cells may stand in double quotes, as the `csv` module writes them; otherwise a quote is a character.

    Blank lines are skipped. Raises `ValueError` for a row with more or fewer cells than there are columns, and for a
    first line that names a column twice.
    """
    for number, cells in (_quoted_cells if quoted else _plain_cells)(path, delimiter):
        if columns is None:
            columns = cells
            if twice := next((name for name in cells if cells.count(name) > 1), None):
                raise ValueError(f"{path}:{number}: the column {twice!r} occurs twice; keep one of them")
        elif len(cells) != len(columns):
            raise ValueError(
                f"{path}:{number}: {len(cells)} columns, expected {len(columns)} ({', '.join(columns)})"
            )
        else:
            yield f"{path}:{number}", dict(zip(columns, cells, strict=True))


def _plain_cells(path: Path, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    for number, line in read_lines(path):
        if line.strip():
            line = line.rstrip("\r\n")
            yield number, cells_of(line) if delimiter is None else line.split(delimiter)


def _quoted_cells(path: Path, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader((line for _, line in read_lines(path)), delimiter=delimiter or " ", strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: malformed quotes, {error}") from None


# Columns


def _read_parquet(path: Path) -> Iterator[Located]:
    return _numbered(_parquet_rows(path), f"{path}: ")


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow.parquet as pq

    with _reading(path, "a Parquet file"):
        file = pq.ParquetFile(path)
    with file:
        names = file.schema_arrow.names
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{path}: the column {twice!r} occurs twice; keep one of them")
        batches = file.iter_batches()
        while True:
            with _reading(path, "a readable Parquet file"):
                batch = next(batches, None)
                rows = None if batch is None else batch.to_pylist()
            if rows is None:
                return
            yield from rows


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    """Every error that another library raises for a damaged file becomes one line."""
    try:
        yield
    except MemoryError:
        raise ValueError(f"{path}: not {what} (it claims more content than there is memory)") from None
    except Exception as error:  # Arrow's, of files, of text, of dates: damage has many names
        raise ValueError(f"{path}: not {what} ({first_line(error)})") from None


READERS: dict[str, Callable[[Path], Iterator[Located]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}


def _numbered(rows: Iterable[Row], prefix: str = "", what: str = "row") -> Iterator[Located]:
    return ((f"{prefix}{what} {number}", row) for number, row in enumerate(rows))


def _one_split(source: Any, split: str | None, name: str) -> Iterable[Row]:
    if not isinstance(source, dict):  # a DatasetDict is a dict
        if split is not None:
            raise ValueError(f"{name} has no splits, so split={split!r} cannot be chosen")
        rows: Iterable[Row] = source
        return rows
    splits: dict[str, Iterable[Row]] = source
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split not in splits:
        raise ValueError(f"{name} has no split {split!r}; choose split from {', '.join(splits)}")
    return splits[split]


def read_records(source: Any, split: str | None = None) -> Iterator[Located]:
    """The rows of a source, each as `(place, row)`.

    Args:
        source: a file (`.jsonl`; `.json` with an array of objects, or with `{"instances": [...]}`; either also as
            `.gz`; `.parquet`), a folder that `datasets` saved, a `Dataset`, a `DatasetDict`, or dicts.
        split: which split, where there are several.

    JSON Lines and arrays are read row by row, so that a file may be larger than memory; what is malformed is met when
    its turn comes. Lines count from 1, rows of anything else from 0. Blank lines of a `.jsonl` and a byte-order mark
    are skipped. JSON is what Python writes, so that NaN and Infinity are read as such.

    Raises `FileNotFoundError` for a missing file, and `ValueError`, in one line, for malformed JSON and for what no
    column can hold (both with file and line): a key twice in an object, an integer beyond 64 bits, a number that
    overflows (1e400), half of a surrogate pair, brackets more than 100 levels deep. Likewise for text that is not
    UTF-8, a damaged or unknown kind of file, a row that is no object, an unknown split.

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
        return _numbered(_saved_rows(path, split), f"{path}: ")
    kind = Path(path.stem if path.suffix == ".gz" else path).suffix
    if kind not in READERS:
        known = ", ".join(READERS)
        raise ValueError(
            f"{path}: cannot read this kind of file; use {known} or a folder that datasets saved"
        )
    if split is not None:
        raise ValueError(f"{path} has no splits, so split={split!r} cannot be chosen")
    return READERS[kind](path)


def _saved_rows(path: Path, split: str | None) -> Iterator[Row]:
    from datasets import load_from_disk

    what = "a folder that datasets' save_to_disk wrote"
    with _reading(path, what):
        saved = load_from_disk(str(path))
    chosen: Any = _one_split(saved, split, str(path))
    with _reading(path, what):
        chosen.data.validate(full=True)  # Arrow reads from disk what offsets say, wherever that is
        rows = iter(chosen)
    while True:
        with _reading(path, what):
            row = next(rows, None)
        if row is None:
            return
        yield row


def id_text(value: Any, what: str, where: str) -> str:
    """An id as text: a string that is not empty, or a whole number. Raises `ValueError` for anything else.

    >>> id_text(7, "qid", "topics.jsonl:1")
    '7'
    """
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise ValueError(f"{where}: {what} is {value!r:.60}; an id is a string or a whole number")
    return str(value)
