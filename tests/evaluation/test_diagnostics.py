"""Diagnostics of an optimiser: hand arithmetic, what is not defined, and a run read back from disk."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from larpo_ir import VerifiableReward, align
from larpo_ir.evaluation.diagnostics import (
    diagnose,
    displacement,
    duplicates,
    entropy,
    rank_correlations,
    ranking_accuracy,
)
from larpo_ir.models.checkpoints import load_policy
from larpo_ir.provenance import RunDirectory
from larpo_ir.training.reference import frame_logprobs
from tests.alignment.test_loop import HELD_OUT, PROMPTS, make_generator, settings, vowels
from tests.saved_runs import make_run


def lists(**columns) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return frame.assign(qid=columns.get("qid", "q"), docno=[f"d{number}" for number in range(len(frame))])


def test_ranking_accuracy_counts_pairs_of_different_reward():
    # rewards 2 > 1 > 0 = 0: five pairs differ; 2 is above all three, 1 is tied with one 0 and below the other
    frame = lists(score=[2.0, 1.0, 0.0, 0.0], now=[-1.0, -5.0, -5.0, -4.0])
    assert ranking_accuracy(frame)["q"] == pytest.approx((3 + 0.5 + 0) / 5)


def test_ranking_accuracy_of_lists_without_an_order():
    frame = lists(qid=["a", "a", "b", "c", "c"], score=[1.0, 1.0, 1.0, 1.0, np.nan], now=[-1.0] * 5)
    assert ranking_accuracy(frame).isna().tolist() == [True, True, True]
    with pytest.raises(ValueError, match="needs the column\\(s\\) implicit"):
        ranking_accuracy(frame, "implicit")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), min_size=2, max_size=8))
def test_ranking_accuracy_of_the_opposite_is_the_rest(rows):
    rewards, scores = np.array(rows, dtype=float).T
    frame = lists(score=rewards, now=scores, other=-scores)
    one, other = ranking_accuracy(frame)["q"], ranking_accuracy(frame, "other")["q"]
    if len(set(rewards)) == 1:
        assert np.isnan(one)
    else:
        assert one + other == pytest.approx(1)


def test_displacement_is_the_mean_over_tied_responses():
    frame = lists(score=[1.0, 1.0, 0.5, 0.0], now=[-4.0, -1.0, -9.0, -9.0], initial=[-2.0, -2.0, -1.0, -8.0])
    table = displacement(frame)
    assert table.loc["q"].tolist() == [(-2.0 + 1.0) / 2, -1.0, 1.0]


def test_displacement_of_a_list_without_best_and_worst():
    frame = lists(qid=["a", "a", "b", "b"], score=[1.0, 1.0, 1.0, 0.0], now=[-1.0] * 4, initial=[-2.0] * 4)
    table = displacement(frame)
    assert table.loc["a"].isna().all()
    assert table.loc["b"].tolist() == [1.0, 1.0, 0.0]


def test_rank_correlations_by_hand():
    # pairs of (log π, reward): (a,b) and (a,c) agree, (b,c) is tied in reward: τ-b = 2 / sqrt(3 · 2)
    frame = lists(score=[1.0, 0.0, 0.0], logprob=[-1.0, -2.0, -3.0], num_tokens=[1, 2, 3])
    row = rank_correlations(frame).loc["q"]
    assert row["τ(log π, reward)"] == pytest.approx(2 / 6**0.5)
    assert row["τ(length, reward)"] == pytest.approx(-2 / 6**0.5)
    assert row["τ(length, log π)"] == pytest.approx(-1)


def test_duplicates_per_temperature():
    rows = [("q", "a", 1.0), ("q", "a", 1.0), ("q", "b", 1.0), ("q", "a", 0.5), ("q", "a", 0.5)]
    table = duplicates(pd.DataFrame(rows, columns=["qid", "docno", "temperature"])).set_index("temperature")
    assert table.loc[1.0, ["draws", "distinct"]].tolist() == [3, 2]
    assert table["duplicates"].to_dict() == pytest.approx({1.0: 1 / 3, 0.5: 1 / 2})


def test_entropy_takes_draws_at_temperature_one():
    frame = lists(logprob=[-2.0, -4.0, -100.0], num_tokens=[1, 2, 5], temperature=[1.0, 1.0, 0.7])
    assert entropy(frame).loc["q"].tolist() == [3.0, 2.0]
    assert entropy(frame[2:]).loc["q"].isna().all()


def test_entropy_of_a_known_policy():
    # three responses of probability ½, ¼, ¼: H = 1.5 ln 2
    chances = np.array([0.5, 0.25, 0.25])
    drawn = np.random.default_rng(0).choice(3, 20_000, p=chances)
    frame = pd.DataFrame({"qid": "q", "logprob": np.log(chances[drawn]), "num_tokens": 1, "temperature": 1.0})
    assert entropy(frame).loc["q", "per_sequence"] == pytest.approx(1.5 * np.log(2), abs=0.01)


def test_diagnose_a_run(tmp_path):
    run = make_run(tmp_path / "run", iterations=2)
    table = diagnose(run)
    assert list(table) == ["iteration", "on", "diagnostic", "mean", "low", "high", "num_queries"]
    at = table.set_index(["iteration", "on", "diagnostic"])["mean"]
    # every response became less likely in every iteration
    assert at[1, "fixed lists", "change of log π of the best response"] < 0
    assert at[2, "fixed lists", "share of lists whose best response fell"] == 1
    assert (0, "fixed lists", "ranking accuracy of the implicit reward") not in at
    assert at[1, "pool", "duplicates at T = 1"] == 0
    assert "pool" not in at[2].index.get_level_values("on")
    known = table.dropna(subset=["low"])
    assert (known["low"] <= known["mean"]).all()
    assert (known["mean"] <= known["high"]).all()

    now = RunDirectory(run).fixed_lists(2)
    assert now is not None
    expected = ranking_accuracy(now, "implicit").mean()
    assert at[2, "fixed lists", "ranking accuracy of the implicit reward"] == pytest.approx(expected)


def test_a_run_that_saved_no_later_lists(tmp_path):
    run = make_run(tmp_path / "run", iterations=1)
    (run / "iteration-01" / "fixed_lists.parquet").unlink()
    assert RunDirectory(run).fixed_lists(1) is None
    on = diagnose(run).groupby("iteration")["on"].unique()
    assert set(on[1]) == {"held-out samples"}


def test_what_is_no_run(tmp_path):
    with pytest.raises(ValueError, match="no run"):
        diagnose(tmp_path)
    run = make_run(tmp_path / "run", iterations=1)
    (run / "iteration-00" / "pool.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match=r"pool.parquet: damaged or not Parquet"):
        diagnose(run)


def test_a_real_run_keeps_what_its_policies_thought_of_the_fixed_lists(tmp_path):
    reward = VerifiableReward(vowels)
    for iterations in (1, 2):  # the second time it goes on
        generator = make_generator()
        result = align(
            generator, reward, PROMPTS, settings(tmp_path, iterations=iterations), eval_prompts=HELD_OUT
        )
    for iteration in range(3):
        frame = RunDirectory(result.output_dir).fixed_lists(iteration)
        assert frame is not None
        load_policy(generator.model, result.output_dir / f"iteration-{iteration:02d}" / "policy")
        np.testing.assert_allclose(frame["now"], frame_logprobs(generator, frame), atol=1e-4)
        np.testing.assert_allclose(frame["implicit"], frame["now"] - frame["initial"], atol=1e-6)
    found = diagnose(result.output_dir)
    assert set(found["iteration"]) == {0, 1, 2}
    best = found[found["diagnostic"] == "change of log π of the best response"]
    assert set(best["iteration"]) == {1, 2}
