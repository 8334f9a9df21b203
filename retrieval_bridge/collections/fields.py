"""Fields of a row: ids, passages, answers, read and checked.

These functions raise a one-line `ValueError` for a value that they cannot read. It begins with `where`, the place of
the row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from larpo_ir.data.records import Row, id_text

Passage = dict[str, str]  # docno, title, text

DOCNO_FIELDS = ("_id", "docid", "docno", "id", "passage_id", "psg_id")
TEXT_FIELDS = ("text", "document_text", "contents")
ANSWER_FIELDS = ("answers", "answer")


def first_of(row: Row, names: Iterable[str]) -> Any:
    """The value under the first of the names that the row fills, or None."""
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def string_of(value: Any, what: str, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}: {what} is {value!r}; it must be a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where}: {what} holds half a surrogate pair, which is no character") from None
    return value


def id_of(row: Row, names: tuple[str, ...], what: str, where: str) -> str:
    value = first_of(row, names)
    if value is None:
        raise ValueError(f"{where}: no {' or '.join(names)}; every {what} needs an id")
    return string_of(id_text(value, f"the id of a {what}", where), "the id", where)


def passage_of(row: Row, where: str, docno: str | None = None) -> Passage:
    """A passage from a row, whose text may be empty. Without an id, `docno` is used; without that it is an error."""
    if not any(name in row for name in TEXT_FIELDS):
        raise ValueError(f"{where}: no {' or '.join(TEXT_FIELDS)}; every passage needs a text")
    title = string_of(row.get("title") or "", "title", where)
    text = string_of(first_of(row, TEXT_FIELDS) or "", "text", where)
    if docno is None:
        docno = id_of(row, DOCNO_FIELDS, "passage", where)
    return {"docno": docno, "title": title, "text": text}


def answers_of(row: Row, where: str) -> list[str] | None:
    answers = first_of(row, ANSWER_FIELDS)
    if answers is None:
        return None
    if isinstance(answers, str):
        answers = [answers]
    if not isinstance(answers, list):
        raise ValueError(f"{where}: answers are {answers!r}; they must be a list of strings")
    return [string_of(answer, "an answer", where) for answer in answers]
