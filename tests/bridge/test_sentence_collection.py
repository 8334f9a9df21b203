"""Sentences as passages: their ends, and their grades."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval_bridge.collections.answers import holds_answer
from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.collections.sentence_collection import sentences, split_sentences
from tests.bridge.layouts import HEADER, TOPICS, beir, beir_with_empty, text, trec, triples

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
    documents = [passage["docno"] for passage in sentences(beir_with_empty(tmp_path)).corpus()]
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
