"""The candidate pool: nothing is lost, memory is what the paper says, and other people's tools read its files."""

from __future__ import annotations

import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.results import RESULT_COLUMNS, docno_of, rank_results


def draws(qid: str, texts: str, scores: list[float | None], **columns: Any) -> pd.DataFrame:
    """One prompt's samples in the order they were drawn; every letter of `texts` is a response."""
    frame = pd.DataFrame({"qid": qid, "query": f"query {qid}", "text": list(texts), "score": scores})
    frame["docno"] = [
        docno_of(query, text) for query, text in zip(frame["query"], frame["text"], strict=True)
    ]
    return frame.assign(rank=range(len(frame)), **columns)


def shown(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


@pytest.fixture
def pool() -> CandidatePool:
    """Three iterations; `b` is met in the first and the last, q2 only in the first, q3 only in the last."""
    pool = CandidatePool()
    pool.add(draws("q1", "abb", [0.0, 1.0, 1.0], logprob=[-1.0, -2.0, -2.0]), 0, "sft")
    pool.add(draws("q2", "xy", [0.0, 1.0], logprob=[-1.0, -2.0]), 0, "sft")
    pool.add(draws("q1", "cd", [0.2, 0.8], logprob=[-3.0, -4.0]), 1, "one")
    pool.add(draws("q1", "be", [1.0, 0.5], logprob=[-0.5, -1.0]), 2, "two")
    pool.add(draws("q3", "z", [1.0], logprob=[-1.0]), 2, "two")
    return pool


def test_duplicates_of_an_iteration_are_one_row(pool: CandidatePool) -> None:
    assert repr(pool) == "CandidatePool(prompts=3, candidates=9, iterations=[0, 1, 2])"
    first = pool.frame.query("iteration == 0 and qid == 'q1'")
    assert shown(first, "text", "count", "policy") == [("a", 1, "sft"), ("b", 2, "sft")]


@pytest.mark.parametrize(
    ("memory", "iteration", "texts"),
    [
        ("current", 0, {"q1": "ba", "q2": "yx"}),
        ("current", None, {"q1": "be", "q3": "z"}),
        ("previous", None, {"q1": "bdec", "q3": "z"}),
        ("previous", 0, {"q1": "ba", "q2": "yx"}),
        ("all", 1, {"q1": "bdca", "q2": "yx"}),
        ("all", None, {"q1": "bdeca", "q2": "yx", "q3": "z"}),
        (0, None, {"q1": "be", "q3": "z"}),
        (1, None, {"q1": "bdec", "q3": "z"}),
        (7, None, {"q1": "bdeca", "q2": "yx", "q3": "z"}),
    ],
)
def test_memory(pool: CandidatePool, memory: Any, iteration: int | None, texts: dict[str, str]) -> None:
    view = pool.view(memory, iteration)
    assert {str(qid): "".join(group["text"]) for qid, group in view.groupby("qid")} == texts
    assert view.columns[:6].tolist() == RESULT_COLUMNS
    for _, group in view.groupby("qid"):
        assert group["rank"].tolist() == list(range(len(group)))


def test_across_iterations_the_latest_provenance_and_all_counts(pool: CandidatePool) -> None:
    best = pool.view("all").query("qid == 'q1'").iloc[0]
    assert (best["text"], best["count"], best["policy"], best["iteration"], best["logprob"]) == (
        "b",
        3,
        "two",
        2,
        -0.5,
    )


def test_ties_keep_the_order_of_retrieval() -> None:
    pool = CandidatePool()
    pool.add(draws("q", "dcba", [1, 1, 0, 1]).sample(frac=1, random_state=0))
    assert "".join(pool.view()["text"]) == "dcab"
    assert "".join(pool.run(by="score").merge(pool.frame, on="docno")["text"]) == "dcab"


def test_missing_columns_are_null_and_others_are_kept() -> None:
    pool = CandidatePool()
    pool.add(draws("q", "a", [1.0], gold="4"))
    pool.add(
        draws("p", "bc", [1.0, 2.0], num_tokens=[3, 1], temperature=0.7, finished=[True, False]).assign(
            token_ids=[[1, 2, 3], np.array([4])]
        )
    )
    frame = pool.frame
    assert "gold" not in frame
    assert frame.loc[0, ["logprob", "num_tokens", "temperature", "finished", "token_ids"]].isna().all()
    assert frame["num_tokens"].tolist()[1:] == [3, 1]
    assert frame["finished"].tolist()[1:] == [True, False]
    assert [list(ids) for ids in frame["token_ids"].iloc[1:]] == [[1, 2, 3], [4]]
    assert frame["temperature"].tolist()[1:] == [0.7, 0.7]


def test_ids_become_strings_and_a_pool_can_be_added_to_a_pool(pool: CandidatePool) -> None:
    other = CandidatePool()
    for iteration in pool.iterations:
        other.add(pool.view("current", iteration), iteration)
    assert shown(other.view("all"), "qid", "docno", "count", "policy") == shown(
        pool.view("all"), "qid", "docno", "count", "policy"
    )
    numbers = draws("q", "a", [1.0]).assign(qid=17)
    other.add(numbers, iteration=3)
    assert other.view()["qid"].tolist() == ["17"]


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_unjudged_candidates_stay_in_the_pool_and_out_of_everything_else(
    nothing: float | None, tmp_path: Path
) -> None:
    pool = CandidatePool()
    with pytest.warns(
        UserWarning, match=r"2 of 3 candidates have no finite reward \(for example of qid q1\)"
    ) as caught:
        pool.add(draws("q1", "abc", [nothing, 1.0, nothing]))
    assert len(caught) == 1
    assert len(pool) == 3
    assert "unjudged=2" in repr(pool)
    assert len(pool.view()) == len(pool.run()) == len(pool.qrels()) == 1
    assert len(CandidatePool.load(pool.save(tmp_path / "pool.parquet"))) == 3
    pool.add(draws("q1", "a", [0.5]))  # judged at last
    assert "".join(pool.view()["text"]) == "ba"
    assert pool.frame.query("text == 'a'")["count"].tolist() == [2]


def test_what_cannot_be_added() -> None:
    pool = CandidatePool()
    good = draws("q", "ab", [1.0, 0.0])
    for bad, message in (
        (good.drop(columns=["text", "score"]), r"the candidate pool needs the column\(s\) text, score"),
        (good.assign(text=["a", None]), "column text is empty in row 1 of the results"),
        (good.assign(score=["good", "bad"]), "column score holds something that is no number"),
    ):
        with pytest.raises(ValueError, match=message):
            pool.add(bad)
    for iteration in (-1, 0.5, True, None):
        with pytest.raises(ValueError, match="it must be a whole number from 0"):
            pool.add(good, iteration=iteration)  # type: ignore[arg-type]
    assert len(pool) == 0


def test_unknown_views(pool: CandidatePool) -> None:
    with pytest.raises(ValueError, match="unknown memory 'some'; choose current, previous, all or a number"):
        pool.view("some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown memory -1"):
        pool.view(-1)
    with pytest.raises(ValueError, match="no candidates of iteration 5; it has 0, 1, 2"):
        pool.view(iteration=5)
    with pytest.raises(ValueError, match="cannot rank by 'length'; choose score or logprob"):
        pool.run(by="length")  # type: ignore[arg-type]
    bare = CandidatePool()
    bare.add(draws("q", "a", [1.0]))
    with pytest.raises(ValueError, match="no candidate of the pool has a logprob"):
        bare.run(by="logprob")


def test_run_by_logprob_ranks_as_the_generator_does(pool: CandidatePool) -> None:
    run = pool.run(by="logprob", iteration=0)
    texts = run.merge(pool.frame.drop_duplicates("docno"), on="docno")["text"].tolist()
    assert texts == ["a", "b", "x", "y"]
    mixed = CandidatePool()
    mixed.add(draws("q", "ab", [1.0, 0.0], logprob=[-1.0, None]))
    with pytest.warns(UserWarning, match="1 candidates without logprob are left out"):
        assert len(mixed.run(by="logprob")) == 1


def test_equal_log_probabilities_keep_the_order_of_retrieval_not_of_reward() -> None:
    pool = CandidatePool()
    pool.add(draws("q", "abc", [0.0, 1.0, 0.5], logprob=-1.0))
    assert pool.run(by="logprob").merge(pool.frame, on="docno")["text"].tolist() == ["a", "b", "c"]


# Labels


def labels(scores: list[float], grades: Any = None) -> list[int]:
    pool = CandidatePool()
    pool.add(draws("q", "abcdefghij"[: len(scores)], list(scores)))
    return pool.qrels(grades)["label"].tolist()


def test_grades() -> None:
    assert labels([3, 0, 2]) == [3, 0, 2]  # whole rewards are labels
    assert labels([0.5, 0.0, 1.0]) == [50, 0, 100]  # percent of the range
    assert labels([-3, 1, -1]) == [0, 100, 50]  # negative: not labels, so percent
    assert labels([0.5, 0.5]) == [0, 0]  # no range
    assert labels([0.0, 0.49, 0.5, 1.0], 2) == [0, 0, 1, 1]
    assert labels([0, 1, 2, 3, 4, 5], 3) == [0, 0, 1, 1, 2, 2]
    assert labels([0.1, 0.5, 0.9], [0.5, 0.8]) == [0, 1, 2]
    assert labels([0.1, 0.5, 0.9], [0.8, 0.5]) == [0, 1, 2]
    assert labels([0.1, 0.5], lambda reward: int(reward >= 0.5)) == [0, 1]
    for grades, message in (
        (1, "grades=1; a number of levels must be at least 2"),
        ([], "thresholds must be one or more finite numbers"),
        ([math.nan], "thresholds must be one or more finite numbers"),
        (lambda reward: reward / 3, "grades returned a label that is not a whole number"),
    ):
        with pytest.raises(ValueError, match=message):
            labels([0.5, 1.0], grades)


def test_labels_of_two_views_are_on_one_scale(pool: CandidatePool) -> None:
    both = pool.qrels(iteration=1, memory="current").merge(pool.qrels(), on=["qid", "docno"])
    assert both["label_x"].tolist() == both["label_y"].tolist() == [20, 80]


# Files that other tools read


def ndcg_by_hand(gains: list[float]) -> float:
    def dcg(values: list[float]) -> float:
        return sum(gain / math.log2(place + 2) for place, gain in enumerate(values))

    return dcg(gains) / dcg(sorted(gains, reverse=True))


def test_ir_measures_and_trec_eval_read_run_and_qrels_of_the_pool(
    pool: CandidatePool, tmp_path: Path
) -> None:
    run_path, qrels_path = tmp_path / "runs" / "run.trec", tmp_path / "qrels.trec"
    run = pool.run(run_path, by="logprob", tag="two")
    qrels = pool.qrels(path=qrels_path)
    # q1 by log-probability: b (-0.5), a (-1), e (-1), c (-3), d (-4); rewards 1, 0, .5, .2, .8 are percents
    expected = {
        "q1": ndcg_by_hand([100, 0, 50, 20, 80]),
        "q2": ndcg_by_hand([0, 100]),
        "q3": 1.0,
    }

    read_run = list(ir_measures.read_trec_run(str(run_path)))
    read_qrels = list(ir_measures.read_trec_qrels(str(qrels_path)))
    assert [(doc.query_id, doc.doc_id, doc.score) for doc in read_run] == shown(run, "qid", "docno", "score")
    assert [(row.query_id, row.doc_id, row.relevance) for row in read_qrels] == shown(
        qrels, "qid", "docno", "label"
    )
    measured = {
        value.query_id: value.value
        for value in ir_measures.iter_calc([ir_measures.nDCG], read_qrels, read_run)
    }
    assert measured == pytest.approx(expected)

    with open(run_path) as run_file, open(qrels_path) as qrels_file:
        evaluator = pytrec_eval.RelevanceEvaluator(pytrec_eval.parse_qrel(qrels_file), {"ndcg"})
        trec_eval = evaluator.evaluate(pytrec_eval.parse_run(run_file))
    assert {qid: values["ndcg"] for qid, values in trec_eval.items()} == pytest.approx(expected)
    assert run_path.read_text().splitlines()[0].split()[-1] == "two"


def test_tied_scores_are_written_strictly_ordered(tmp_path: Path) -> None:
    pool = CandidatePool()
    pool.add(draws("q", "abcd", [1.0, 1.0, 1.0 - 1e-9, 0.0]))
    run = pool.run(tmp_path / "run.trec")
    assert run["score"].tolist() == [1.0, 0.999999, 0.999998, 0.0]
    assert run.merge(pool.frame, on="docno")["text"].tolist() == list("abcd")
    read = ir_measures.read_trec_run(str(tmp_path / "run.trec"))
    assert [doc.score for doc in read] == run["score"].tolist()


def test_percent_labels_give_the_real_valued_ndcg_within_a_percent() -> None:
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=10).tolist()
    pool = CandidatePool()
    pool.add(draws("q", "abcdefghij", rewards, logprob=rng.normal(size=10)))
    run = pool.run(by="logprob").merge(pool.qrels(), on=["qid", "docno"]).merge(pool.frame, on="docno")
    real = ndcg_by_hand((run["score_y"] - min(rewards)).tolist())
    assert ndcg_by_hand(run["label"].tolist()) == pytest.approx(real, abs=0.01)


# Parquet


def test_save_and_load_are_exact_even_when_empty(pool: CandidatePool, tmp_path: Path) -> None:
    for saved in (pool, CandidatePool()):
        loaded = CandidatePool.load(saved.save(tmp_path / "new" / "pool.parquet"))
        pd.testing.assert_frame_equal(loaded.frame, saved.frame)
    assert os.listdir(tmp_path / "new") == ["pool.parquet"]
    empty = CandidatePool()
    assert empty.view("all").columns.tolist() == pool.view().columns.tolist()
    assert empty.run().empty
    assert empty.qrels().empty


def test_saving_is_all_or_nothing(
    pool: CandidatePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pool.save(tmp_path / "pool.parquet")
    before = path.read_bytes()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("larpo_ir.data.pool_files.pq.write_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        CandidatePool().save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["pool.parquet"]


def test_files_that_are_no_pool(pool: CandidatePool, tmp_path: Path) -> None:
    path = tmp_path / "pool.parquet"
    with pytest.raises(FileNotFoundError, match=r"pool\.parquet: no such candidate pool"):
        CandidatePool.load(path)
    pool.save(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"pool\.parquet: damaged or not Parquet") as caught:
        CandidatePool.load(path)
    assert "\n" not in str(caught.value)
    pool.frame.to_parquet(path)
    with pytest.raises(ValueError, match="not a candidate pool of version 2"):
        CandidatePool.load(path)


def test_a_file_says_that_it_is_a_pool_as_ever(pool: CandidatePool, tmp_path: Path) -> None:
    """Files outlive the places of modules: the mark of version 2 stays, and files of version 1 are read."""
    path = pool.save(tmp_path / "pool.parquet")
    table = pq.read_table(path)
    assert table.schema.metadata == {b"larpo_ir.pool": b"2"}
    first = table.drop_columns("prompt").replace_schema_metadata({b"larpo_ir.pool": b"1"})
    pq.write_table(first, path)
    assert shown(CandidatePool.load(path).view("all"), "qid", "text") == shown(
        pool.view("all"), "qid", "text"
    )


# Offline lists


def test_from_ranked(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": "2+2?",
            "completions": ["5", "4"],
            "relevance": [0, 1],
            "ref_logps": [-1, -2],
            "completion_ids": [[5], [4, 0]],
        },
        {
            "prompt": [{"role": "user", "content": "3+3?"}],
            "completions": [[{"role": "assistant", "content": "6"}]],
            "relevance": [1],
        },
    ]
    pool = CandidatePool.from_ranked(rows[:1])
    assert shown(pool.view(), "qid", "query", "docno", "text", "score", "logprob", "policy") == [
        ("0", "2+2?", docno_of("2+2?", "4"), "4", 1.0, -2.0, "offline"),
        ("0", "2+2?", docno_of("2+2?", "5"), "5", 0.0, -1.0, "offline"),
    ]
    assert [list(ids) for ids in pool.view()["token_ids"]] == [[4, 0], [5]]
    path = tmp_path / "lists.jsonl"
    path.write_text(json.dumps({**rows[1], "id": "x"}))
    assert shown(CandidatePool.from_ranked(path, "gpt").view(), "qid", "query", "text", "policy") == [
        ("x", "3+3?", "6", "gpt")
    ]
    with pytest.raises(ValueError, match="query 1 has two different prompts"):
        CandidatePool.from_ranked(
            [{"id": 1, "prompt": p, "completions": ["a"], "relevance": [1]} for p in "xy"]
        )


def test_real_graded_pool(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "alpacaeval_pool" / "pool.jsonl"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool = CandidatePool.from_ranked(path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(pool.view()) == sum(len({c["text"] for c in row["candidates"]}) for row in rows) == 2523
    best = max(rows[0]["candidates"], key=lambda candidate: candidate["win_prob"])
    first = pool.view().iloc[0]
    assert (first["text"], first["policy"], first["qid"]) == (best["text"], best["generator"], rows[0]["id"])
    pool.run(tmp_path / "run.trec")
    qrels = pool.qrels(path=tmp_path / "qrels.trec")
    relevant = set(qrels.loc[qrels["label"] > 0, "qid"])
    assert len(relevant) == 151  # of the other 9, the judge liked no response
    ideal = ir_measures.iter_calc(
        [ir_measures.nDCG],
        ir_measures.read_trec_qrels(str(tmp_path / "qrels.trec")),
        ir_measures.read_trec_run(str(tmp_path / "run.trec")),
    )
    assert {value.query_id: value.value for value in ideal} == pytest.approx(
        {row["id"]: float(row["id"] in relevant) for row in rows}
    )


# Invariants

samples = st.lists(
    st.tuples(st.sampled_from(["q1", "q2"]), st.sampled_from("abcdef"), st.integers(0, 3)),
    min_size=1,
    max_size=30,
)


def as_results(rows: list[tuple[str, str, int]]) -> pd.DataFrame:
    """A response always has the same reward, as a reward model gives it."""
    frame = pd.DataFrame(rows, columns=["qid", "text", "iteration"])
    frame["query"] = "query " + frame["qid"]
    frame["score"] = [float("fbdace".index(text)) for text in frame["text"]]
    frame["docno"] = [
        docno_of(query, text) for query, text in zip(frame["query"], frame["text"], strict=True)
    ]
    return frame


def filled(results: pd.DataFrame) -> CandidatePool:
    pool = CandidatePool()
    for iteration, group in results.groupby("iteration"):
        pool.add(group.drop(columns="iteration"), iteration=int(iteration))
    return pool


@settings(max_examples=15, deadline=None)
@given(samples, st.sampled_from(["current", "previous", "all", 0, 1, 2]))
def test_every_draw_is_counted_once_and_every_response_shown_once(
    rows: list[tuple[str, str, int]], memory: Any
) -> None:
    results, pool = as_results(rows), filled(as_results(rows))
    assert pool.frame["count"].sum() == len(rows)
    assert not pool.frame.duplicated(["iteration", "qid", "docno"]).any()
    latest = results["iteration"].max()
    window = {"current": 0, "previous": 1, "all": latest}.get(memory, memory)
    expected = results[results["iteration"] >= latest - window]
    view = pool.view(memory)
    assert set(shown(view, "qid", "docno")) == set(shown(expected, "qid", "docno"))
    assert not view.duplicated(["qid", "docno"]).any()
    assert view["count"].sum() == len(expected)
    assert shown(rank_results(view), "qid", "docno", "rank") == shown(view, "qid", "docno", "rank")


@settings(max_examples=12, deadline=None)
@given(samples, st.randoms(use_true_random=False))
def test_order_of_arrival_matters_to_nothing_but_ties(rows: list[tuple[str, str, int]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    one, other = filled(as_results(rows)), filled(as_results(shuffled))
    columns = ["qid", "docno", "score", "rank", "count", "iteration"]
    by = ["qid", "rank"]
    pd.testing.assert_frame_equal(
        one.view("all")[columns].sort_values(by, ignore_index=True),
        other.view("all")[columns].sort_values(by, ignore_index=True),
    )


@settings(max_examples=12, deadline=None)
@given(samples)
def test_adding_in_pieces_is_adding_at_once(rows: list[tuple[str, str, int]]) -> None:
    whole, pieces = CandidatePool(), CandidatePool()
    results = as_results(rows).drop(columns="iteration")
    whole.add(results)
    for place in range(len(results)):
        pieces.add(results.iloc[[place]])
    pd.testing.assert_frame_equal(whole.frame, pieces.frame)
