"""Collections: every layout gives the same corpus, topics and qrels, and bad input is one line that says where."""

from __future__ import annotations

import gzip
import json
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ir_datasets
import pandas as pd
import pytest
from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, GenericQuery, TrecQrel

from larpo_ir.data.results import docno_of
from retrieval_bridge.collections.answers import holds_answer
from retrieval_bridge.collections.corpus import read_corpus
from retrieval_bridge.collections.formats import FORMATS, load_collection
from retrieval_bridge.collections.questions import QuestionCollection
from retrieval_bridge.collections.sentence_collection import sentences, split_sentences
from retrieval_bridge.collections.trec import TrecCollection
from retrieval_bridge.retrieval.sparse import BM25

CORPUS = [
    {"docno": "p1", "title": "Physics", "text": "Bardeen won twice. He was American."},
    {"docno": "p2", "title": "", "text": 'The "Nobel" prize.'},
    {"docno": "p3", "title": "Deadpool", "text": "A film."},
]
TOPICS = [
    {"qid": "q1", "query": "who won twice", "answers": ["John Bardeen", "Bardeen"]},
    {"qid": "q2", "query": "which prize", "answers": ["Nobel"]},
]
QRELS = [("q1", "p1", 1), ("q2", "p2", 1)]
NEGATIVES = [("q1", "p3", 0), ("q2", "p3", 0), ("q2", "p1", 0)]


def jsonl(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def context(number: int, key: str) -> dict[str, str]:
    passage = CORPUS[number - 1]
    return {key: passage["docno"], "title": passage["title"], "text": passage["text"]}


def beir(folder: Path, end: str = "") -> Path:
    jsonl(folder / f"corpus.jsonl{end}", *({"_id": p["docno"], **p} for p in CORPUS))
    queries = ({"_id": t["qid"], "text": t["query"], "metadata": {"answers": t["answers"]}} for t in TOPICS)
    jsonl(folder / f"queries.jsonl{end}", *queries)
    text(folder / "qrels" / "dev.tsv", "query-id\tcorpus-id\tscore\nq1\tp1\t1\nq2\tp2\t1\n")
    return folder


def tevatron_legacy(folder: Path) -> Path:
    positives, negatives = ([1], [2]), ([3], [3, 1])
    rows = (
        {
            "query_id": topic["qid"],
            "query": topic["query"],
            "answers": topic["answers"],
            "positive_passages": [context(n, "docid") for n in good],
            "negative_passages": [context(n, "docid") for n in bad],
        }
        for topic, good, bad in zip(TOPICS, positives, negatives, strict=True)
    )
    jsonl(folder / "dev.jsonl", *rows)
    return folder


def tevatron(folder: Path) -> Path:
    jsonl(folder / "corpus.jsonl", *({"docid": p["docno"], **p} for p in CORPUS))
    rows = (
        {
            "query_id": topic["qid"],
            "query_text": topic["query"],
            "query_image": None,
            "answers": topic["answers"],
            "positive_document_ids": [docno for qid, docno, _ in QRELS if qid == topic["qid"]],
            "negative_document_ids": [docno for qid, docno, _ in NEGATIVES if qid == topic["qid"]],
        }
        for topic in TOPICS
    )
    jsonl(folder / "dev.jsonl", *rows)
    return folder


def dpr(folder: Path, key: str = "passage_id") -> Path:
    contexts: tuple[tuple[list[int], ...], ...] = (([1], [3], []), ([2], [3], [1]))
    rows = [
        {
            "dataset": "nq",
            "question": topic["query"],
            "answers": topic["answers"],
            "positive_ctxs": [context(n, key) for n in good],
            "hard_negative_ctxs": [context(n, key) for n in hard],
            "negative_ctxs": [context(n, key) for n in other],
        }
        for topic, (good, hard, other) in zip(TOPICS, contexts, strict=True)
    ]
    text(folder / "biencoder-nq-dev.json", json.dumps(rows, indent=4))
    return folder


def trec(folder: Path) -> Path:
    jsonl(folder / "corpus.jsonl", *CORPUS)
    text(folder / "topics.dev.tsv", "".join(f"{t['qid']}\t{t['query']}\n" for t in TOPICS))
    text(folder / "qrels.dev.txt", "".join(f"{qid} 0 {docno} {label}\n" for qid, docno, label in QRELS))
    return folder


def triples(frame: pd.DataFrame) -> list[tuple[str, str, int]]:
    assert list(frame.columns) == ["qid", "docno", "label"]
    assert pd.api.types.is_integer_dtype(frame["label"])
    return list(frame.itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("make", "answers", "negatives"),
    [
        (beir, True, []),
        (lambda folder: beir(folder, ".gz"), True, []),
        (tevatron_legacy, True, NEGATIVES),
        (tevatron, True, NEGATIVES),
        (trec, False, []),
    ],
    ids=["BEIR", "BEIR, compressed", "Tevatron, legacy", "Tevatron", "TREC"],
)
def test_every_layout_is_the_same_collection(
    make: Callable[[Path], Path], answers: bool, negatives: list[Any], tmp_path: Path
) -> None:
    collection = load_collection(make(tmp_path / "tiny"))
    assert collection.name == "tiny"
    assert collection.splits == ["dev"]
    assert sorted(collection.corpus(), key=lambda passage: passage["docno"]) == CORPUS
    topics = TOPICS if answers else [{"qid": t["qid"], "query": t["query"]} for t in TOPICS]
    assert collection.topics().to_dict("records") == collection.topics("dev").to_dict("records") == topics
    assert triples(collection.qrels()) == QRELS
    assert triples(collection.negatives()) == negatives


@pytest.mark.parametrize("key", ["passage_id", "psg_id"])
def test_dpr_questions_are_called_by_their_place(key: str, tmp_path: Path) -> None:
    collection = load_collection(dpr(tmp_path, key))
    assert collection.splits == ["dev"]
    assert list(collection.corpus()) == [CORPUS[0], CORPUS[2], CORPUS[1]]
    renamed = [{**topic, "qid": f"dev-{n}"} for n, topic in enumerate(TOPICS)]
    assert collection.topics().to_dict("records") == renamed
    assert triples(collection.qrels()) == [("dev-0", "p1", 1), ("dev-1", "p2", 1)]
    assert triples(collection.negatives()) == [("dev-0", "p3", 0), ("dev-1", "p3", 0), ("dev-1", "p1", 0)]
    alone = load_collection(tmp_path / "biencoder-nq-dev.json")
    assert alone.qrels().equals(collection.qrels())


def test_a_passage_without_an_id_is_called_by_its_hash(tmp_path: Path) -> None:
    collection = load_collection(dpr(tmp_path, "unknown"))
    physics = docno_of("Physics", "Bardeen won twice. He was American.")
    assert triples(collection.qrels())[0] == ("dev-0", physics, 1)
    assert next(collection.corpus()) == {**CORPUS[0], "docno": physics}


def test_a_corpus_file_beside_the_questions_is_their_corpus(tmp_path: Path) -> None:
    dpr(tmp_path)
    table = 'id\ttext\ttitle\n7\t"The ""Nobel"" prize."\t"A ""title"""\n8\tplain\tB\n'
    (tmp_path / "psgs_w100.tsv.gz").write_bytes(gzip.compress(table.encode()))
    for source in (tmp_path, tmp_path / "biencoder-nq-dev.json"):
        assert list(load_collection(source).corpus()) == [
            {"docno": "7", "title": 'A "title"', "text": 'The "Nobel" prize.'},
            {"docno": "8", "title": "B", "text": "plain"},
        ]


def test_splits_are_read_off_file_names_where_they_tell_files_apart(tmp_path: Path) -> None:
    dpr(tmp_path)
    (tmp_path / "latest-train.json").write_bytes((tmp_path / "biencoder-nq-dev.json").read_bytes())
    text(tmp_path / "config.json", '{"model": "bert"}')
    collection = load_collection(tmp_path)
    assert collection.splits == ["dev", "train"]
    with pytest.raises(ValueError, match=r"name a split of .*; its splits: dev, train"):
        collection.topics()
    with pytest.raises(ValueError, match="has no split 'test'; its splits: dev, train"):
        collection.qrels("test")
    text(tmp_path / "nq-dev.qa.csv", "who is it\t['me']\n")
    assert load_collection(tmp_path).splits == ["biencoder-nq-dev", "train", "nq-dev.qa"]


def test_dpr_tables_of_questions_have_topics_only(tmp_path: Path) -> None:
    path = text(
        tmp_path / "nq-test.qa.csv",
        "who won twice\t['John Bardeen', 'Bardeen']\n"
        'who wrote it\t"[""Harry\'s aunt""]"\n'
        'who sang it\t["Harry\'s aunt"]\n',
    )
    collection = load_collection(path)
    assert collection.topics().to_dict("records") == [
        {"qid": "test-0", "query": "who won twice", "answers": ["John Bardeen", "Bardeen"]},
        {"qid": "test-1", "query": "who wrote it", "answers": ["Harry's aunt"]},
        {"qid": "test-2", "query": "who sang it", "answers": ["Harry's aunt"]},
    ]
    with pytest.raises(ValueError, match="has no qrels for the split 'test', only topics"):
        collection.qrels()
    with pytest.raises(ValueError, match=r"put one of corpus\.jsonl"):
        list(collection.corpus())
    text(path, "who\t['a']\nwhat\t[open('/etc/passwd')]\n")
    with pytest.raises(ValueError, match=r"csv:2: answers .* are not a list of strings"):
        load_collection(path).topics()


def test_queries_of_tevatron_are_topics_only(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "queries-test.jsonl", {"query_id": 5, "query": "who", "query_image": None})
    collection = load_collection(path)
    assert collection.topics("test").to_dict("records") == [{"qid": "5", "query": "who"}]
    with pytest.raises(ValueError, match="only topics"):
        collection.qrels()


TREC_TOPICS = {
    "trec": "<top>\n<num> Number: 31\n<title> who won twice\n<desc> Description:\nlong\n</top>\n",
    "trecxml": '<topics><topic number="31"><query>who won twice</query><narrative>x</narrative></topic></topics>',
    "singleline": "31: who won twice\n",
    "tsv": "31\twho won twice\n",
}


@pytest.mark.parametrize("form", TREC_TOPICS)
def test_trec_topics_in_all_their_forms(form: str, tmp_path: Path) -> None:
    jsonl(tmp_path / "corpus.jsonl", {"id": "p1", "contents": "text"})
    text(tmp_path / "topics.robust.2004.txt", TREC_TOPICS[form])
    collection = load_collection(tmp_path)
    assert collection.splits == ["robust.2004"]
    assert collection.topics().to_dict("records") == [{"qid": "31", "query": "who won twice"}]
    with pytest.raises(ValueError, match=r"no qrels for the split 'robust\.2004'"):
        collection.qrels()


def test_trec_files_that_lie_elsewhere(tmp_path: Path) -> None:
    corpus = text(tmp_path / "a" / "collection.tsv", 'p1\ta "quoted word\np2\tb\n')
    topics = text(tmp_path / "b" / "queries.tsv", "q1\twho\n")
    qrels = text(tmp_path / "c" / "judged", "q1 0 p1 2\nq1 0 p2 0\n")
    collection = TrecCollection(corpus=corpus, topics={"dl19": topics}, qrels={"dl19": qrels})
    assert triples(collection.qrels()) == [("q1", "p1", 2), ("q1", "p2", 0)]
    assert next(collection.corpus()) == {"docno": "p1", "title": "", "text": 'a "quoted word'}
    with pytest.raises(ValueError, match=r"qrels but no topics for the split\(s\) dl20"):
        TrecCollection(corpus=corpus, topics={"dl19": topics}, qrels={"dl20": qrels})
    with pytest.raises(ValueError, match=r"nowhere: no such file or folder; it should hold the topics"):
        TrecCollection(corpus=corpus, topics={"dl19": tmp_path / "nowhere"})
    text(qrels, "q1 0 p1\n")
    with pytest.raises(ValueError, match=r"judged:1: 3 columns, expected 4 \(qid, iteration, docno, label\)"):
        collection.qrels()
    text(topics, "<top>\n<title> no number\n</top>\n")
    with pytest.raises(ValueError, match=r"queries\.tsv: not topics that PyTerrier can read"):
        TrecCollection(corpus=corpus, topics={"dl19": topics}).topics()


def test_trec_documents(tmp_path: Path) -> None:
    first = (
        "<DOC>\n<DOCNO> FT911-3 </DOCNO>\n<HEADLINE>\nA &amp; B\n</HEADLINE>\n"
        "<TEXT>\n<P>One</P>\n<P>two.</P>\n</TEXT>\n</DOC>\n"
    )
    second = "<DOC>\n<DOCNO>FT911-4</DOCNO>\n<TEXT>three</TEXT>\n</DOC>\n"
    (tmp_path / "docs" / "ft").mkdir(parents=True)
    (tmp_path / "docs" / "ft" / "1.gz").write_bytes(gzip.compress(first.encode()))
    text(tmp_path / "docs" / "ft" / "2", second)
    text(tmp_path / "topics.all.tsv", "q\twho\n")
    assert list(load_collection(tmp_path).corpus()) == [
        {"docno": "FT911-3", "title": "A & B", "text": "One two."},
        {"docno": "FT911-4", "title": "", "text": "three"},
    ]
    text(tmp_path / "docs" / "ft" / "2", "\n" + second.replace("</DOC>", ""))
    with pytest.raises(ValueError, match=r"ft/2:2: a <DOC> without its </DOC>"):
        list(load_collection(tmp_path).corpus())


Document = namedtuple("Document", ["doc_id", "title", "body"])
Question = namedtuple("Question", ["query_id", "text", "answers"])


class LocalDocs(BaseDocs):
    def docs_iter(self) -> Iterator[Any]:
        return iter([Document("d1", "T", "body one"), Document("d2", "", "body two"), Document("d3", "", "")])

    def docs_cls(self) -> Any:
        return Document


class LocalQueries(BaseQueries):
    def __init__(self, *queries: Any) -> None:
        self.queries = queries

    def queries_iter(self) -> Iterator[Any]:
        return iter(self.queries)


class LocalQrels(BaseQrels):
    def qrels_iter(self) -> Iterator[Any]:
        return iter([TrecQrel("1", "d2", 2, "0")])


@pytest.fixture(scope="module")
def registered() -> Iterator[str]:
    """A data set in ir_datasets' registry, as if it were one of its own."""
    Question.default_text = lambda self: self.text  # type: ignore[attr-defined]
    made = {
        "local-bridge": (LocalDocs(),),
        "local-bridge/dev": (LocalDocs(), LocalQueries(Question("1", "who", ("me",))), LocalQrels()),
        "local-bridge/dev/small": (LocalDocs(), LocalQueries(GenericQuery("2", "what"))),
    }
    for name, parts in made.items():
        ir_datasets.registry.register(name, ir_datasets.Dataset(*parts))
    yield "local-bridge"
    for name in made:
        del ir_datasets.registry._registered[name]


def test_ir_datasets(registered: str) -> None:
    collection = load_collection(registered)
    assert collection.splits == ["dev", "dev/small"]
    assert list(collection.corpus()) == [
        {"docno": "d1", "title": "T", "text": "body one"},
        {"docno": "d2", "title": "", "text": "body two"},
        {"docno": "d3", "title": "", "text": ""},
    ]
    assert collection.topics("dev").to_dict("records") == [{"qid": "1", "query": "who", "answers": ["me"]}]
    assert triples(collection.qrels("dev")) == [("1", "d2", 2)]
    assert collection.topics("dev/small").to_dict("records") == [{"qid": "2", "query": "what"}]
    with pytest.raises(ValueError, match="no qrels for the split 'dev/small'"):
        collection.qrels("dev/small")
    itself = load_collection(f"ir_datasets:{registered}/dev")
    assert itself.splits == ["dev"]
    assert triples(itself.qrels()) == [("1", "d2", 2)]


def test_an_empty_document_of_ir_datasets_is_indexed(registered: str, tmp_path: Path) -> None:
    with pytest.warns(
        UserWarning, match="local-bridge: 1 of 3 passages have neither title nor text, such as 'd3'"
    ):
        retriever = BM25(load_collection(registered), path=tmp_path)
    topics = pd.DataFrame({"qid": ["1"], "query": ["body"]})
    assert sorted(retriever(topics)["docno"]) == ["d1", "d2"]
    again = BM25(load_collection(registered), path=tmp_path)
    assert again.passages.fingerprint == retriever.passages.fingerprint


def test_what_is_no_collection(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="'beir/no-such': no such file or folder, and no such ir_datasets id"
    ):
        load_collection("beir/no-such")
    with pytest.raises(ValueError, match="not a collection in a known format: BEIR") as caught:
        load_collection(tmp_path)
    assert all(layout.name in str(caught.value) for layout in FORMATS)
    assert "positive_document_ids" in str(caught.value)
    assert "\n" not in str(caught.value)


HEADER = "query-id\tcorpus-id\tscore\n"
BAD_BEIR = {
    "malformed": ("corpus.jsonl", '{"_id": "p9", oops', r"corpus\.jsonl:1: malformed JSON"),
    "no id": (
        "corpus.jsonl",
        '{"text": "a"}',
        r"corpus\.jsonl:1: no _id or docid .*every passage needs an id",
    ),
    "no text": ("corpus.jsonl", '{"_id": "p9", "title": "a"}', r"corpus\.jsonl:1: no text or "),
    "number": (
        "corpus.jsonl",
        '{"_id": "p9", "text": 5}',
        r"corpus\.jsonl:1: text is 5; it must be a string",
    ),
    "surrogate": ("corpus.jsonl", '{"_id": "p9", "text": "\\ud83d"}', r"corpus\.jsonl:1: text holds half"),
    "twice": (
        "queries.jsonl",
        '{"_id": "q", "text": "a"}\n' * 2,
        r"queries\.jsonl:2: the query id 'q' occurs",
    ),
    "no query": ("queries.jsonl", '{"_id": "q1"}', r"queries\.jsonl:1: the query 'q1' is empty"),
    "no qid": ("queries.jsonl", '{"text": "a"}', r"queries\.jsonl:1: no _id; every query needs an id"),
    "no queries": ("queries.jsonl", "", r"queries\.jsonl: no topics"),
    "answers": (
        "queries.jsonl",
        '{"_id": "q1", "text": "a", "metadata": {"answers": {"b": 1}}}',
        r"queries\.jsonl:1: answers are {'b': 1}; they must be a list",
    ),
    "unknown query": (
        "qrels/dev.tsv",
        f"{HEADER}q1\tp1\t1\nq7\tp1\t1\n",
        r"dev\.tsv:3: unknown query id 'q7'",
    ),
    "label": ("qrels/dev.tsv", f"{HEADER}q1\tp1\thigh\n", r"dev\.tsv:2: label 'high' is not a whole number"),
    "fraction": (
        "qrels/dev.tsv",
        f"{HEADER}q1\tp1\t0.5\n",
        r"dev\.tsv:2: label '0\.5' is not a whole number",
    ),
    "contradiction": (
        "qrels/dev.tsv",
        f"{HEADER}q1\tp1\t1\nq1\tp1\t1.0\nq1\tp1\t0\n",
        r"dev\.tsv:4: document 'p1' of query 'q1' has the label 0, and 1 above; keep one",
    ),
    "a list as an id": (
        "corpus.jsonl",
        '{"_id": ["p9"], "text": "a"}',
        r"corpus\.jsonl:1: the id of a passage is \[",
    ),
    "true as an id": (
        "queries.jsonl",
        '{"_id": true, "text": "a"}',
        r"queries\.jsonl:1: the id of a query is True",
    ),
    "deep": ("corpus.jsonl", "[" * 3000, r"corpus\.jsonl:1: brackets are nested more than 100 levels"),
    "a large id": (
        "queries.jsonl",
        f'{{"_id": {10**20}, "text": "a"}}',
        r"queries\.jsonl:1: the number 1000000",
    ),
    "columns": ("qrels/dev.tsv", f"{HEADER}q1 p1 1\n", r"dev\.tsv:2: 1 columns, expected 3 \(query-id, "),
    "header": (
        "qrels/dev.tsv",
        "q1\tp1\t1\nq2\tp2\t1\n",
        r"dev\.tsv:1: header q1, p1, 1; it must be query-id",
    ),
    "empty": ("qrels/dev.tsv", HEADER, r"dev\.tsv: empty qrels"),
}


def read_all(folder: Path) -> None:
    collection = load_collection(folder)
    collection.topics()
    list(collection.corpus())


@pytest.mark.parametrize("name", BAD_BEIR)
def test_bad_input_is_one_line_that_says_where(name: str, tmp_path: Path) -> None:
    file, content, message = BAD_BEIR[name]
    text(beir(tmp_path) / file, content)
    with pytest.raises(ValueError, match=message) as caught:
        read_all(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / file}")
    assert "\n" not in str(caught.value)


def test_qrels_and_tables_as_other_programs_write_them(tmp_path: Path) -> None:
    """With a byte-order mark, CRLF, blank lines, labels such as 1.0, judgements that occur twice."""
    rows = ["q1\tp1\t1.0", "", "q2\tp2\t-1", "q2\tp1\t0.0", "q1\tp1\t1"]
    text(beir(tmp_path / "beir") / "qrels" / "dev.tsv", "\ufeff" + "\r\n".join([HEADER.strip(), *rows, ""]))
    expected = [("q1", "p1", 1), ("q2", "p2", -1), ("q2", "p1", 0)]
    assert triples(load_collection(tmp_path / "beir").qrels()) == expected
    folder = trec(tmp_path / "trec")
    text(folder / "qrels.dev.txt", "\ufeff" + "\r\n".join(row.replace("\t", "  0 \t", 1) for row in rows))
    text(folder / "topics.dev.tsv", "\ufeffq1\twho won twice\r\n\r\nq2\twhich prize\r\n")
    collection = load_collection(folder)
    assert triples(collection.qrels()) == expected
    assert collection.topics().values.tolist() == [["q1", "who won twice"], ["q2", "which prize"]]


def test_topics_on_lines_without_a_tab(tmp_path: Path) -> None:
    topics = text(
        trec(tmp_path) / "topics.dev.tsv", "\ufeff# made by hand\r\n\r\nq1  who won: twice \r\nq2:which prize"
    )
    assert load_collection(tmp_path).topics().values.tolist() == [
        ["q1", "who won: twice"],
        ["q2", "which prize"],
    ]
    text(topics, "q1 who\nq2\n")
    with pytest.raises(ValueError, match=r"topics\.dev\.tsv:2: no query behind an id"):
        load_collection(tmp_path).topics()
    text(topics, "\twho\n")
    with pytest.raises(ValueError, match=r"topics\.dev\.tsv:1: qid is ''; an id is a string"):
        load_collection(tmp_path).topics()


ROW = {"question": "who", "answers": ["me"], "positive_ctxs": [{"passage_id": "1", "text": "a", "title": ""}]}
EMPTY = {"docno": "none", "title": "", "text": ""}


def _beir_with_empty(folder: Path) -> Any:
    jsonl(
        beir(folder) / "corpus.jsonl",
        {"_id": "none", "title": None, "text": None},
        *({"_id": p["docno"], **p} for p in CORPUS),
    )
    return load_collection(folder)


def _table_with_empty(folder: Path) -> Any:
    (trec(folder) / "corpus.jsonl").unlink()
    text(folder / "collection.tsv", "none\t\np1\ttext\n")
    return load_collection(folder)


def _sgml_with_empty(folder: Path) -> Any:
    (trec(folder) / "corpus.jsonl").unlink()
    text(
        folder / "corpus.trec",
        "<DOC>\n<DOCNO>none</DOCNO>\n<TEXT> </TEXT>\n</DOC>\n<DOC><DOCNO>p1</DOCNO>a</DOC>\n",
    )
    return load_collection(folder)


def _questions_with_empty(folder: Path) -> Any:
    nothing = {"passage_id": "none", "title": "", "text": ""}
    jsonl(folder / "nq-dev.jsonl", {**ROW, "positive_ctxs": [nothing, *ROW["positive_ctxs"]]})
    return load_collection(folder)


@pytest.mark.parametrize(
    "make", [_beir_with_empty, _table_with_empty, _sgml_with_empty, _questions_with_empty]
)
def test_an_empty_passage_is_one_of_the_corpus_in_every_layout(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    first, second, *_ = make(tmp_path).corpus()
    assert first == EMPTY
    assert second["docno"] in ("p1", "1")


def test_missing_files(tmp_path: Path) -> None:
    (beir(tmp_path) / "corpus.jsonl").unlink()
    with pytest.raises(ValueError, match=r"corpus\.jsonl: no such file or folder; it should hold the corpus"):
        load_collection(tmp_path)
    beir(tmp_path)
    (tmp_path / "qrels" / "dev.tsv").unlink()
    with pytest.raises(ValueError, match=r"no qrels/\*\.tsv"):
        load_collection(tmp_path)
    (trec(tmp_path / "trec") / "corpus.jsonl").unlink()
    with pytest.raises(ValueError, match=r"trec: no corpus; a TREC folder needs one of corpus\.jsonl, "):
        load_collection(tmp_path / "trec")
    with pytest.raises(ValueError, match=r"nowhere\.jsonl: no such file"):
        next(read_corpus(tmp_path / "nowhere.jsonl"))


BAD_ROWS = {
    "unlike": (
        {"query": "who"},
        r"dev\.jsonl:2: unlike the first row, this is no row of DPR \(question, posi",
    ),
    "list": ({**ROW, "positive_ctxs": "p1"}, r"dev\.jsonl:2: positive_ctxs is 'p1'; it must be a list"),
    "text": (
        {**ROW, "positive_ctxs": [{"title": ""}]},
        r"dev\.jsonl:2: positive_ctxs: no text or document_text or contents; every passage needs a text",
    ),
    "query": ({**ROW, "question": " "}, r"dev\.jsonl:2: the query 'dev-1' is empty"),
    "malformed": ('{"question": ', r"dev\.jsonl:2: malformed JSON"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_of_questions_is_one_line_that_says_where(name: str, tmp_path: Path) -> None:
    row, message = BAD_ROWS[name]
    collection = load_collection(jsonl(tmp_path / "nq-dev.jsonl", ROW, row).parent)
    with pytest.raises(ValueError, match=message) as caught:
        collection.qrels()
    assert "\n" not in str(caught.value)


def test_questions_without_positives_are_topics_but_need_one_among_them(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "dev.jsonl", ROW, {**ROW, "positive_ctxs": []})
    collection = QuestionCollection("q", {"dev": path})
    assert len(collection.topics()) == 2
    assert triples(collection.qrels()) == [("dev-0", "1", 1)]
    jsonl(path, {**ROW, "positive_ctxs": []})
    with pytest.raises(ValueError, match=r"dev\.jsonl: empty qrels"):
        QuestionCollection("q", {"dev": path}).qrels()


def test_a_corpus_is_streamed(tmp_path: Path) -> None:
    passages = [{"_id": str(n), "text": "word " * 100} for n in range(1000)]
    corpus = read_corpus(jsonl(tmp_path / "corpus.jsonl", *passages, "{oops"))
    assert next(corpus)["docno"] == "0"
    with pytest.raises(ValueError, match=r"corpus\.jsonl:1001: malformed"):
        list(corpus)


def test_frames_are_the_callers_own(tmp_path: Path) -> None:
    collection = load_collection(beir(tmp_path))
    qrels, topics = collection.qrels(), collection.topics()
    qrels["label"] = 7
    topics.drop(columns="query", inplace=True)
    assert triples(collection.qrels()) == QRELS
    assert list(collection.topics().columns) == ["qid", "query", "answers"]


HELD = [
    ("Born in Zürich.", ["zürich"], True),
    # the same letters, composed and decomposed
    ("Born in Zu\u0308rich.", ["Z\u00fcrich"], True),
    ("Born in Zürich.", ["Zurich"], False),
    ("a catalogue", ["cat"], False),
    ("the cat's tail", ["cat"], True),
    ("in the U.S. Senate", ["US Senate"], False),
    ("in the U.S. Senate", ["u.s. senate"], True),
    ("It cost $1,800 then", ["1,800"], True),
    ("It cost $1,800 then", ["1800"], False),
    ("September 21 , 2016", ["September 21, 2016"], True),
    ("September 21\n2016", ["21 2016"], True),
    ("won in 1956 and 1972", ["1972 and 1956"], False),
    ("nothing here", ["no", "here"], True),
    ("anything", [], False),
    ("anything", ["", " \u200b"], False),
    ("", ["a"], False),
    ("", [""], False),
    # a zero-width space is a control character: it parts tokens and is none
    ("New\u200bYork", ["New York"], True),
    ("日本", ["日"], False),
]


@pytest.mark.parametrize(("passage", "answers", "held"), HELD)
def test_answers_are_held_as_whole_tokens_in_a_row(passage: str, answers: list[str], held: bool) -> None:
    assert holds_answer(passage, answers) is held


def test_a_string_is_no_list_of_answers() -> None:
    with pytest.raises(ValueError, match="answers is the string 'abc'; it must be a list"):
        holds_answer("abc", "abc")


SENTENCES = {
    "One. Two!  Three? Four": ["One.", "Two!", "Three?", "Four"],
    "At 2.5 m. he stopped": ["At 2.5 m. he stopped"],
    "P. J. Hogan and Mrs. Darling of the U.S. Senate left.": [
        "P. J. Hogan and Mrs. Darling of the U.S. Senate left."
    ],
    'He said "No!" Then he left. (Alone.) 1999 came.': [
        'He said "No!"',
        "Then he left.",
        "(Alone.)",
        "1999 came.",
    ],
    "Été fini. Étoile.": ["Été fini.", "Étoile."],
}


@pytest.mark.parametrize("passage", SENTENCES)
def test_sentences_end_by_the_rule(passage: str) -> None:
    assert split_sentences(passage) == SENTENCES[passage]


def test_sentence_retrieval_has_graded_labels(tmp_path: Path) -> None:
    graded = sentences(load_collection(beir(tmp_path)))
    assert graded.splits == ["dev"]
    assert [(p["docno"], p["title"], p["text"]) for p in graded.corpus()] == [
        ("p1.0", "Physics", "Bardeen won twice."),
        ("p1.1", "Physics", "He was American."),
        ("p2.0", "", 'The "Nobel" prize.'),
        ("p3.0", "Deadpool", "A film."),
    ]
    assert graded.topics().to_dict("records") == TOPICS
    assert triples(graded.qrels()) == [("q1", "p1.0", 2), ("q1", "p1.1", 1), ("q2", "p2.0", 2)]


def test_an_empty_passage_has_no_sentences(tmp_path: Path) -> None:
    assert split_sentences(" \n") == []
    documents = [passage["docno"] for passage in sentences(_beir_with_empty(tmp_path)).corpus()]
    assert documents == ["p1.0", "p1.1", "p2.0", "p3.0"]


def test_sentence_retrieval_needs_answers_and_the_gold_passages(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the topics of 'dev' have no answers"):
        sentences(load_collection(trec(tmp_path / "trec"))).qrels()
    text(beir(tmp_path / "beir") / "qrels" / "dev.tsv", f"{HEADER}q1\tp8\t1\n")
    with pytest.raises(ValueError, match="qrels name the passage 'p8', which is not in the corpus"):
        sentences(load_collection(tmp_path / "beir")).qrels()


def test_nq() -> None:
    folder = Path(__file__).parents[2].parent / "shared" / "data" / "nq"
    if not folder.exists():
        pytest.skip("needs the data beside a development checkout")
    collection = load_collection(folder)
    passages = {passage["docno"]: passage["text"] for passage in collection.corpus()}
    assert len(passages) == 2600
    assert {split: len(collection.topics(split)) for split in collection.splits} == {
        "dev": 400,
        "train": 1600,
    }
    topics, qrels = collection.topics("dev").set_index("qid"), collection.qrels("dev")
    # these questions were chosen because their gold passage holds an answer
    assert all(
        holds_answer(passages[docno], topics.loc[qid, "answers"])
        for qid, docno in zip(qrels["qid"], qrels["docno"], strict=True)
    )
    graded = sentences(collection).qrels("dev")
    assert set(graded["label"]) == {1, 2}
    assert (graded.groupby("qid")["label"].max() == 2).all()
