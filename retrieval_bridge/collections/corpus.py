"""Files of passages, streamed: JSON Lines, tables, TREC's SGML."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from larpo_ir.data.records import Located, Row, read_records, read_table
from larpo_ir.data.text_files import read_lines
from retrieval_bridge.collections.fields import DOCNO_FIELDS, Passage, passage_of
from retrieval_bridge.collections.paths import bare, existing, find_file

CORPUS_FILES = ("corpus.jsonl", "corpus.tsv", "psgs_w100.tsv", "collection.tsv", "corpus.trec", "docs")


def corpus_of(folder: Path, format_name: str) -> Path:
    found = find_file(folder, *CORPUS_FILES)
    if found is None:
        raise ValueError(
            f"{folder}: no corpus; a {format_name} needs one of {', '.join(CORPUS_FILES)} (also .gz)"
        )
    return found


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
