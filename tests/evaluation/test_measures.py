import itertools
import math
import warnings

import ir_measures
import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, R, Success, nDCG

from larpo_ir.evaluation.measures import (
    Pass,
    compare,
    evaluate,
    evaluate_per_query,
    holm,
    judge,
    kendall_tau,
    pass_at_n,
    strictly_ordered,
    summarise,
)

IR_NAMES = {"qid": "query_id", "docno": "doc_id", "label": "relevance"}


def results(**scores):
    """results(a=[("x", 2.0), ("y", 1.0)]): rows in order of retrieval."""
    rows = [
        (qid, docno, score, rank) for qid, docs in scores.items() for rank, (docno, score) in enumerate(docs)
    ]
    return pd.DataFrame(rows, columns=["qid", "docno", "score", "rank"]).assign(query="q?", text="t")


def qrels(**labels):
    rows = [(qid, docno, label) for qid, docs in labels.items() for docno, label in docs.items()]
    return pd.DataFrame(rows, columns=["qid", "docno", "label"])


# --- pass_at_n -----------------------------------------------------------------------------------------------


@given(st.integers(1, 9), st.data())
def test_pass_at_n_is_the_share_of_subsets_with_a_correct_sample(total, data):
    correct = data.draw(st.integers(0, total))
    n = data.draw(st.integers(1, total))
    subsets = list(itertools.combinations([True] * correct + [False] * (total - correct), n))
    assert pass_at_n(total, correct, n) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_n_broadcasts_and_survives_large_counts():
    values = pass_at_n(np.array([[4], [8]]), [0, 2], 2)
    np.testing.assert_allclose(values, [[0, 1 - (2 / 4) * (1 / 3)], [0, 1 - (6 / 8) * (5 / 7)]])
    np.testing.assert_allclose(pass_at_n(10, 5, [1, 2, 10]), [0.5, 1 - (5 / 10) * (4 / 9), 1.0])
    assert pass_at_n(100_000, 100, 1000) == pytest.approx(
        1 - math.comb(99_900, 1000) / math.comb(100_000, 1000), abs=1e-12
    )
    assert isinstance(pass_at_n(4, 2, 1), float)
    assert pass_at_n([], [], 3).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 1, 5), "n must be between"),
        ((4, 1, 0), "n must be between"),
        ((4, 5, 1), "num_correct"),
        ((4, -1, 1), "num_correct"),
        ((4, [1, 5], 1), "num_correct"),
        ((4, 1.5, 1), "whole numbers"),
        ((4, math.nan, 1), "whole numbers"),
    ],
)
def test_pass_at_n_refuses(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        pass_at_n(*arguments)
    assert "\n" not in str(error.value)


# --- Pass as a measure of ir_measures ------------------------------------------------------------------------

RUN = results(
    a=[("x", 4.0), ("x", 3.0), ("y", 2.0), ("z", 1.0)],  # x drawn twice: two samples
    b=[("x", 4.0), ("y", 3.0), ("z", 2.0), ("w", 1.0)],
)
QRELS = qrels(a={"x": 1, "z": 0}, b={"x": 2}, c={"x": 1})
PASS_AT_2 = {"a": 1 - (2 / 4) * (1 / 3), "b": 1 - (3 / 4) * (2 / 3), "c": 0.0}


def test_pass_has_the_ways_of_an_ir_measure():
    assert str(Pass @ 8) == "Pass@8"
    assert str(Pass(rel=1) @ 8) == "Pass@8"
    assert str(Pass(rel=2) @ 8) == "Pass(rel=2)@8"
    assert ir_measures.parse_measure("Pass(rel=2)@8") == Pass(rel=2) @ 8
    assert (Pass @ 8)["rel"] == 1
    assert ir_measures.DefaultPipeline.supports(Pass @ 8)


@pytest.mark.parametrize("as_tuples", [False, True])
def test_pass_counts_samples_in_ir_measures(as_tuples):
    run, judged = RUN.rename(columns=IR_NAMES), QRELS.rename(columns=IR_NAMES)
    if as_tuples:
        run = [
            ir_measures.ScoredDoc(*row)
            for row in run[["query_id", "doc_id", "score"]].itertuples(index=False)
        ]
        judged = [ir_measures.Qrel(*row) for row in judged.itertuples(index=False)]
    values = {metric.query_id: metric.value for metric in ir_measures.iter_calc([Pass @ 2], judged, run)}
    assert values == pytest.approx(PASS_AT_2)
    together = ir_measures.calc_aggregate([Pass @ 2, Pass(rel=2) @ 2, nDCG @ 10], judged, run)
    assert together[Pass @ 2] == pytest.approx(np.mean(list(PASS_AT_2.values())))
    assert together[Pass(rel=2) @ 2] == pytest.approx(PASS_AT_2["b"] / 3)


def test_pass_ignores_queries_without_judgements_and_scores_queries_without_results_zero():
    judged = QRELS[QRELS["qid"] != "b"].rename(columns=IR_NAMES)
    values = {
        m.query_id: m.value for m in ir_measures.iter_calc([Pass @ 2], judged, RUN.rename(columns=IR_NAMES))
    }
    assert values == pytest.approx({"a": PASS_AT_2["a"], "c": 0.0})
    nothing = RUN.iloc[:0].rename(columns=IR_NAMES)
    assert ir_measures.calc_aggregate([Pass @ 2], judged, nothing) == {Pass @ 2: 0.0}


def test_pass_without_enough_samples_is_nan_and_says_so():
    with pytest.warns(UserWarning, match=r"Pass@5 is not defined for 2 of 2 queries.*first 'a': 4"):
        table = evaluate(RUN, QRELS, [Pass @ 5, Pass @ 4])
    assert table.loc["Pass@5", "num_queries"] == 1  # c, without any results, counts 0
    assert table.loc["Pass@4", ["mean", "num_queries"]].tolist() == pytest.approx([2 / 3, 3])


def test_pass_in_an_experiment_with_significance_tests():
    rng = np.random.default_rng(0)
    qids = [f"q{i}" for i in range(12)]
    judged = qrels(**{qid: {"right": 1} for qid in qids})

    def system(p):
        return results(
            **{q: [("right" if rng.random() < p else f"wrong{i}", -i) for i in range(4)] for q in qids}
        )

    systems = {"weak": system(0.2), "strong": system(0.9), "greedy": system(0.5)}
    systems["greedy"] = systems["greedy"][systems["greedy"]["rank"] == 0]
    topics = pd.DataFrame({"qid": qids, "query": "q?"})
    measures = [Pass @ 2, Success @ 1, nDCG @ 10]
    pipelines = {
        name: pt.Transformer.from_df(frame.drop(columns="query")) >> pt.apply.generic(strictly_ordered)
        for name, frame in systems.items()
    }
    with pytest.warns(UserWarning, match="Pass@2 is not defined for 12 of 12 queries"):
        table = pt.Experiment(pipelines, topics, judged, measures, baseline="weak", correction="holm")
    table = table.set_index("name")
    for name in ("weak", "strong"):
        for measure, mean in evaluate(systems[name], judged, measures)["mean"].items():
            assert table.loc[name, measure] == pytest.approx(mean)
    assert table.loc["strong", "Pass@2 p-value corrected"] < 0.01
    assert np.isnan(table.loc["greedy", "Pass@2"])  # one sample; its other measures stand
    assert table.loc["greedy", "Success@1"] > 0


# --- evaluate ------------------------------------------------------------------------------------------------


def test_documents_count_once_and_samples_each_time():
    table = evaluate(RUN, QRELS, [nDCG @ 10, "R@2", Pass @ 2, "RR"])
    assert list(table.index) == ["nDCG@10", "R@2", "Pass@2", "RR"]
    assert list(table.columns) == ["mean", "low", "high", "num_queries"]
    assert table.loc["Pass@2", "mean"] == pytest.approx(np.mean(list(PASS_AT_2.values())))
    later = results(a=[("x", 3.0), ("x", 2.0), ("y", 1.0)])  # y is the second document, not the third
    assert evaluate(later, qrels(a={"y": 1}), "RR").loc["RR", "mean"] == 1 / 2


def test_rewards_as_grades():
    grades = qrels(a={"x": 3, "y": 0, "z": 1})
    run = results(a=[("z", 0.9), ("x", 0.5), ("y", 0.1)])
    values = evaluate_per_query(run, grades, [nDCG @ 10, R @ 1, RR, Success @ 1, RR(rel=2)]).loc["a"]
    ideal = 3 + 1 / math.log2(3)
    assert values["nDCG@10"] == pytest.approx((1 + 3 / math.log2(3)) / ideal)
    assert values[["R@1", "RR", "Success@1", "RR(rel=2)"]].tolist() == [0.5, 1.0, 1.0, 0.5]


def test_strictly_ordered_agrees_with_evaluate_when_a_document_comes_twice():
    run = results(a=[("x", 0.0), ("y", -1.0), ("x", -2.0)])  # trec_eval alone would take x's last score
    judged = qrels(a={"x": 1})
    topics = pd.DataFrame({"qid": ["a"], "query": ["q?"]})
    alone = pt.Experiment([run], topics, judged, [RR])
    assert alone["RR"].tolist() == [0.5]
    ordered = pt.Experiment([strictly_ordered(run)], topics, judged, [RR, RR @ 10, Pass @ 2])
    assert ordered[["RR", "RR@10", "Pass@2"]].values.tolist() == [[1.0, 1.0, 1.0]]
    assert evaluate(run, judged, [RR, RR @ 10, Pass @ 2])["mean"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("docnos", [["x", "y", "z"], ["z", "y", "x"], ["y", "z", "x"]])
def test_ties_keep_the_order_of_retrieval_whatever_the_backend(docnos):
    run = results(a=[(docno, 1.0) for docno in docnos])
    judged = qrels(a={"y": 1})
    expected = 1 / (docnos.index("y") + 1)
    values = evaluate_per_query(
        run.sample(frac=1, random_state=0), judged, [RR, RR @ 10, nDCG @ 1, Success @ 1]
    )
    assert values.loc["a", ["RR", "RR@10"]].tolist() == [expected, expected]
    assert values.loc["a", "nDCG@1"] == values.loc["a", "Success@1"] == float(docnos[0] == "y")


def test_backends_left_alone_do_disagree_on_ties():
    run = results(a=[("x", 1.0), ("y", 1.0)]).rename(columns=IR_NAMES)
    judged = qrels(a={"x": 1}).rename(columns=IR_NAMES)
    values = ir_measures.calc_aggregate([RR, RR @ 10], judged, run)
    assert values[RR] != values[RR @ 10]


def test_evaluate_reads_both_naming_conventions_and_any_ids():
    renamed = evaluate(RUN.rename(columns=IR_NAMES), QRELS.rename(columns=IR_NAMES), [nDCG @ 10, Pass @ 2])
    pd.testing.assert_frame_equal(renamed, evaluate(RUN, QRELS, [nDCG @ 10, Pass @ 2]))
    numbers = results(a=[("1", 1.0)]).assign(qid=7, docno=1)
    judged = pd.DataFrame({"qid": ["7"], "docno": ["1"], "label": [1.0]})
    assert evaluate(numbers, judged, [RR, Pass @ 1])["mean"].tolist() == [1.0, 1.0]


def test_evaluate_without_results_or_with_missing_scores():
    for nothing in (RUN.iloc[:0], pd.DataFrame(), pd.DataFrame({"qid": []}), RUN.iloc[:0].astype(object)):
        values = evaluate(nothing, QRELS, [nDCG @ 10, "R@20", "AP", Pass @ 2])
        assert values["mean"].tolist() == [0.0] * 4
        assert values["num_queries"].tolist() == [3] * 4
    run = results(a=[("x", math.nan), ("y", -1.0)])
    assert evaluate(run, qrels(a={"x": 1}), RR).loc["RR", "mean"] == 1 / 2  # no score: last


@pytest.mark.parametrize(
    ("judged", "message"),
    [
        (QRELS.iloc[:0], "the qrels are empty"),
        (pd.concat([QRELS, QRELS]), "document 'x' of query 'a' more than once"),
        (QRELS.assign(label=0.5), r"whole numbers, found 0.5.*CandidatePool.qrels\(grades=...\)"),
        (QRELS.assign(label=[1, None, 1, 1]), "whole numbers, found nan"),
        (QRELS.drop(columns="label"), r"qrels needs the column\(s\) label"),
        (qrels(other={"x": 1}), "share no query: results have 'a', qrels have 'other'"),
    ],
)
def test_evaluate_refuses_qrels(judged, message):
    with pytest.raises(ValueError, match=message) as error:
        evaluate(RUN, judged, [RR])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "measure", ["ndgc@10", "Pass", "nDCG@x", "nDCG(k=1)@10", "alpha_nDCG@10", 3, "Pass@0", "RR@10@10", ""]
)
def test_evaluate_refuses_measures_in_one_line(measure):
    with pytest.raises(ValueError, match=r"measure|compute") as error:
        evaluate(RUN, QRELS, [measure])
    assert "\n" not in str(error.value)


def test_scores_that_are_strings_are_not_ranked():
    """As strings, 9 would be ranked before 10."""
    run = results(a=[("x", "10"), ("y", "9")])
    message = "the column score must hold numbers, found '10'; convert it first"
    for call in (
        lambda: evaluate(run, qrels(a={"x": 1}), RR),
        lambda: strictly_ordered(run),
        lambda: judge(run.assign(query="?", text=run["docno"])),
        lambda: kendall_tau(run, qrels(a={"x": 1, "y": 2})),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="the column rank must hold numbers, found '10'"):
        evaluate(results(a=[("x", 1.0), ("y", 1.0)]).assign(rank=["10", "9"]), qrels(a={"x": 1}), RR)
    numbers = run.assign(score=[10, None]).astype({"score": object})
    assert evaluate(numbers, qrels(a={"x": 1}), RR).loc["RR", "mean"] == 1.0


def test_kendall_tau_refuses_grades_that_are_strings():
    run = results(a=[("x", 1.0), ("y", 0.5)])
    with pytest.raises(ValueError, match="the column label must hold numbers, found '10'"):
        kendall_tau(run, qrels(a={"x": "10", "y": "9"}))


def test_evaluate_refuses_other_mistakes():
    with pytest.raises(ValueError, match="no measures"):
        evaluate(RUN, QRELS, [])
    with pytest.raises(ValueError, match=r"results needs the column\(s\) score"):
        evaluate(RUN.drop(columns="score"), QRELS, [RR])
    with pytest.raises(ValueError, match="confidence between 0 and 1"):
        evaluate(RUN, QRELS, [RR], confidence=95)
    with pytest.raises(ValueError, match="num_resamples"):
        evaluate(RUN, QRELS, [RR], num_resamples=0)


# --- intervals and tests -------------------------------------------------------------------------------------


def test_bootstrap_interval_is_the_normal_one_for_many_queries():
    values = pd.Series(np.random.default_rng(1).random(400), name="m")
    row = summarise(values).loc["m"]
    half = 1.96 * values.std(ddof=0) / 20
    assert row["mean"] == values.mean()
    assert [row["low"], row["high"]] == pytest.approx(
        [values.mean() - half, values.mean() + half], abs=0.1 * half
    )


def test_bootstrap_covers_at_its_confidence():
    rng = np.random.default_rng(2)
    trials = pd.DataFrame(rng.random((60, 300)) < 0.3).astype(float)
    table = summarise(trials, num_resamples=400, confidence=0.8)
    covered = ((table["low"] <= 0.3) & (table["high"] >= 0.3)).mean()
    assert 0.72 < covered < 0.9


def test_bootstrap_is_seeded_and_each_column_on_its_own():
    frame = pd.DataFrame(np.random.default_rng(3).random((30, 2)), columns=["a", "b"])
    pd.testing.assert_frame_equal(summarise(frame), summarise(frame))
    pd.testing.assert_frame_equal(summarise(frame).loc[["b"]], summarise(frame[["b"]]))
    assert not summarise(frame).equals(summarise(frame, seed=1))
    assert summarise(pd.Series([], name="m", dtype=float)).loc["m", "num_queries"] == 0


def series(values, name="m"):
    return pd.Series(list(values), index=[f"q{i}" for i in range(len(values))], name=name, dtype=float)


def test_randomisation_test_enumerates_all_sign_flips():
    gain = np.array([0.5, -0.25, 1.0, 0.75])
    means = [np.dot(signs, gain) / 4 for signs in itertools.product([1, -1], repeat=4)]
    expected = np.mean([abs(mean) >= gain.mean() - 1e-12 for mean in means])
    row = compare(series(gain), series(np.zeros(4))).loc["m"]
    assert row["p_value"] == expected
    assert row["difference"] == gain.mean()


def test_randomisation_test_with_many_queries_agrees_with_the_t_test():
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(4)
    one, two = rng.random(200), rng.random(200) - 0.05
    row = compare(series(one), series(two)).loc["m"]
    assert row["p_value"] == pytest.approx(ttest_rel(one, two).pvalue, abs=0.02)
    assert compare(series(one), series(one)).loc["m", "p_value"] == 1
    assert compare(series(one + 1), series(two)).loc["m", "p_value"] == 1 / 10_001


def test_compare_pairs_by_query_and_drops_what_is_missing():
    one, two = series([1, 2, 3, math.nan]), series([0, 0, 0, 0])
    row = compare(one, two[::-1]).loc["m"]
    assert row[["difference", "num_queries"]].tolist() == [2, 3]
    with pytest.raises(ValueError, match="same queries"):
        compare(one, two[:2])
    with pytest.raises(ValueError, match="measures differ: m against n"):
        compare(one, two.rename("n"))


def test_holm_agrees_with_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p_values = np.random.default_rng(5).random(9) ** 3
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1])
    np.testing.assert_allclose(holm([0.01, math.nan, 0.04]), [0.02, math.nan, 0.04])


# --- judge and Kendall's τ -----------------------------------------------------------------------------------


def test_judge_makes_qrels_of_every_response_once():
    from larpo_ir.rewards import VerifiableReward

    calls = []

    def grade(text):
        calls.append(text)
        return text == "4"

    columns = ["qid", "query", "docno", "text", "score"]
    greedy = pd.DataFrame([["q", "2+2?", "d4", "4", 0.0]], columns=columns)
    draws = [("d4", "4"), ("d5", "5"), ("d4", "4")]
    sampled = pd.DataFrame([["q", "2+2?", docno, text, 0.0] for docno, text in draws], columns=columns)
    judged = judge([greedy, sampled], VerifiableReward(grade))
    assert judged.sort_values("docno").values.tolist() == [["q", "d4", 1], ["q", "d5", 0]]
    assert sorted(calls) == ["4", "5"]
    assert evaluate(sampled, judged, Pass @ 1).loc["Pass@1", "mean"] == pytest.approx(2 / 3)


def test_judge_grades_scores_and_refuses_two_for_one_response():
    run = results(a=[("x", 0.9), ("y", 0.1), ("z", math.nan)])
    with pytest.warns(UserWarning, match="no finite reward"):
        assert judge(run, grades=[0.5]).values.tolist() == [["a", "x", 1], ["a", "y", 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert judge(run)["label"].tolist() == [100, 0]
    with pytest.raises(ValueError, match="'x' of query 'a' has two different scores"):
        judge([results(a=[("x", 1.0)]), results(a=[("x", 0.0)])])
    with pytest.raises(ValueError, match="at least one"):
        judge([])


def test_kendall_tau_per_query():
    run = results(
        a=[("x", 3.0), ("y", 2.0), ("z", 1.0)],
        ties=[("x", 2.0), ("y", 2.0), ("z", 1.0)],
        constant=[("x", 1.0), ("y", 1.0)],
        ungraded=[("x", 1.0)],
    )
    grades = qrels(
        a={"x": 0.9, "y": 0.1, "z": 0.5}, ties={"x": 3, "y": 2, "z": 1}, constant={"x": 0.1, "y": 0.2}
    )
    taus = kendall_tau(run, grades)
    assert taus.index.tolist() == ["a", "ties", "constant", "ungraded"]
    assert taus["a"] == pytest.approx((2 - 1) / 3)
    assert taus["ties"] == pytest.approx(2 / math.sqrt(3 * 2))
    assert taus.isna().tolist() == [False, False, True, True]
    row = summarise(taus).loc["kendall_tau"]
    assert row["num_queries"] == 2
    assert row["mean"] == pytest.approx((1 / 3 + 2 / math.sqrt(6)) / 2)
