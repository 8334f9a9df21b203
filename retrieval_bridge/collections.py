"""Test collections: a corpus, topics and qrels, whatever layout they are published in.

`load_collection` goes by the table `FORMATS`; a new layout is one more line of it. Everything is read row by row:
topics and qrels become frames with PyTerrier's column names, a corpus is streamed and never held in memory.
"""

from __future__ import annotations

import ast
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from larpo_ir.records import Located, Row, read_lines, read_records, read_table
from larpo_ir.results import docno_of
from larpo_ir.text_files import first_line
from retrieval_bridge.rows import (
    CORPUS_FILES,
    DOCNO_FIELDS,
    Passage,
    answers_of,
    bare,
    corpus_of,
    existing,
    find_file,
    first_of,
    id_of,
    judgements,
    passage_of,
    qrels_frame,
    read_corpus,
    stamps_of,
    topics_frame,
)


class Collection(ABC):
    """A test collection.

    `name` says which; `splits` names its sets of topics, in the order in which they were found. Wherever a method
    takes a `split`, None means the only one.
    """

    name: str
    splits: list[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, splits={self.splits})"

    @abstractmethod
    def corpus(self) -> Iterator[Passage]:
        """The passages, one after another: `docno`, `title` (may be empty) and `text`."""

    def source(self) -> dict[str, Any] | None:
        """What says cheaply that the corpus is still the same, None where only reading it says so."""
        return None

    @abstractmethod
    def _topics(self, split: str) -> pd.DataFrame: ...

    @abstractmethod
    def _qrels(self, split: str) -> pd.DataFrame: ...

    def _negatives(self, split: str) -> pd.DataFrame:
        return judgements([])

    def topics(self, split: str | None = None) -> pd.DataFrame:
        """`qid, query` and, where they are known, `answers` (a list of strings); each query once."""
        return self._topics(self._split(split)).copy()

    def qrels(self, split: str | None = None) -> pd.DataFrame:
        """`qid, docno, label` (whole numbers). `ValueError` where a split has topics only."""
        return self._qrels(self._split(split)).copy()

    def negatives(self, split: str | None = None) -> pd.DataFrame:
        """`qid, docno, label` (0): negatives that were mined by whoever made the collection; often none."""
        return self._negatives(self._split(split)).copy()

    def _split(self, split: str | None) -> str:
        if split is None and len(self.splits) == 1:
            return self.splits[0]
        if split not in self.splits:
            known = ", ".join(self.splits) or "none; there are no topics"
            if split is None:
                raise ValueError(f"name a split of {self.name}; its splits: {known}")
            raise ValueError(f"{self.name} has no split {split!r}; its splits: {known}")
        return split

    def _no_qrels(self, split: str) -> NoReturn:
        raise ValueError(
            f"{self.name} has no qrels for the split {split!r}, only topics: search, not measure"
        )


# --- BEIR ---------------------------------------------------------------------------------------------------


class BeirCollection(Collection):
    """A BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/SPLIT.tsv` (the first two maybe as `.gz`).

    The topics of a split are the queries that its qrels name, in that order.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        folder = Path(folder)
        self.name = folder.resolve().name
        self.corpus_path = existing(find_file(folder, "corpus.jsonl") or folder / "corpus.jsonl", "corpus")
        self.queries_path = existing(
            find_file(folder, "queries.jsonl") or folder / "queries.jsonl", "queries"
        )
        self.qrels_paths = {path.stem: path for path in sorted((folder / "qrels").glob("*.tsv"))}
        self.splits = list(self.qrels_paths)
        if not self.splits:
            raise ValueError(f"{folder}: no qrels/*.tsv; a BEIR folder has one such file for every split")
        self._queries, self._judged = cache(self._read_queries), cache(self._read_qrels)

    def corpus(self) -> Iterator[Passage]:
        return read_corpus(self.corpus_path)

    def source(self) -> dict[str, Any] | None:
        return stamps_of([self.corpus_path])

    def _read_queries(self) -> pd.DataFrame:
        def topic(where: str, row: Row) -> tuple[str, Row]:
            metadata = row.get("metadata")
            answers = answers_of({**metadata, **row} if isinstance(metadata, dict) else row, where)
            qid = id_of(row, ("_id",), "query", where)
            return where, {"qid": qid, "query": row.get("text", ""), "answers": answers}

        rows = (topic(where, row) for where, row in read_records(self.queries_path))
        return topics_frame(rows, self.queries_path)

    def _read_qrels(self, split: str) -> pd.DataFrame:
        path, header = self.qrels_paths[split], ["query-id", "corpus-id", "score"]

        def judgement(where: str, row: Row) -> Located:
            if list(row) != header:
                raise ValueError(f"{path}:1: header {', '.join(row)}; it must be {', '.join(header)}")
            return where, dict(zip(("qid", "docno", "label"), row.values(), strict=True))

        rows = (judgement(where, row) for where, row in read_table(path))
        return qrels_frame(rows, self._queries()["qid"], self.queries_path, path)

    def _topics(self, split: str) -> pd.DataFrame:
        qids = self._judged(split)["qid"].unique()
        return self._queries().set_index("qid").loc[qids].reset_index()

    def _qrels(self, split: str) -> pd.DataFrame:
        return self._judged(split)


# --- questions with their passages --------------------------------------------------------------------------


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


def _question_rows(path: Path) -> Iterator[Located]:
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


def _layout_of(path: Path) -> Layout | None:
    """The layout of a file of questions, None if it is none."""
    if bare(path).suffix not in QUESTION_SUFFIXES or bare(path).name in CORPUS_FILES:
        return None
    if bare(path).suffix in (".tsv", ".csv"):
        first = next((line for _, line in read_lines(path)), "")
        if not re.fullmatch(r'[^\t]+\t"?\[.*\]"?', first.strip()):
            return None
    first_row = next((row for _, row in _question_rows(path)), {})
    return next((layout for layout in LAYOUTS if layout.fits(first_row)), None)


def _splits_of(paths: Iterable[Path]) -> dict[str, Path]:
    """Name files by train, dev, … where that is in their name and says which; otherwise by the whole name."""
    stems = {path: bare(path).stem for path in paths}
    found = {path: SPLIT.findall(stem) for path, stem in stems.items()}
    short = {path: names[-1] if names else stems[path] for path, names in found.items()}
    names = list(short.values())
    return {name if names.count(name) == 1 else stems[path]: path for path, name in short.items()}


class QuestionCollection(Collection):
    """Files in which every question carries its passages or their ids: DPR's and Tevatron's (`LAYOUTS`).

    Args:
        files: the file of every split.
        corpus: a corpus file (see `read_corpus`); None: the union of the passages in the files, each id once. That
            union holds all ids in memory; a corpus file is streamed.

    A passage without `passage_id`, `psg_id` or `docid` gets the hash of title and text as its docno. A question
    without an id is called by split and place: `train-0`. Positive passages have label 1; the mined negatives are
    what `negatives` returns, hard ones first.
    """

    def __init__(
        self,
        name: str,
        files: Mapping[str, str | os.PathLike[str]],
        corpus: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = name
        self.files = {split: existing(path, "questions") for split, path in files.items()}
        self.splits = list(self.files)
        self.corpus_path = None if corpus is None else existing(corpus, "corpus")
        self._read = cache(self._read_split)

    def _rows(self, split: str) -> Iterator[tuple[str, int, Row, Layout]]:
        path = self.files[split]
        layout = _layout_of(path)
        if layout is None:
            raise ValueError(f"{path}: not a file of questions; known are {_known_layouts()}")
        for number, (where, row) in enumerate(_question_rows(path)):
            if not layout.fits(row):
                raise ValueError(f"{where}: unlike the first row, this is no row of {_described(layout)}")
            yield where, number, row, layout

    def _members(self, row: Row, names: Iterable[str], where: str) -> Iterator[tuple[str, Row | None]]:
        """Ids and, where they are in the row, passages under these names."""
        for name in names:
            members = row.get(name) or []
            if not isinstance(members, list):
                raise ValueError(f"{where}: {name} is {members!r}; it must be a list")
            for member in members:
                yield self._member(member, f"{where}: {name}")

    def _member(self, member: Any, where: str) -> tuple[str, Row | None]:
        if not isinstance(member, dict):
            return id_of({"id": member}, ("id",), "passage", where), None
        if first_of(member, DOCNO_FIELDS) is None:
            passage = passage_of(member, where, docno="")
            return docno_of(passage["title"], passage["text"]), member
        return id_of(member, DOCNO_FIELDS, "passage", where), member

    def corpus(self) -> Iterator[Passage]:
        return self._union() if self.corpus_path is None else read_corpus(self.corpus_path)

    def source(self) -> dict[str, Any] | None:
        return stamps_of(self.files.values() if self.corpus_path is None else [self.corpus_path])

    def _union(self) -> Iterator[Passage]:
        seen: set[str] = set()
        for split in self.splits:
            for where, _, row, layout in self._rows(split):
                names = (layout.positives, *layout.negatives)
                for docno, passage in self._members(row, filter(None, names), where):
                    if passage is not None and docno not in seen:
                        seen.add(docno)
                        yield passage_of(passage, where, docno)
        if not seen:
            raise ValueError(
                f"{self.name} names passages by their ids at most; put one of {', '.join(CORPUS_FILES)} beside it"
            )

    def _qid(self, row: Row, layout: Layout, split: str, number: int, where: str) -> str:
        return f"{split}-{number}" if layout.qid is None else id_of(row, (layout.qid,), "query", where)

    def _read_split(self, split: str) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        topics: list[Located] = []
        positives: list[tuple[str, str, int]] = []
        judged = False
        for where, number, row, layout in self._rows(split):
            qid, query = self._qid(row, layout, split, number, where), first_of(row, layout.query) or ""
            topics.append((where, {"qid": qid, "query": query, "answers": answers_of(row, where)}))
            if layout.positives:
                judged = True
                positives += [(qid, docno, 1) for docno, _ in self._members(row, [layout.positives], where)]
        frame = topics_frame(topics, self.files[split])
        return frame, judgements(positives, self.files[split]) if judged else None

    def _topics(self, split: str) -> pd.DataFrame:
        return self._read(split)[0]

    def _qrels(self, split: str) -> pd.DataFrame:
        qrels = self._read(split)[1]
        return self._no_qrels(split) if qrels is None else qrels

    def _negatives(self, split: str) -> pd.DataFrame:
        return judgements(
            (self._qid(row, layout, split, number, where), docno, 0)
            for where, number, row, layout in self._rows(split)
            for docno, _ in self._members(row, layout.negatives, where)
        )


def _described(layout: Layout) -> str:
    fields = (layout.qid, " or ".join(layout.query), layout.positives, *layout.also)
    return f"{layout.name} ({', '.join(filter(None, fields))})"


def _known_layouts() -> str:
    return "; ".join(map(_described, LAYOUTS))


# --- TREC ---------------------------------------------------------------------------------------------------


class TrecCollection(Collection):
    """TREC files, wherever they are.

    Args:
        corpus: a corpus file or folder (see `read_corpus`).
        topics: the file of topics of every split: one query per line behind its id (and a tab, a blank or a colon),
            or what `pt.io.read_topics` reads: TREC's `<top>` (the title is the query), XML (`<query>` or `<title>`).
        qrels: the file of qrels, `qid iteration docno label`, of those splits that have one.
    """

    def __init__(
        self,
        corpus: str | os.PathLike[str],
        topics: Mapping[str, str | os.PathLike[str]],
        qrels: Mapping[str, str | os.PathLike[str]] | None = None,
        name: str = "TREC collection",
    ) -> None:
        self.name = name
        self.corpus_path = existing(corpus, "corpus")
        self.topics_paths = {split: existing(path, "topics") for split, path in topics.items()}
        self.qrels_paths = {split: existing(path, "qrels") for split, path in (qrels or {}).items()}
        self.splits = list(self.topics_paths)
        if unknown := set(self.qrels_paths) - set(self.splits):
            raise ValueError(f"{name}: qrels but no topics for the split(s) {', '.join(sorted(unknown))}")
        self._read = cache(self._read_topics)

    def corpus(self) -> Iterator[Passage]:
        return read_corpus(self.corpus_path)

    def source(self) -> dict[str, Any] | None:
        return stamps_of([self.corpus_path])

    def _read_topics(self, split: str) -> pd.DataFrame:
        path = self.topics_paths[split]
        first = next((line for _, line in read_lines(path) if line.strip()), "")
        if first.lstrip().startswith("<"):
            return topics_frame(_marked_topics(path, first), path)
        rows = read_table(path, ("qid", "query")) if "\t" in first else _line_topics(path)
        return topics_frame(rows, path)

    def _topics(self, split: str) -> pd.DataFrame:
        return self._read(split)

    def _qrels(self, split: str) -> pd.DataFrame:
        if split not in self.qrels_paths:
            self._no_qrels(split)
        path = self.qrels_paths[split]
        rows = read_table(path, ("qid", "iteration", "docno", "label"), delimiter=None)
        return qrels_frame(rows, self._topics(split)["qid"], self.topics_paths[split], path)


TOPIC_LINE = re.compile(r"\s*([^:\s]+)[:\s]+(\S.*)")


def _line_topics(path: Path) -> Iterator[Located]:
    """A query on every line, behind its id and a blank or colon; lines that begin with # say something else."""
    for number, line in read_lines(path):
        if not line.strip() or line.startswith("#"):
            continue
        if (found := TOPIC_LINE.match(line)) is None:
            raise ValueError(f"{path}:{number}: no query behind an id; expected `qid query` on every line")
        yield f"{path}:{number}", {"qid": found[1], "query": found[2].strip()}


def _marked_topics(path: Path, first: str) -> Iterator[Located]:
    """Topics in TREC's mark-up, as PyTerrier reads it."""
    import pyterrier as pt

    try:
        if first.lstrip().lower().startswith("<top>"):
            topics = pt.io.read_topics(str(path), "trec")
        else:
            topics = pt.io.read_topics(str(path), "trecxml", tags=["query", "title"])
    except Exception as error:  # its parsers fail in their own ways, none of which says what the file lacks
        raise ValueError(f"{path}: not topics that PyTerrier can read ({first_line(error)})") from None
    for row in topics.to_dict("records"):
        yield str(path), row


TREC_FILE = re.compile(r"(?P<kind>topics|qrels)\.(?P<split>.+?)(\.[A-Za-z]+)?(\.gz)?")


def _trec_files(folder: Path, kind: str) -> dict[str, Path]:
    matches = ((TREC_FILE.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return {match["split"]: path for match, path in matches if match and match["kind"] == kind}


# --- ir_datasets --------------------------------------------------------------------------------------------


class IRDatasetsCollection(Collection):
    """A data set of the `ir_datasets` catalogue, which downloads what it needs when it is first read.

    Its only split is the data set itself if it has queries and qrels; otherwise its splits are the data sets below
    it that have queries, or itself if there are none.
    """

    def __init__(self, id: str) -> None:
        import ir_datasets

        registry = ir_datasets.registry
        try:
            self.dataset = registry[id]
        except KeyError:
            raise ValueError(f"{id!r}: no such file or folder, and no such ir_datasets id") from None
        self.name = id
        below = [key for key in registry if key.startswith(f"{id}/") and registry[key].has_queries()]
        if not below or (self.dataset.has_queries() and self.dataset.has_qrels()):
            below = [id] if self.dataset.has_queries() else []
        own = id.rpartition("/")[2]
        self._below = {own if key == id else key.removeprefix(f"{id}/"): key for key in below}
        self.splits = list(self._below)

    def _dataset(self, split: str) -> Any:
        import ir_datasets

        return ir_datasets.load(self._below[split])

    def corpus(self) -> Iterator[Passage]:
        if not self.dataset.has_docs():
            raise ValueError(f"{self.name} has no documents; name a data set that has some")
        for document in self.dataset.docs_iter():
            row = {"title": getattr(document, "title", ""), "_id": document.doc_id}
            text = getattr(document, "text", None) or getattr(document, "body", None)
            if text is None:
                row["title"], text = "", document.default_text()
            yield passage_of({**row, "text": text}, f"{self.name}: document {document.doc_id!r}")

    def source(self) -> dict[str, Any] | None:
        try:
            return stamps_of([Path(self.dataset.docs_path())])
        except Exception:  # of a data set that is made of others, or by a program
            return None

    def _topics(self, split: str) -> pd.DataFrame:
        def topic(query: Any) -> Located:
            where = f"{self._below[split]}: query {query.query_id!r}"
            answers = getattr(query, "answers", None)
            row = {"qid": query.query_id, "query": query.default_text()}
            return where, {**row, "answers": None if answers is None else list(answers)}

        return topics_frame(map(topic, self._dataset(split).queries_iter()), self._below[split])

    def _qrels(self, split: str) -> pd.DataFrame:
        dataset = self._dataset(split)
        if not dataset.has_qrels():
            self._no_qrels(split)
        rows = ((row.query_id, row.doc_id, row.relevance) for row in dataset.qrels_iter())
        return judgements(rows, self._below[split])


# --- recognition --------------------------------------------------------------------------------------------


def _beir(path: Path) -> Collection | None:
    if not path.is_dir():
        return None
    queries = find_file(path, "queries.jsonl")
    first: Row = next((row for _, row in read_records(queries)), {}) if queries else {}
    return BeirCollection(path) if (path / "qrels").is_dir() or "_id" in first else None


def _trec(path: Path) -> Collection | None:
    topics = _trec_files(path, "topics") if path.is_dir() else {}
    if not topics:
        return None
    qrels = {split: file for split, file in _trec_files(path, "qrels").items() if split in topics}
    return TrecCollection(corpus_of(path, "TREC folder"), topics, qrels, path.resolve().name)


def _questions(path: Path) -> Collection | None:
    folder = path if path.is_dir() else path.parent
    files = [file for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.is_file()]
    files = [file for file in files if _layout_of(file) is not None]
    if not files:
        return None
    return QuestionCollection(bare(path.resolve()).name, _splits_of(files), find_file(folder, *CORPUS_FILES))


@dataclass(frozen=True)
class Format:
    """A layout of collections: what it looks like, and how it is opened (None: it is not this one)."""

    name: str
    looks: str
    open: Callable[[Path], Collection | None] = field(repr=False)


FORMATS = (
    Format("BEIR", "queries.jsonl, corpus.jsonl and qrels/*.tsv", _beir),
    Format("TREC", "topics.SPLIT.EXT, qrels.SPLIT.EXT and a corpus", _trec),
    Format("questions", f"JSON, JSON Lines or tables in one of the layouts {_known_layouts()}", _questions),
)


def load_collection(folder_or_id: str | os.PathLike[str]) -> Collection:
    """The test collection in a folder or a file, or of an `ir_datasets` id.

    Args:
        folder_or_id: a folder or file in one of the `FORMATS`, which is recognised by what is in it, or an id of
            `ir_datasets`, such as `"beir/nq"`; `"ir_datasets:beir/nq"` says so even if there is a folder `beir/nq`.

    ========= ==================================================================================================
    BEIR      `BeirCollection`: a folder with corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv
    TREC      `TrecCollection`: a folder with topics.SPLIT.EXT, qrels.SPLIT.EXT and a corpus (see `read_corpus`)
    DPR       `QuestionCollection`: biencoder JSON, or tables of questions and answers; a file or a folder of them
    Tevatron  `QuestionCollection`: JSON Lines with passages (legacy) or ids and corpus.jsonl
    ========= ==================================================================================================

    `corpus.jsonl`, `psgs_w100.tsv` or `collection.tsv` beside DPR's or Tevatron's files is their corpus. Topics,
    qrels and passages are read when they are asked for; malformed rows raise `ValueError` with file and line.
    """
    name = os.fspath(folder_or_id)
    path = Path(name)
    if name.startswith("ir_datasets:") or not path.exists():
        return IRDatasetsCollection(name.removeprefix("ir_datasets:"))
    for layout in FORMATS:
        collection = layout.open(path)
        if collection is not None:
            return collection
    known = "; ".join(f"{layout.name} ({layout.looks})" for layout in FORMATS)
    raise ValueError(f"{path}: not a collection in a known format: {known}")
