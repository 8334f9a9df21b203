"""Win rates by arithmetic; length control on real judgements and on a known truth."""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import spearmanr

from larpo_ir.tasks.alpaca_eval import length_controlled_win_rates, win_rate


@pytest.fixture(scope="module")
def real(shared):
    """(judgements of 8 systems, what the leaderboard reports of them)"""
    folder = shared / "data" / "alpacaeval_pool"
    frame = pd.read_csv(folder / "judgements.csv.gz")
    frame = frame.rename(columns={"len_model": "length", "len_reference": "reference_length"})
    published = pd.DataFrame(json.loads((folder / "published_winrates.json").read_text())).T
    return frame.assign(preference=frame["preference"] - 1), published


def small(num_models=2, num_instructions=30, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        [
            (f"m{m}", x, rng.random(), int(rng.integers(1, 900)), 100 + 20 * x)
            for m in range(num_models)
            for x in range(num_instructions)
        ],
        columns=["model", "instruction_id", "preference", "length", "reference_length"],
    )


# --- Win rates -------------------------------------------------------------------------------------------------


def test_win_rate_and_standard_error_by_hand():
    # mean 0.5; squared deviations 0.25, 0, 0.25, 0: variance 0.5 / 3; error sqrt(0.5 / 3 / 4)
    assert win_rate([1, 0.5, 0, 0.5]) == pytest.approx((50, 100 * (0.5 / 12) ** 0.5))
    rate, error = win_rate([0.75])
    assert rate == 75
    assert np.isnan(error)


def test_win_rates_are_the_published_ones(real):
    judgements, published = real
    for model, group in judgements.groupby("model"):
        assert win_rate(group["preference"])[0] == pytest.approx(published["win_rate"][model], abs=1e-4)
        assert len(group) == published["n"][model]


@pytest.mark.parametrize(
    ("preferences", "message"),
    [
        ([], "needs at least one preference"),
        ([0.5, np.nan], "preferences: 1 are missing (NaN)"),
        ([1.2, 2.0], "from 0 to 1, got 1.2; AlpacaEval records them from 1 to 2: subtract 1"),
        ([0.2, 1.2], "preferences must be probabilities from 0 to 1, got 1.2"),
    ],
)
def test_bad_preferences(preferences, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        win_rate(preferences)


# --- Length control --------------------------------------------------------------------------------------------


def test_joint_fit_is_close_to_the_leaderboard(real):
    judgements, published = real
    rates = length_controlled_win_rates(judgements)
    assert list(rates.columns) == ["win_rate", "length_controlled_win_rate", "standard_error"]
    assert rates.index.name == "model"
    theirs = published["length_controlled_winrate"][rates.index]
    ours = rates["length_controlled_win_rate"]
    assert (ours - theirs).abs().mean() < 1.3
    assert spearmanr(ours, theirs)[0] > 0.97
    error = 100 * judgements.groupby("model")["preference"].sem()
    assert rates["standard_error"].to_numpy() == pytest.approx(error[rates.index].to_numpy())


def test_order_of_rows_and_names_do_not_matter(real):
    judgements = real[0][real[0]["instruction_id"] < 200]
    rates = length_controlled_win_rates(judgements)
    other = judgements.sample(frac=1, random_state=0).assign(
        instruction_id=lambda f: "x" + f["instruction_id"].astype(str)
    )
    pd.testing.assert_frame_equal(
        length_controlled_win_rates(other).loc[rates.index], rates, atol=0.02, rtol=0
    )


def test_few_systems_stay_near_the_joint_fit(real):
    judgements, published = real
    theirs = published["length_controlled_winrate"]
    for models in (["claude-2.1", "gemma-7b-it"], ["alpaca-7b", "phi-2", "gpt-3.5-turbo-1106"]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rates = length_controlled_win_rates(judgements[judgements["model"].isin(models)])
        ours = rates["length_controlled_win_rate"]
        assert (ours - theirs[rates.index]).abs().max() < 6
        assert (ours > rates["win_rate"]).all()  # all of them are shorter than the reference


def simulated(num_models, num_instructions, seed=0):
    """Judgements of systems of which the truth is known: (judgements, true win rates at equal lengths, difficulty)"""
    rng = np.random.default_rng(seed)
    reference = np.exp(rng.normal(7, 0.6, num_instructions)).round()
    difficulty = rng.normal(size=num_instructions)
    frames, truth = [], {}
    for m in range(num_models):
        theta, phi, psi = rng.normal(-0.5, 1), rng.normal(1.5, 0.3), rng.normal(-1.5, 0.3)
        length = np.maximum(
            1, (reference * np.exp(rng.normal(rng.normal(0, 0.5), 0.5, num_instructions))).round()
        )
        difference = length - reference
        longer = np.tanh(difference / difference.std(ddof=1))
        wins = rng.random(num_instructions) < expit(theta + phi * longer + psi * difficulty)
        truth[f"m{m}"] = 100 * expit(theta + psi * difficulty).mean()
        columns = {"preference": wins.astype(float), "length": length, "reference_length": reference}
        frames.append(pd.DataFrame({"model": f"m{m}", "instruction_id": range(num_instructions), **columns}))
    return pd.concat(frames, ignore_index=True), pd.Series(truth), pd.Series(difficulty)


def test_known_truth_is_recovered():
    judgements, truth, difficulty = simulated(12, 800)
    found = {}
    for name, given in (("inferred", None), ("given", difficulty), ("rescaled", 5 - 3 * difficulty)):
        rates = length_controlled_win_rates(judgements, given)
        found[name] = rates["length_controlled_win_rate"]
    raw = (rates["win_rate"] - truth).abs().mean()
    # Of 800 verdicts the win rate's own standard error is about 1.6, and to look beyond the data adds to it.
    assert raw > 5
    assert (found["given"] - truth).abs().mean() < 2
    assert (found["inferred"] - truth).abs().mean() < 2
    assert (found["inferred"] - found["given"]).abs().max() < 1
    assert (found["rescaled"] - found["given"]).abs().max() < 0.05


def test_a_single_system():
    judgements, truth, difficulty = simulated(1, 2000, seed=3)
    with pytest.warns(
        UserWarning, match="cannot be told from one system alone.*other systems, or give difficulty"
    ):
        alone = length_controlled_win_rates(judgements)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = length_controlled_win_rates(judgements, difficulty.to_dict())
    assert abs(given["length_controlled_win_rate"]["m0"] - truth["m0"]) < 2.5
    assert abs(alone["length_controlled_win_rate"]["m0"] - truth["m0"]) < 5


def test_a_system_that_is_the_reference_is_at_a_half():
    judgements = pd.concat(
        [small(), small(1).assign(model="same", preference=0.5, length=lambda f: f["reference_length"])]
    )
    assert length_controlled_win_rates(judgements)["length_controlled_win_rate"]["same"] == pytest.approx(
        50, abs=1
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="length"), "length control needs the column(s) length"),
        (lambda f: f.head(0), "there are no judgements"),
        (lambda f: f.assign(preference=f["preference"] + 1), "subtract 1"),
        (lambda f: f.assign(preference=f["preference"] - 1), "must be probabilities from 0 to 1, got -"),
        (
            lambda f: f.assign(preference=f["preference"].where(f.index > 0)),
            "judgements: preferences: 1 are missing",
        ),
        (lambda f: f.assign(preference="yes"), "the column preference must hold numbers"),
        (
            lambda f: f.assign(length=f["length"].where(f.index > 0)),
            "length must be a number of characters, got nan",
        ),
        (lambda f: f.assign(length=-1), "length must be a number of characters, got -1"),
        (
            lambda f: f.assign(reference_length=-3),
            "reference_length must be a number of characters, got -3",
        ),
        (lambda f: pd.concat([f, f.tail(1)]), "m1 was judged more than once on instruction 29"),
        (lambda f: f.assign(model=None), "60 rows have no model"),
    ],
)
def test_bad_judgements_are_one_line(change, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        length_controlled_win_rates(change(small()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("difficulty", "message"),
    [
        (dict.fromkeys(range(28), 1.0), "difficulty lacks 2 of 30 instructions, such as 28"),
        (pd.Series(0.0, index=[0, *range(30)]), "difficulty has instruction 0 more than once"),
        (
            {x: np.inf if x == 4 else 1.0 for x in range(30)},
            "difficulty of instruction 4 is not a finite number",
        ),
        (dict.fromkeys(range(30), "hard"), "difficulty must be numbers by instruction_id"),
    ],
)
def test_bad_difficulties_are_one_line(difficulty, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        length_controlled_win_rates(small(), difficulty)
