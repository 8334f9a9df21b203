"""Candidates of passages for the samplers that serve responses."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from larpo_ir.data.negatives import TopBottom, WithoutFalseNegatives, sample_lists
from larpo_ir.data.pool import CandidatePool
from larpo_ir.rewards.reranker import Reranker
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.random_passages import RandomPassages
from retrieval_bridge.retrieval.results import results_frame
from retrieval_bridge.training.filters import WithoutAnswers, WithoutNear
from retrieval_bridge.training.grades import AnswerGrades
from retrieval_bridge.training.mining import mine
from retrieval_bridge.training.negative_files import read_negatives, write_negatives
from retrieval_bridge.training.negatives import Negatives
from retrieval_bridge.training.sources import Listed, OtherTopicsPassages
from tests.bridge.small import PASSAGES, QRELS, TOPICS


@pytest.fixture(scope="module")
def passages(tmp_path_factory):
    return Passages.build(PASSAGES, tmp_path_factory.mktemp("mining") / "passages")


class Fixed(pt.Transformer):
    """A retriever that finds the same passages, in this order, for every topic."""

    def __init__(self, passages, *places):
        self.passages, self.places = passages, np.array(places)

    def transform(self, inp):
        scores = 10.0 - np.arange(len(self.places))
        return results_frame(inp, [self.places] * len(inp), [scores] * len(inp), self.passages)


@pytest.fixture(scope="module")
def candidates(passages):
    return mine(TOPICS, QRELS, passages, {"a": Fixed(passages, 0, 1, 2), "b": Fixed(passages, 2, 3, 4)})


def rows(candidates, qid, source):
    chosen = candidates[(candidates["qid"] == qid) & (candidates["source"] == source)]
    return chosen[["docno", "score", "source_rank", "source_score"]].values.tolist()


def test_candidates_are_judged_passages_and_what_each_source_brings(candidates):
    assert rows(candidates, "q1", "judged") == [["p1", 1.0, 0, 1.0]]
    assert rows(candidates, "q1", "a") == [["p0", 0.0, 0, 10.0], ["p1", 1.0, 1, 9.0], ["p2", 0.0, 2, 8.0]]
    assert rows(candidates, "q1", "b") == [["p2", 0.0, 0, 10.0], ["p3", 0.0, 1, 9.0], ["p4", 0.0, 2, 8.0]]
    assert candidates["text"][candidates["docno"] == "p1"].unique().tolist() == ["Pear a green pear"]
    assert candidates["qid"].tolist() == ["q0"] * 7 + ["q1"] * 7 + ["q2"] * 7


def choose(sampler, candidates, qid="q1", seed=0):
    chosen = sampler(candidates[candidates["qid"] == qid], np.random.default_rng(seed))
    return None if chosen is None else chosen["docno"].tolist()


def test_negatives_come_from_the_sources_that_are_named(candidates):
    assert sorted(choose(Negatives("a"), candidates)) == ["p0", "p1", "p2"]
    assert choose(Negatives("a"), candidates)[0] == "p1"
    assert choose(Negatives("b", num_negatives=2, hardest=True), candidates) == ["p1", "p2", "p3"]
    assert choose(Negatives("b", hardest=True, skip=1, depth=2), candidates) == ["p1", "p3"]
    # one from each in turn; p2, which both bring, counts once
    assert choose(Negatives(("a", "b"), num_negatives=3, hardest=True), candidates) == [
        "p1",
        "p0",
        "p2",
        "p3",
    ]
    assert set(choose(Negatives(None, num_negatives=9), candidates)) == {"p0", "p1", "p2", "p3", "p4"}
    assert choose(Negatives("c"), candidates) is None


def test_a_draw_covers_the_source_and_depends_on_the_seed_alone(candidates):
    drawn = [choose(Negatives("b", num_negatives=1), candidates, seed=seed)[1] for seed in range(60)]
    assert {name: drawn.count(name) > 8 for name in ("p2", "p3", "p4")} == {
        "p2": True,
        "p3": True,
        "p4": True,
    }
    assert drawn == [choose(Negatives("b", num_negatives=1), candidates, seed=seed)[1] for seed in range(60)]


def test_the_samplers_of_responses_read_candidates_of_passages(candidates):
    lists = sample_lists(candidates, Negatives(("a", "b"), num_negatives=2), seed=1)
    assert lists["id"][:] == ["q0", "q1", "q2"]
    assert [scores[0] for scores in lists["relevance"]] == [1.0, 1.0, 1.0]
    graded = AnswerGrades()(candidates)
    lists = sample_lists(graded, WithoutFalseNegatives(TopBottom(1, 3)))
    assert lists[2]["completions"][0] == "the sky is blue"
    assert "Sea the sea of blue" not in lists[2]["completions"] or lists[2]["relevance"][1] == 1.0
    pool = CandidatePool()
    pool.add(candidates.rename(columns={"source": "policy"}))
    assert choose(Negatives(None, by="score"), pool.view(), "q0")[0] == "p0"


def test_answer_strings_tell_false_negatives_and_grades(candidates):
    kept = WithoutAnswers()(candidates)
    assert set(kept[kept["qid"] == "q2"]["docno"]) == {"p0", "p1", "p2", "p3"}  # p4 says sea, an answer
    assert set(kept[kept["qid"] == "q0"]["docno"]) == {"p0", "p1", "p2", "p3", "p4"}  # the positive stays
    grades = AnswerGrades()(candidates).drop_duplicates(["qid", "docno"]).set_index(["qid", "docno"])["score"]
    assert grades["q2"].to_dict() == {"p3": 2.0, "p4": 1.0, "p0": 0.0, "p1": 0.0, "p2": 0.0}


def test_margins_are_to_the_positive_of_the_same_source(candidates):
    # source a ranks p0 (10) over the positive of q1 (9) over p2 (8); b has not found it: nothing is dropped there
    assert [row[0] for row in rows(WithoutNear(0.5)(candidates), "q1", "a")] == ["p1", "p2"]
    assert [row[0] for row in rows(WithoutNear(1.0)(candidates), "q1", "a")] == ["p1"]
    assert len(rows(WithoutNear(1.0)(candidates), "q1", "b")) == 3
    # relative: 8 is below 9 · 0.9 = 8.1, and not below 9 · 0.8 = 7.2
    assert [row[0] for row in rows(WithoutNear(0.1, relative=True)(candidates), "q1", "a")] == ["p1", "p2"]
    assert [row[0] for row in rows(WithoutNear(0.2, relative=True)(candidates), "q1", "a")] == ["p1"]


class Length(Reranker):
    """A cross-encoder that likes long passages."""

    def score(self, results):
        return results["text"].str.len().to_numpy(float)


def test_a_reranker_tells_false_negatives_and_the_relevance_stays(candidates):
    kept = WithoutNear(0.0, Length())(candidates)
    longer = {"q0": 16, "q1": 17, "q2": 15}  # characters of the positive
    negatives = kept[kept["label"] == 0]
    assert (negatives["text"].str.len() < negatives["qid"].map(longer)).all()
    assert len(negatives) < len(candidates[candidates["label"] == 0])
    assert set(kept["score"]) == {0.0, 1.0}
    distilled = Length()(candidates)
    assert choose(Negatives("b", hardest=True), distilled)[0] == "p1"  # by label, whatever the scores
    scores = sample_lists(distilled, Negatives("b"))[0]["relevance"]
    assert scores[1:] == sorted(scores[1:], reverse=True)
    assert 16.0 in scores


def test_random_passages_are_distinct_and_the_same_for_a_seed(passages):
    one, same = (RandomPassages(passages, 4, seed=3)(TOPICS) for _ in range(2))
    pd.testing.assert_frame_equal(one, same)
    assert one.groupby("qid")["docno"].nunique().tolist() == [4, 4, 4]
    assert RandomPassages(passages, 4, seed=4)(TOPICS)["docno"].tolist() != one["docno"].tolist()
    assert RandomPassages(passages, 4, seed=3)(TOPICS[1:])["docno"].tolist() == one["docno"].tolist()[4:]
    assert len(RandomPassages(passages, 99)(TOPICS[:1])) == 6


def test_other_topics_passages_are_never_the_topics_own(passages):
    found = OtherTopicsPassages(passages, QRELS, 5)(TOPICS)
    assert found.groupby("qid")["docno"].apply(set).to_dict() == {
        "q0": {"p1", "p3"}, "q1": {"p0", "p3"}, "q2": {"p0", "p1"},
    }  # fmt: skip


@pytest.mark.parametrize("name", ["negatives.tsv", "negatives.jsonl", "negatives.trec"])
def test_negatives_go_out_and_come_back(name, tmp_path, passages):
    negatives = pd.DataFrame(
        {"qid": ["q1", "q1", "q0"], "docno": ["p2", "p3", "p5"], "score": [1.0, 2.0, 0.0]}
    )
    back = read_negatives(write_negatives(negatives, tmp_path / name))
    assert back[["qid", "docno", "rank"]].values.tolist() == [
        ["q1", "p3", 0],
        ["q1", "p2", 1],
        ["q0", "p5", 0],
    ]
    found = mine(TOPICS, QRELS, passages, {"file": Listed(read_negatives(tmp_path / name), passages)})
    assert [row[0] for row in rows(found, "q1", "file")] == ["p3", "p2"]


@pytest.mark.parametrize("name", ["n.tsv", "n.tsv.gz"])
def test_negatives_as_other_programs_write_them(name, tmp_path):
    content = "\ufeffq1\tp2, p3\r\n\r\nq2\tp\u20284\r\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read_negatives(tmp_path / name)[["qid", "docno"]].values.tolist() == [
        ["q1", "p2"], ["q1", "p3"], ["q2", "p\u20284"],
    ]  # fmt: skip


def test_pairs_on_lines_are_negatives_too(tmp_path):
    (tmp_path / "pairs.tsv").write_text("q1\tp2\nq1\tp3\n")
    assert read_negatives(tmp_path / "pairs.tsv")["docno"].tolist() == ["p2", "p3"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("n.tsv", "q1\tp2\nq1 p3\n", "n.tsv:2: expected qid<tab>docno"),
        ("n.tsv", "q1\t\n", "n.tsv:1: query 'q1' has no negatives"),
        ("n.tsv", "\n\tp2\n", "n.tsv:2: expected qid<tab>docno"),
        ("n.jsonl", '{"qid": ["q1"], "docnos": ["p2"]}\n', r"n.jsonl:1: qid is \['q1'\]; an id is a string"),
        ("n.jsonl", '{"qid": "q1", "docnos": ["p2", null]}\n', "n.jsonl:1: docno is None; an id is a string"),
        ("n.jsonl", '{"qid": "q1"}\n', 'n.jsonl:1: expected {"qid": …, "docnos"'),
        ("n.jsonl", "", "n.jsonl is empty"),
        ("n.trec", "q1 p2\n", "n.trec:1: not a TREC run"),
    ],
)
def test_malformed_negatives_are_named(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_negatives(tmp_path / name)


def test_bad_input_is_one_clear_line(passages, tmp_path):
    with pytest.raises(ValueError, match="the qrels are empty"):
        mine(TOPICS, QRELS[:0], passages, {})
    with pytest.raises(ValueError, match="topics have query ids like 'q0', qrels like 'x'"):
        mine(TOPICS, QRELS.assign(qid="x"), passages, {})
    with pytest.raises(ValueError, match="document 'p99' is not among the 6 passages"):
        mine(TOPICS, QRELS.assign(docno="p99"), passages, {})
    with pytest.raises(ValueError, match="num_negatives is 0; it must be at least 1"):
        Negatives("a", num_negatives=0)
    with pytest.raises(ValueError, match="negatives from rank 5 up to 5: there are none"):
        Negatives("a", skip=5, depth=5)
    with pytest.raises(ValueError, match="margin is -1"):
        WithoutNear(-1)
    (tmp_path / "n.tsv").write_text("q77\tp2\n")
    with pytest.raises(ValueError, match=r"n\.tsv has nothing for topics like 'q0': it lists 'q77'"):
        Listed(read_negatives(tmp_path / "n.tsv"), passages, "n.tsv")(TOPICS)
    with pytest.raises(ValueError, match="the qrels judge 'p0' twice for query 'q0'"):
        mine(TOPICS, pd.concat([QRELS, QRELS]), passages, {})
