"""Passages on disk: found by place, written whole or not at all."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest

from retrieval_bridge.collections.corpus import read_corpus
from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.results import results_frame
from tests.bridge.small import PASSAGES, SmallCollection, write_beir


@pytest.fixture
def passages(tmp_path):
    return Passages.build(PASSAGES, tmp_path / "passages")


def test_passages_are_found_by_place_and_by_docno(passages):
    assert len(passages) == 6
    frame = passages.frame([3, 1, 3])
    assert frame.columns.tolist() == ["docno", "title", "text"]
    assert frame["docno"].tolist() == ["p3", "p1", "p3"]
    assert passages.full_texts(1, 3) == ["Pear a green pear", "plum blue plum"]
    assert passages.places_of(["p5", "p0"]).tolist() == [5, 0]
    assert passages.frame([]).shape == (0, 3)
    with pytest.raises(ValueError, match="document 'p9' is not among the 6 passages of"):
        passages.places_of(["p0", "p9"])


def test_what_is_built_can_be_loaded_and_the_fingerprint_names_the_content(passages, tmp_path):
    again = Passages.load(passages.directory)
    assert again.full_texts(0, 6) == passages.full_texts(0, 6)
    assert again.fingerprint == passages.fingerprint
    changed = [*PASSAGES[:5], {**PASSAGES[5], "text": "grass is red"}]
    moved = [{**PASSAGES[0], "title": "the", "text": "apple is red"}, *PASSAGES[1:]]
    others = {Passages.build(rows, tmp_path / str(n)).fingerprint for n, rows in enumerate((changed, moved))}
    assert len(others | {passages.fingerprint}) == 3


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"docno": "x", "title": " ", "text": ""}], "none of the 1 passages has a text"),
        (
            [PASSAGES[0], {"docno": "x", "title": 5, "text": ""}],
            "passage 'x': title is 5; it must be a string",
        ),
        ([PASSAGES[0], {"docno": "x", "text": "\ud83d"}], "passage 'x': text holds half a surrogate pair"),
        ([*PASSAGES, PASSAGES[2]], r"docno 'p2' occurs twice in the corpus \(passages 3 and 7\)"),
        ([], "the corpus is empty"),
    ],
)
def test_an_error_leaves_nothing_behind(rows, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Passages.build(iter(rows), tmp_path / "passages")
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_is_streamed(tmp_path):
    """Rows are made one at a time and none is kept: far more of them than fit into the memory that is allowed."""
    import tracemalloc

    rows = ({"docno": str(n), "title": "", "text": "many words " * 100} for n in range(20_000))
    Passages.build(PASSAGES, tmp_path / "first")  # imports are not what is measured
    tracemalloc.start()
    passages = Passages.build(rows, tmp_path / "passages")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(passages) == 20_000
    assert peak < 8e6  # the texts are 22 MB


def test_passages_of_a_collection_are_made_once(tmp_path):
    collection = SmallCollection()
    made = passages_of(collection)
    assert passages_of(collection) is made
    on_disk = passages_of(collection, tmp_path)
    before = (tmp_path / "passages" / "data.arrow").stat().st_mtime_ns
    assert passages_of(collection, tmp_path).fingerprint == on_disk.fingerprint == made.fingerprint
    assert passages_of(tmp_path).fingerprint == made.fingerprint
    assert (tmp_path / "passages" / "data.arrow").stat().st_mtime_ns == before
    other = SmallCollection("other")
    assert len(passages_of(other, tmp_path)) == 6  # the same passages under another name
    for corpus, difference in (
        (PASSAGES[1:], "'p0' differs in its docno, title, text"),
        (PASSAGES[:-1], "6 there and fewer here"),
        ([*PASSAGES, {"docno": "p9", "text": "new"}], "6 there and more here"),
    ):
        other.corpus = lambda corpus=corpus: iter(corpus)
        with pytest.raises(
            ValueError, match=rf"holds other passages than 'other' \(made from 'small'\): {difference};"
        ):
            passages_of(other, tmp_path)


def test_a_passage_that_changed_far_behind_is_another_corpus(tmp_path):
    folder = tmp_path / "beir"
    write_beir(folder)
    rows = [{"_id": f"d{n}", "title": "", "text": f"text {n}"} for n in range(3000)]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    passages_of(load_collection(folder), tmp_path / "root")
    rows[2900]["text"] = "TEXT 2900"  # the same ids, the same size
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(
        ValueError, match=r"holds other passages than 'beir' .*: 'd2900' differs in its text; choose"
    ):
        passages_of(load_collection(folder), tmp_path / "root")


def test_a_corpus_is_read_again_only_when_its_file_has_changed(tmp_path, monkeypatch):
    folder = write_beir(tmp_path / "beir")
    made = passages_of(load_collection(folder), tmp_path / "root")
    reads = []
    monkeypatch.setattr(
        "retrieval_bridge.collections.beir.read_corpus",
        lambda path: reads.append(path) or iter(read_corpus(path)),
    )
    passages_of(load_collection(folder), tmp_path / "root")
    assert reads == []
    os.utime(folder / "corpus.jsonl", ns=(1, 1))
    for _ in range(2):
        assert passages_of(load_collection(folder), tmp_path / "root").fingerprint == made.fingerprint
    assert reads == [folder / "corpus.jsonl"]


def test_empty_passages_keep_their_place_and_are_counted(tmp_path):
    rows = [
        PASSAGES[0],
        {"docno": "x", "title": "", "text": " \n"},
        {"docno": "y", "title": None, "text": None},
    ]
    message = (
        "the corpus: 2 of 3 passages have neither title nor text, such as 'x'; they are indexed as empty ones"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        passages = Passages.build(iter(rows), tmp_path / "passages")
    assert len(caught) == 1
    assert passages.empty == 2
    assert passages.frame([2, 0])["docno"].tolist() == ["y", "p0"]
    assert passages.full_texts(0, 3) == ["the apple is red", " \n", ""]


@pytest.mark.parametrize("name", ["passages.json", "data.arrow"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"[" * 3000, b"\xff\xfe", None])
def test_damaged_passages_are_one_line(tmp_path, name, damage):
    Passages.build(PASSAGES, tmp_path / "passages")
    path = tmp_path / "passages" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage is None else damage)
    with pytest.raises(
        ValueError, match=r"passages: these passages are damaged \(.*; delete the folder"
    ) as caught:
        Passages.load(tmp_path / "passages")
    assert "\n" not in str(caught.value)


def test_results_keep_the_topics_columns_and_the_order_of_ties(passages):
    topics = pd.DataFrame({"qid": ["a", "b", "c"], "query": ["x", "y", "z"], "gold": [1, 2, 3]})
    places = [np.array([4, 1, -1]), np.array([]), np.array([2, 0, 5])]
    scores = [np.array([1.0, 1.0, -9.0]), np.array([]), np.array([0.5, 0.7, 0.1])]
    results = results_frame(topics, places, scores, passages)
    assert results.columns.tolist() == ["qid", "query", "docno", "title", "text", "score", "rank", "gold"]
    assert results["docno"].tolist() == ["p4", "p1", "p0", "p2", "p5"]
    assert results["rank"].tolist() == [0, 1, 0, 1, 2]
    assert results["gold"].tolist() == [1, 1, 3, 3, 3]
    nothing = results_frame(topics[:0], [], [], passages)
    assert nothing.empty
    assert nothing.columns.tolist() == results.columns.tolist()
