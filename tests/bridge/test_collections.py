"""Collections: every layout gives the same corpus, topics and qrels."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from larpo_ir.data.results import docno_of
from retrieval_bridge.collections.corpus import read_corpus
from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.collections.trec import TrecCollection
from tests.bridge.layouts import (
    CORPUS,
    EMPTY,
    HEADER,
    NEGATIVES,
    QRELS,
    ROW,
    TOPICS,
    beir,
    beir_with_empty,
    dpr,
    jsonl,
    tevatron,
    tevatron_legacy,
    text,
    trec,
    triples,
)


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
    "make", [beir_with_empty, _table_with_empty, _sgml_with_empty, _questions_with_empty]
)
def test_an_empty_passage_is_one_of_the_corpus_in_every_layout(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    first, second, *_ = make(tmp_path).corpus()
    assert first == EMPTY
    assert second["docno"] in ("p1", "1")


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
