"""What all retrievers share, on one that knows its ranking by heart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from retrieval_bridge.retrieval.manifest import MANIFEST, is_indexed, read_manifest, write_manifest
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.retriever import Retriever

CORPUS = [{"docno": f"d{n}", "title": "", "text": f"text {n}"} for n in range(5)]


class Backwards(Retriever):
    """The last passages first, each with its place as score; nothing for an empty query."""

    def find(self, queries, k):
        self.asked = (queries, k)
        places = [np.arange(len(self.passages))[::-1][:k] if query else np.empty(0, int) for query in queries]
        return places, [row.astype(float) for row in places]

    def __repr__(self):
        return "Backwards"


@pytest.fixture(scope="module")
def passages(tmp_path_factory):
    return Passages.build(iter(CORPUS), tmp_path_factory.mktemp("root") / "passages")


def topics(*queries, **columns):
    return pd.DataFrame({"qid": [f"q{n}" for n in range(len(queries))], "query": list(queries), **columns})


def test_topics_become_results_with_their_other_columns(passages):
    results = Backwards(passages, 2)(topics("a", "", "b", split=["x", "y", "z"]))
    assert list(results.columns) == ["qid", "query", "docno", "title", "text", "score", "rank", "split"]
    assert results[["qid", "docno", "score", "rank", "split"]].values.tolist() == [
        ["q0", "d4", 4.0, 0, "x"], ["q0", "d3", 3.0, 1, "x"], ["q2", "d4", 4.0, 0, "z"], ["q2", "d3", 3.0, 1, "z"],
    ]  # fmt: skip
    assert list(results["text"]) == ["text 4", "text 3"] * 2


def test_no_topics_no_results(passages):
    results = Backwards(passages)(topics())
    assert len(results) == 0
    assert list(results.columns) == ["qid", "query", "docno", "title", "text", "score", "rank"]


def test_no_more_is_asked_for_than_there_is(passages):
    retriever = Backwards(passages)
    retriever(topics("a"))
    assert retriever.asked == (["a"], 5)


def test_a_cutoff_is_part_of_the_retriever(passages):
    retriever = Backwards(passages, 3)
    first = retriever % 2
    assert isinstance(first, Backwards)
    assert (first.num_results, (retriever % 9).num_results, retriever.num_results) == (2, 3, 3)
    compiled = (retriever >> pt.RankCutoff(1)).compile()
    assert isinstance(compiled, Backwards)
    assert compiled.num_results == 1
    pd.testing.assert_frame_equal(
        (retriever % 2)(topics("a", "b")), pt.RankCutoff(2)(retriever(topics("a", "b")))
    )
    with pytest.raises(ValueError, match="num_results is 0; it must be at least 1"):
        retriever % 0


def test_pipelines_and_checks_of_pyterrier(passages):
    retriever = Backwards(passages)
    assert list(retriever.search("words")["docno"]) == ["d4", "d3", "d2", "d1", "d0"]
    assert pt.inspect.transformer_inputs(retriever) == [["qid", "query"]]
    outputs = pt.inspect.transformer_outputs(retriever, ["qid", "query", "answers"])
    assert outputs == ["qid", "query", "docno", "title", "text", "score", "rank", "answers"]
    assert list(retriever(topics("a", answers=[["x"]])).columns) == outputs
    doubled = (2 * retriever + retriever)(topics("a"))
    assert dict(zip(doubled["docno"], doubled["score"], strict=True))["d4"] == 12.0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"qid": ["q"]}), "Backwards needs the column.s. query; the frame has qid"),
        (pd.DataFrame({"qid": ["q", "q"], "query": ["a", "b"]}), "qid 'q' occurs twice in the topics"),
        (pd.DataFrame({"qid": ["q"], "query": [None]}), "the query of topic 'q' is None; it must be text"),
    ],
)
def test_bad_topics(passages, frame, message):
    with pytest.raises(ValueError, match=message):
        Backwards(passages)(frame)


def test_manifests(tmp_path):
    assert not is_indexed(tmp_path, {"kind": "x"})
    with pytest.raises(FileNotFoundError, match="no index there; make it with retrieval-bridge index"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, {"kind": "x", "more": 1})
    assert read_manifest(tmp_path) == {"kind": "x", "more": 1}
    assert is_indexed(tmp_path, {"kind": "x"})
    with pytest.raises(ValueError, match="holds another index: its kind is 'x', not 'y'"):
        is_indexed(tmp_path, {"kind": "y"})
    (tmp_path / MANIFEST).write_text('{"kind": ')
    with pytest.raises(ValueError, match=f"{MANIFEST}: damaged; delete .* and index again"):
        read_manifest(tmp_path)
