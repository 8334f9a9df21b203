"""What the layouts of collections share: fields of a row, frames of many, files of passages."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.records import Located, Row, id_text, read_lines, read_records, read_table
from larpo_ir.data.trec import judged_once

Passage = dict[str, str]  # docno, title, text

CORPUS_FILES = ("corpus.jsonl", "corpus.tsv", "psgs_w100.tsv", "collection.tsv", "corpus.trec", "docs")
DOCNO_FIELDS = ("_id", "docid", "docno", "id", "passage_id", "psg_id")
TEXT_FIELDS = ("text", "document_text", "contents")
ANSWER_FIELDS = ("answers", "answer")


def first_of(row: Row, names: Iterable[str]) -> Any:
    """What stands under the first of the names that the row fills."""
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


def topics_frame(rows: Iterable[tuple[str, Row]], source: object) -> pd.DataFrame:
    """Rows of `qid, query, answers` (None: unknown), checked, as a frame."""
    topics: dict[str, Row] = {}
    for where, row in rows:
        if id_text(row["qid"], "qid", where) in topics:
            raise ValueError(f"{where}: the query id {row['qid']!r} occurs twice; ids must be unique")
        if not string_of(row["query"], "the query", where).strip():
            raise ValueError(f"{where}: the query {row['qid']!r} is empty; give it a text or take it out")
        topics[row["qid"]] = row
    if not topics:
        raise ValueError(f"{source}: no topics; it needs at least one query")
    frame = pd.DataFrame(topics.values(), columns=["qid", "query", "answers"])
    if frame["answers"].isna().all():
        return frame.drop(columns="answers")
    frame["answers"] = [answers or [] for answers in (row.get("answers") for row in topics.values())]
    return frame


def judgements(rows: Iterable[tuple[str, str, int]], source: object = None) -> pd.DataFrame:
    """Judgements as a frame; of several of one pair the first counts. `source`: what must hold at least one."""
    frame = pd.DataFrame(rows, columns=["qid", "docno", "label"])
    if frame.empty and source is not None:
        raise ValueError(f"{source}: empty qrels; they need at least one judgement")
    return frame.drop_duplicates(["qid", "docno"], ignore_index=True).astype({"label": int})


def qrels_frame(rows: Iterable[Located], known: pd.Series, queries: object, source: object) -> pd.DataFrame:
    """Rows of `qid, docno, label` as strings, checked against the ids of the queries there are.

    A judgement that occurs twice counts once; `ValueError` for one that contradicts an earlier one.
    """
    qids = set(known)

    def judgement(where: str, row: Row) -> tuple[str, tuple[str, str, str]]:
        if row["qid"] not in qids:
            raise ValueError(f"{where}: unknown query id {row['qid']!r}; {queries} has no such query")
        return where, (row["qid"], row["docno"], row["label"])

    labels = judged_once(judgement(where, row) for where, row in rows)
    return judgements(((*pair, label) for pair, label in labels.items()), source)


def bare(path: Path) -> Path:
    """The path without `.gz`, by whose suffix a file is known."""
    return path.with_suffix("") if path.suffix == ".gz" else path


def find_file(folder: Path, *names: str) -> Path | None:
    """The first of the names that is in the folder, plain or as `.gz`."""
    candidates = (folder / f"{name}{end}" for name in names for end in ("", ".gz"))
    return next((path for path in candidates if path.exists()), None)


def existing(path: str | os.PathLike[str], what: str) -> Path:
    if not Path(path).exists():
        raise ValueError(f"{path}: no such file or folder; it should hold the {what}")
    return Path(path)


def corpus_of(folder: Path, format_name: str) -> Path:
    found = find_file(folder, *CORPUS_FILES)
    if found is None:
        raise ValueError(
            f"{folder}: no corpus; a {format_name} needs one of {', '.join(CORPUS_FILES)} (also .gz)"
        )
    return found


def written_at(file: Path) -> list[int]:
    """Size and time of the last change, to the nanosecond."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns]


def stamps_of(paths: Iterable[Path]) -> dict[str, list[int]]:
    """`written_at` of files and of all files in folders."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {str(file.resolve()): written_at(file) for file in files if file.is_file()}


def read_corpus(path: str | os.PathLike[str]) -> Iterator[Passage]:
    """Stream the passages of a corpus file, which may end in `.gz`.

    * `.jsonl`, `.json`: an id (`_id`, `docid`, `docno` or `id`), a text (`text` or `contents`), maybe a `title`;
    * `.tsv`: with a header such as `id, text, title`, cells quoted as `csv` does (DPR's psgs_w100.tsv), or without
      one: `docno, text`, not quoted (MS MARCO's collection.tsv);
    * anything else, or a folder of such files: TREC's SGML, `<DOC> <DOCNO>…</DOCNO> … </DOC>`.

    A passage may be empty. Raises `ValueError` with file and line for one without id or without a field of text.
    """
    path = existing(path, "corpus")
    if path.is_dir():
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            yield from read_corpus(file)
        return
    for where, row in CORPUS_READERS.get(bare(path).suffix, _sgml_passages)(path):
        yield passage_of(row, where)


def _tsv_passages(path: Path) -> Iterator[Located]:
    first = next((line for _, line in read_lines(path)), "").rstrip("\r\n").split("\t")
    if first[0] in DOCNO_FIELDS:
        return read_table(path, quoted=True)
    return read_table(path, ("docno", "text"))


SGML_FIELDS = {
    "docno": re.compile(r"<(docno)>(.*?)</docno>", re.I | re.S),
    "title": re.compile(r"<(title|headline|ttl)>(.*?)</\1>", re.I | re.S),
}
SGML_TAG = re.compile(r"<[^<>]*>")


def _sgml_passages(path: Path) -> Iterator[Located]:
    """Documents of a TREC file: the title is apart, the text is all else without its tags."""
    start, lines = 0, list[str]()
    for number, line in read_lines(path):
        if line.lstrip().upper().startswith("<DOC>"):
            start, lines = number, []
        if start:
            lines.append(line)
        if start and "</DOC>" in line.upper():
            yield f"{path}:{start}", _sgml_row("".join(lines))
            start = 0
    if start:
        raise ValueError(f"{path}:{start}: a <DOC> without its </DOC>; the file may be cut off")


def _sgml_row(document: str) -> Row:
    row = {}
    for name, pattern in SGML_FIELDS.items():
        if found := pattern.search(document):
            row[name] = _plain(found[2])
            document = document[: found.start()] + document[found.end() :]
    return {**row, "text": _plain(document)}


def _plain(markup: str) -> str:
    return " ".join(html.unescape(SGML_TAG.sub(" ", markup)).split())


CORPUS_READERS: dict[str, Callable[[Path], Iterator[Located]]] = {
    ".jsonl": read_records,
    ".json": read_records,
    ".tsv": _tsv_passages,
}
