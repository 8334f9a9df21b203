"""Data sets of the `ir_datasets` catalogue, from a registry of our own."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ir_datasets
import pandas as pd
import pytest
from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, GenericQuery, TrecQrel

from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.retrieval.sparse import BM25
from tests.bridge.layouts import triples

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
