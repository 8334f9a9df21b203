"""Layouts of question files: DPR's and Tevatron's fields, recognised by a file's first row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from larpo_ir.data.records import Located, Row, read_records, read_table
from larpo_ir.data.text_files import read_lines
from retrieval_bridge.collections.corpus import CORPUS_FILES
from retrieval_bridge.collections.paths import bare


@dataclass(frozen=True)
class Layout:
    """Fields of files in which every question carries its passages, or their ids.

    Of several names of the query the first that is there counts; passages of all names of negatives are joined.
    """

    name: str
    query: tuple[str, ...]
    qid: str | None = None
    positives: str | None = None
    negatives: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def fits(self, row: Row) -> bool:
        needed = [name for name in (self.qid, self.positives, *self.also) if name]
        return all(name in row for name in needed) and any(name in row for name in self.query)


# The most specific first.
LAYOUTS = (
    Layout("DPR", ("question",), None, "positive_ctxs", ("hard_negative_ctxs", "negative_ctxs")),
    Layout("Tevatron, legacy", ("query",), "query_id", "positive_passages", ("negative_passages",)),
    Layout(
        "Tevatron", ("query_text", "query"), "query_id", "positive_document_ids", ("negative_document_ids",)
    ),
    Layout("Tevatron queries", ("query_text", "query"), "query_id"),
    Layout("DPR questions", ("question",), also=("answers",)),
)
SPLIT = re.compile(r"(?<![a-z])(?:train|dev|validation|valid|val|test)(?![a-z])", re.I)
QUESTION_SUFFIXES = (".json", ".jsonl", ".tsv", ".csv")


def question_rows(path: Path) -> Iterator[Located]:
    """Rows of a question file; DPR's tables are `question <tab> list of answers`, the list as Python writes it."""
    if bare(path).suffix not in (".tsv", ".csv"):
        yield from read_records(path)
        return
    for where, row in read_table(path, ("question", "answers"), quoted=True):
        try:
            answers = ast.literal_eval(row["answers"])
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise ValueError(f"{where}: answers {row['answers']!r} are not a list of strings") from None
        yield where, {**row, "answers": answers}


def layout_of(path: Path) -> Layout | None:
    """The layout of a file of questions, None if it is none."""
    if bare(path).suffix not in QUESTION_SUFFIXES or bare(path).name in CORPUS_FILES:
        return None
    if bare(path).suffix in (".tsv", ".csv"):
        first = next((line for _, line in read_lines(path)), "")
        if not re.fullmatch(r'[^\t]+\t"?\[.*\]"?', first.strip()):
            return None
    first_row = next((row for _, row in question_rows(path)), {})
    return next((layout for layout in LAYOUTS if layout.fits(first_row)), None)


def splits_of(paths: Iterable[Path]) -> dict[str, Path]:
    """Name files by train, dev, … where that is in their name and says which; otherwise by the whole name."""
    stems = {path: bare(path).stem for path in paths}
    found = {path: SPLIT.findall(stem) for path, stem in stems.items()}
    short = {path: names[-1] if names else stems[path] for path, names in found.items()}
    names = list(short.values())
    return {name if names.count(name) == 1 else stems[path]: path for path, name in short.items()}


def described(layout: Layout) -> str:
    fields = (layout.qid, " or ".join(layout.query), layout.positives, *layout.also)
    return f"{layout.name} ({', '.join(filter(None, fields))})"


def known_layouts() -> str:
    return "; ".join(map(described, LAYOUTS))
