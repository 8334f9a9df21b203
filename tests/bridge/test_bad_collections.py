"""Bad files of collections: one line that says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval_bridge.collections.corpus import read_corpus
from retrieval_bridge.collections.formats import FORMATS, load_collection
from retrieval_bridge.collections.questions import QuestionCollection
from tests.bridge.layouts import HEADER, ROW, beir, jsonl, text, trec, triples


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
