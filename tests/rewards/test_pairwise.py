import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from larpo_ir.rewards import PairwiseRewardModel
from larpo_ir.rewards.pairwise import bradley_terry, choose_pairs, pair_template, wins

STRENGTH = {"a": 1.5, "b": 0.5, "c": -0.5, "d": -1.5}


def of_strengths(queries, firsts, seconds):
    return [expit(STRENGTH[first] - STRENGTH[second]) for first, second in zip(firsts, seconds, strict=True)]


def first_stands_better(queries, firsts, seconds):
    """A judge with a bias for whoever is shown first."""
    return expit(np.array([STRENGTH[a] - STRENGTH[b] + 2 for a, b in zip(firsts, seconds, strict=True)]))


@pytest.fixture
def frame(make_results):
    return make_results(text=["d", "b", "a", "c"])


def scores(reward, frame):
    return reward(frame).drop_duplicates("text").set_index("text")["score"]


def test_wins_are_those_counted_by_hand(frame):
    won = scores(PairwiseRewardModel(of_strengths), frame)
    assert list(won.index) == ["a", "b", "c", "d"]
    assert won["a"] == pytest.approx((expit(1) + expit(2) + expit(3)) / 3)
    assert won["d"] == pytest.approx((expit(-1) + expit(-2) + expit(-3)) / 3)
    hard = PairwiseRewardModel(lambda q, a, b: np.array(of_strengths(q, a, b)) > 0.5)
    assert scores(hard, frame).to_dict() == pytest.approx({"a": 1, "b": 2 / 3, "c": 1 / 3, "d": 0})


def test_bradley_terry_recovers_the_strengths(frame):
    strengths = scores(PairwiseRewardModel(of_strengths, aggregate="bradley_terry"), frame)
    assert strengths.to_dict() == pytest.approx(STRENGTH, abs=0.05)
    path = PairwiseRewardModel(
        of_strengths, aggregate="bradley_terry", comparisons=0.5
    )  # 3 of 6: just connected
    assert scores(path, frame).to_dict() == pytest.approx(STRENGTH, abs=0.15)


@given(st.integers(2, 12), st.integers(0, 10**6))
def test_bradley_terry_is_finite_centred_and_stationary(size, seed):
    rng = np.random.default_rng(seed)
    pairs = choose_pairs(size, 1.0, rng)
    p = rng.choice([0.0, 0.3, 0.5, 1.0], len(pairs))
    s = bradley_terry(size, pairs, p)
    assert np.isfinite(s).all()
    assert s.sum() == pytest.approx(0, abs=1e-6)
    surprise = np.zeros(size)
    for (i, j), probability in zip(pairs, p, strict=True):
        surprise[i] += probability - expit(s[i] - s[j])
        surprise[j] -= probability - expit(s[i] - s[j])
    np.testing.assert_allclose(surprise, 0.01 * s, atol=1e-6)
    np.testing.assert_allclose(bradley_terry(size, [(j, i) for i, j in pairs], 1 - p), s, atol=1e-6)


def test_bradley_terry_when_one_wins_everything():
    s = bradley_terry(4, [(0, 1), (0, 2), (0, 3)], [1, 1, 1])
    assert 0 < s[0] < 10
    assert s[1] == s[2] == s[3] == pytest.approx(-s[0] / 3)


@given(st.integers(1, 12), st.floats(0.01, 1), st.integers(0, 10**6))
def test_sampled_pairs(size, share, seed):
    pairs = choose_pairs(size, share, np.random.default_rng(seed))
    total = size * (size - 1) // 2
    assert len(pairs) == len(set(pairs)) == max(int(np.ceil(share * total - 1e-9)), min(total, -(-size // 2)))
    assert all(i < j for i, j in pairs)
    if size > 1:
        assert {item for pair in pairs for item in pair} == set(range(size))
    if len(pairs) >= size - 1:
        reached = {0}
        for _ in range(size):
            reached |= {item for pair in pairs if reached & set(pair) for item in pair}
        assert reached == set(range(size))


def test_both_orders_take_out_the_bias_for_the_first(frame):
    fair = PairwiseRewardModel(first_stands_better)
    reversed_frame = frame[::-1].reset_index(drop=True)
    np.testing.assert_allclose(
        scores(fair, frame).sort_index(), scores(fair, reversed_frame).sort_index(), atol=1e-12
    )
    assert scores(fair, frame).mean() == pytest.approx(0.5)


def test_one_order_asks_half_as_often_and_is_seeded(frame):
    asked = []

    def judge(queries, firsts, seconds):
        asked.extend(zip(firsts, seconds, strict=True))
        return first_stands_better(queries, firsts, seconds)

    PairwiseRewardModel(judge)(frame)
    assert len(asked) == 12
    assert set(asked) == {(b, a) for a, b in asked}
    asked.clear()
    one = PairwiseRewardModel(judge, both_orders=False, seed=1)
    first = scores(one, frame)
    assert len(asked) == 6
    assert first.equals(scores(one, frame))
    orders = {tuple(asked[:6])}
    for seed in range(2, 8):
        asked.clear()
        PairwiseRewardModel(judge, both_orders=False, seed=seed)(frame)
        orders.add(tuple(asked))
    assert len(orders) > 3
    assert scores(PairwiseRewardModel(of_strengths, both_orders=False), frame)["a"] == pytest.approx(
        (expit(1) + expit(2) + expit(3)) / 3
    )


def test_queries_are_compared_apart_and_do_not_change_each_other(make_results, frame):
    import pandas as pd

    other = make_results(query="3+3?", qid="r", text=["a", "c", "a"])
    reward = PairwiseRewardModel(of_strengths, comparisons=0.4, both_orders=False)
    together = reward(pd.concat([frame, other]))
    pd.testing.assert_frame_equal(
        together[together["qid"] == "q"].reset_index(drop=True), reward(frame).reset_index(drop=True)
    )
    assert together[together["qid"] == "r"]["score"].tolist() == pytest.approx(
        [expit(2), expit(2), expit(-2)]
    )


def test_lone_and_equal_candidates(make_results):
    same = make_results(text=["a", "a"])

    def never(queries, firsts, seconds):
        raise AssertionError("nothing to compare")

    assert PairwiseRewardModel(never)(same)["score"].tolist() == [0.5, 0.5]
    assert PairwiseRewardModel(never, aggregate="bradley_terry")(same)["score"].tolist() == [0.0, 0.0]


def test_missing_comparisons_are_left_out(frame):
    def without_d(queries, firsts, seconds):
        answers = of_strengths(queries, firsts, seconds)
        return [np.nan if "d" in pair else p for *pair, p in zip(firsts, seconds, answers, strict=True)]

    for aggregate in ("wins", "bradley_terry"):
        left = scores(PairwiseRewardModel(without_d, aggregate=aggregate), frame)
        assert left.isna().to_dict() == {"a": False, "b": False, "c": False, "d": True}
    assert wins(3, [(0, 1)], [0.2])[:2].tolist() == [0.2, 0.8]


def test_classifier_reads_the_template(frame, make_classifier, tokenizer):
    model = make_classifier(pad_token_id=2).eval()
    reward = PairwiseRewardModel(model, tokenizer, both_orders=False, comparisons=1.0)
    pair = frame.iloc[:2]
    ranked = scores(reward, pair)
    candidates = []
    for first, second in [("d", "b"), ("b", "d")]:
        ids = tokenizer(pair_template("2+2?", first, second))["input_ids"]
        with torch.no_grad():
            candidates.append(expit(model(input_ids=torch.tensor([ids])).logits.item()))
    assert ranked["d"] == pytest.approx(candidates[0], abs=1e-5) or ranked["b"] == pytest.approx(
        candidates[1], abs=1e-5
    )
    both = scores(PairwiseRewardModel(model, tokenizer), pair)
    assert both["d"] == pytest.approx((candidates[0] + 1 - candidates[1]) / 2, abs=1e-5)


def test_refusals(frame, make_classifier, tokenizer):
    cases = [
        (lambda: PairwiseRewardModel(of_strengths, comparisons=0), "above 0 and at most 1; got 0"),
        (lambda: PairwiseRewardModel(of_strengths, comparisons=12), "above 0 and at most 1; got 12"),
        (lambda: PairwiseRewardModel(of_strengths, aggregate="elo"), "choose one of wins, bradley_terry"),
        (lambda: PairwiseRewardModel(3), "a function, a classifier or a path"),
        (lambda: PairwiseRewardModel(make_classifier(num_labels=2), tokenizer), "one label"),
        (lambda: PairwiseRewardModel(lambda q, a, b: [0.5])(frame), "asked 12 comparisons"),
        (lambda: PairwiseRewardModel(lambda q, a, b: [2.0] * len(q))(frame), r"outside \[0, 1\]"),
    ]
    for build, message in cases:
        with pytest.raises(ValueError, match=message) as error:
            build()
        assert "\n" not in str(error.value)
