"""Ranked lists: the data that the trainer takes, and a reader for the layouts that others publish.

A ranked list is one prompt, several completions and the relevance of each. A `datasets.Dataset` of them has

| column | type | |
|---|---|---|
| `prompt` | str, or chat: list of `{role, content}` | |
| `completions` | list of str, or list of chats | a chat prompt may have plain string completions |
| `relevance` | list of float | the grade of each completion, a reward or a label: higher is better, finite |
| `ref_logps` | list of float | optional: log-probability of each completion under the reference policy |
| `completion_ids` | list of list of int | optional: the tokens that were sampled |
| `finished` | list of bool | optional: False for completions that were cut, and get no end |
| `docnos`, `policies` | list of str | optional: provenance of each completion |
| `id` | str | optional: id of the prompt |

The layouts that others publish are in `larpo_ir.data.formats`.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

from larpo_ir.data.chats import (
    Messages,
    check_completion,
    check_prompt,
    check_text,
    is_chat,
)
from larpo_ir.data.formats import (
    ID_COLUMNS,
    PER_COMPLETION,
    REQUIRED,
    TWO_GRADES,
    Format,
    format_of,
    known_layout,
    read_row,
)
from larpo_ir.data.records import Row, read_records

if TYPE_CHECKING:
    from datasets import Dataset


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond floating point
        return False


def _check_row(row: Row) -> None:
    """Raise a `ValueError` that says which entry of a ranked list is wrong."""
    check_prompt(row.get("prompt"))
    _check_lengths(row)
    _check_completions(row["prompt"], row["completions"])
    _check_numbers(row["relevance"], "relevance", "every grade must be a finite number")
    _check_numbers(row.get("ref_logps") or [], "ref_logps", "give every reference log-probability or none")


def _check_lengths(row: Row) -> None:
    completions, relevance = row.get("completions"), row.get("relevance")
    if not isinstance(completions, list) or not completions or not isinstance(relevance, list):
        raise ValueError("completions and relevance must be lists with at least one entry")
    for name in ("relevance", *PER_COMPLETION):
        values = row.get(name)
        if values is None:
            continue
        have = len(values) if isinstance(values, list) else "no list of"
        if have != len(completions):
            raise ValueError(f"{len(completions)} completions but {have} {name}")


def _check_completions(prompt: str | Messages, completions: list[Any]) -> None:
    for index, completion in enumerate(completions):
        check_completion(completion, f"completions[{index}]")
        if isinstance(completion, str) != isinstance(completions[0], str):
            raise ValueError("completions mixes strings and chats; use one of the two")
    if isinstance(prompt, str) and not isinstance(completions[0], str):
        raise ValueError("completions are chats, so the prompt must be a chat too")


def _check_numbers(values: list[Any], name: str, rule: str) -> None:
    for index, value in enumerate(values):
        if not _is_finite(value):
            raise ValueError(f"{name}[{index}] is {value!r:.60}; {rule}")


def check_lists(dataset: Dataset) -> None:
    """Raise a one-line `ValueError` unless `dataset` holds ranked lists: columns, lengths, finite relevance.

    Lists with one completion or with all grades tied are fine: there is nothing to learn from them.

    >>> from datasets import Dataset
    >>> check_lists(Dataset.from_dict({"prompt": ["2+2?"], "completions": [["4", "5"]], "relevance": [[1.0]]}))
    Traceback (most recent call last):
    ...
    ValueError: row 0: 2 completions but 1 relevance
    """
    missing = [column for column in REQUIRED if column not in dataset.column_names]
    if missing:
        have = ", ".join(dataset.column_names) or "none"
        advice = " (read_lists converts others)"
        if known_layout(dataset.column_names):
            advice = "; convert the dataset with larpo_ir.read_lists(dataset)"
        raise ValueError(f"ranked lists need the column(s) {', '.join(missing)}; there are {have}{advice}")
    names = (*REQUIRED, *PER_COMPLETION, "scores")
    checked = [column for column in names if column in dataset.column_names]
    for number, row in enumerate(dataset.select_columns(checked).with_format(None)):
        try:
            _check_row(row)
            if row.get("scores") not in (None, row["relevance"]):
                raise ValueError(TWO_GRADES)
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from None


Kind = tuple[str, str, str]


def _kind(row: Row) -> Kind:
    """Kinds of values that all rows must share.

    Arrow holds one type per column, and only grades of one scale compare.
    """
    texts = (row["prompt"], row["completions"][0])
    prompt, completion = ("strings" if isinstance(text, str) else "chats" for text in texts)
    grade = row.get("grade", "relevance")
    return f"prompts that are {prompt}", f"completions that are {completion}", f"grades in {grade}"


def _check_kind(kind: Kind, before: Kind, where: str) -> None:
    for here, there in zip(kind, before, strict=True):
        if here != there:
            raise ValueError(f"{where}: {here}, but {there} in the rows before it; use one of the two")


def _drop_duplicates(row: Row) -> int:
    """Keep the first of equal completions, in place; returns the number of those that were dropped."""
    first = {json.dumps(text): index for index, text in reversed(list(enumerate(row["completions"])))}
    kept = sorted(first.values())
    dropped = len(row["completions"]) - len(kept)
    if dropped:
        for key in ("completions", "relevance", *PER_COMPLETION):
            if key in row:
                row[key] = [row[key][index] for index in kept]
    return dropped


def _group(rows: list[Row]) -> list[Row]:
    """One list for each prompt, in the order of their first rows, from rows that are one completion each."""
    lists: dict[str, Row] = {}
    for row in rows:
        known = lists.setdefault(json.dumps(row["prompt"], sort_keys=True), row)
        if known is not row:
            known["completions"] += row["completions"]
            known["relevance"] += row["relevance"]
    return list(lists.values())


def read_lists(
    source: str | os.PathLike[str] | Iterable[Row] | Dataset, *, split: str | None = None
) -> Dataset:
    """Read ranked lists, whatever their layout.

    Args:
        source: a `.jsonl`, `.json` or `.parquet` file, a folder that `datasets` saved, a `Dataset`, a
            `DatasetDict`, or rows (dicts). The layout is recognised by its columns (`larpo_ir.data.formats`): ranked
            lists, SimPO, RLHFlow, graded candidates, UltraFeedback (raw and binarized), TRL's preference pairs
            (with a prompt or an implicit one), of relevance 1 and 0, TRL's unpaired preferences, and ShareGPT's and
            Alpaca's pairs and KTO rows. Their `scores`, `rewards`, … become `relevance`.
        split: which split, where there are several.

    Returns a `Dataset` with the columns of this module's table. `id` is a row's `qid`, `id`, `prompt_id` or
    `query_id`. Rows of one completion each (unpaired preferences) become one list for each prompt, wherever in the
    source they stand; the list has the place and the id of its first row. Completions that occur twice in a list
    are dropped (the first stays) with one warning that counts them; lists of one completion are kept.

    Raises `ValueError`, one line with file and line: malformed JSON, an empty file, unknown columns, lengths
    that differ, a grade that is missing or not finite, a completion that is no text, an empty prompt, a chat with a
    message that is not read (see `larpo_ir.data.chats`), prompts that are strings in some rows and chats in others.

    >>> read_lists([{"prompt": "2+2?", "responses": ["4", "5"], "rewards": [1, 0]}])[0]
    {'prompt': '2+2?', 'completions': ['4', '5'], 'relevance': [1.0, 0.0]}
    """
    name = str(source) if isinstance(source, (str, os.PathLike)) else "the source"
    rows = _ranked(source, split)
    if not rows:
        raise ValueError(f"{name}: empty, no ranked lists to read")
    dropped = [count for count in map(_drop_duplicates, rows) if count]
    if dropped:
        warnings.warn(
            f"{name}: dropped {sum(dropped)} duplicate completion(s) in {len(dropped)} of {len(rows)} lists",
            stacklevel=2,
        )
    _name_the_others(rows)
    return _dataset(rows, name)


def _ranked(source: Any, split: str | None) -> list[Row]:
    """The ranked lists of a source, checked, in its order."""
    layout: Format | None = None
    kind: Kind | None = None
    rows: list[Row] = []
    for where, raw in read_records(source, split):
        layout = layout or format_of(where, raw)
        row = _converted(raw, layout, where)
        kind = kind or _kind(row)
        _check_kind(_kind(row), kind, where)
        rows.append(row)
    return _group(rows) if layout is not None and layout.grouped else rows


def _converted(raw: Row, layout: Format, where: str) -> Row:
    """A row of a file as a ranked list. Raises `ValueError` that begins with `where`."""
    missing = [column for column in layout.columns if column not in raw]
    if missing:
        raise ValueError(f"{where}: no {', '.join(missing)}, unlike the rows before it ({layout.name})")
    try:
        row = read_row(layout, raw)
        _check_row(row)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    row["relevance"] = [float(grade) for grade in row["relevance"]]
    names = [raw[key] for key in ID_COLUMNS if raw.get(key) is not None]
    if names:
        row["id"] = str(names[0])
        check_text(row["id"], f"{where}: id")
    return row


def _name_the_others(rows: list[Row]) -> None:
    """Give rows without an id their number as one, where other rows have an id, so that no id is lost."""
    if any("id" in row for row in rows):
        for number, row in enumerate(rows):
            row.setdefault("id", f"row-{number}")


def _dataset(rows: list[Row], name: str) -> Dataset:
    from datasets import Dataset

    columns = [key for key in (*REQUIRED, *PER_COMPLETION, "id") if all(key in row for row in rows)]
    try:
        return Dataset.from_dict({key: [row[key] for row in rows] for key in columns})
    except (ValueError, TypeError, OverflowError) as error:  # Arrow holds one type per key of a message
        words = " ".join(str(error).split())
        raise ValueError(
            f"{name}: a key of the messages, beside role and content, holds values of several types ({words}); "
            "drop it from the rows"
        ) from None


def to_pairs(lists: Dataset, pairs: Literal["best_worst", "all"] = "best_worst") -> Dataset:
    """Ranked lists as TRL's preference pairs: a `Dataset` with `prompt`, `chosen`, `rejected`.

    Args:
        lists: ranked lists.
        pairs: `best_worst`, one pair per list (the first of equal best ones, the last of equal worst ones), or
            `all`, every pair of different relevance. Equal grades make no pair.

    Completions of a chat prompt become chats, as TRL wants them.

    >>> lists = read_lists([{"prompt": "2+2?", "completions": ["5", "4", "four"], "relevance": [0, 1, 1]}])
    >>> to_pairs(lists)[:]
    {'prompt': ['2+2?'], 'chosen': ['4'], 'rejected': ['5']}
    >>> len(to_pairs(lists, "all"))
    2
    """
    from datasets import Dataset

    if pairs not in ("best_worst", "all"):
        raise ValueError(f"unknown pairs {pairs!r}; choose best_worst or all")
    check_lists(lists)
    made: dict[str, list[Any]] = {"prompt": [], "chosen": [], "rejected": []}
    for row in lists:
        completions, relevance = row["completions"], row["relevance"]
        if is_chat(row["prompt"]) and isinstance(completions[0], str):
            completions = [[{"role": "assistant", "content": text}] for text in completions]
        best_first = sorted(range(len(relevance)), key=lambda index: -relevance[index])
        if pairs == "best_worst":
            chosen = [(best_first[0], best_first[-1])]
        else:
            chosen = [(a, b) for place, a in enumerate(best_first) for b in best_first[place + 1 :]]
        for better, worse in chosen:
            if relevance[better] > relevance[worse]:
                made["prompt"].append(row["prompt"])
                made["chosen"].append(completions[better])
                made["rejected"].append(completions[worse])
    return Dataset.from_dict(made)
