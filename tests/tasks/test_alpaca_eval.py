"""AlpacaEval: win rates by arithmetic, length control on real judgements and on a known truth, files, evaluations."""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import spearmanr

from larpo_ir.data.results import docno_of
from larpo_ir.rewards import VerifiableReward
from larpo_ir.rewards.judges import RecordedJudge, RewardJudge
from larpo_ir.tasks.alpaca_eval import (
    evaluate_outputs,
    judge_outputs,
    leaderboard,
    length_controlled_win_rates,
    read_annotations,
    read_outputs,
    win_rate,
    write_annotations,
    write_outputs,
)

PUBLISHED = "alpacaeval_pool/published_winrates.json"


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


# --- Files -----------------------------------------------------------------------------------------------------

INSTRUCTIONS = ["Name a colour.", "2+2?", "Say hé."]


def results_of(texts, queries=INSTRUCTIONS, **columns):
    rows = [
        (f"q{i}", query, docno_of(query, text), text)
        for i, (query, text) in enumerate(zip(queries, texts, strict=True))
    ]
    frame = pd.DataFrame(rows, columns=["qid", "query", "docno", "text"])
    return frame.assign(score=0.0, rank=0, **columns)


def references(texts=("red", "four", "hé")):
    rows = zip(INSTRUCTIONS, texts, strict=True)
    return [{"dataset": "d", "instruction": i, "output": o, "generator": "base"} for i, o in rows]


def write(path, rows):
    path.write_text(json.dumps(rows))
    return path


def test_outputs_go_to_a_file_and_come_back(tmp_path):
    results = results_of(["blue", "4", "é"])
    worse = results_of(["worse"] * 3).assign(score=-1.0, rank=1)
    path = write_outputs(pd.concat([worse, results]), tmp_path / "outputs.json", generator="mine")
    assert json.loads(path.read_text())[2] == {"instruction": "Say hé.", "output": "é", "generator": "mine"}
    back = read_outputs(path)
    assert back[["query", "text"]].to_numpy().tolist() == results[["query", "text"]].to_numpy().tolist()
    assert back["docno"].tolist() == results["docno"].tolist()
    assert back["qid"].tolist() == ["0", "1", "2"]
    assert read_outputs(write(tmp_path / "r.json", references()))["dataset"].tolist() == ["d"] * 3


def annotation(preference, first="base", second="mine", **more):
    outputs = {"base": "four", "mine": "4"}
    row = {"instruction": "2+2?", "output_1": outputs[first], "generator_1": first}
    return {
        **row,
        "output_2": outputs[second],
        "generator_2": second,
        "preference": preference,
        "annotator": "j",
        **more,
    }


def test_annotations_are_read_with_the_baseline_on_either_side(tmp_path):
    rows = [annotation(1.25), annotation(1.25, "mine", "base"), annotation(0), annotation(None)]
    path = write(tmp_path / "a.json", [{**row, "instruction": f"i{n}"} for n, row in enumerate(rows)])
    frame = read_annotations(path, baseline="base")
    assert frame["preference"].tolist() == [0.25, 0.75, 0.5]  # of the fourth there is no verdict
    assert frame["model"].unique().tolist() == ["mine"]
    assert (frame["length"].unique().tolist(), frame["reference_length"].unique().tolist()) == ([1], [4])
    assert frame["instruction_id"].tolist() == [0, 1, 2]
    with pytest.raises(
        ValueError, match="which generator is the baseline cannot be told from base, mine: name it"
    ):
        read_annotations(path)


def test_the_baseline_is_the_one_in_every_comparison(tmp_path):
    other = {**annotation(1.5, "mine", "base"), "generator_1": "other"}
    frame = read_annotations(
        [write(tmp_path / "a.json", [annotation(2)]), write(tmp_path / "b.json", [other])]
    )
    assert frame[["model", "reference_model", "preference", "instruction_id"]].to_numpy().tolist() == [
        ["mine", "base", 1.0, 0],
        ["other", "base", 0.5, 0],
    ]
    assert read_annotations(tmp_path / "a.json")["reference_model"].tolist() == ["base"]


def test_annotations_come_back(tmp_path):
    judgements = judge_outputs(
        results_of(["blue", "4", "é"]), pd.DataFrame(references()), longer(), model="mine"
    )
    path = write_annotations(judgements, tmp_path / "annotations.json")
    first = json.loads(path.read_text())[0]
    assert first == {
        "index": 0,
        "instruction": "Name a colour.",
        "output_1": "red",
        "generator_1": "base",
        "output_2": "blue",
        "generator_2": "mine",
        "annotator": "RewardJudge(length)",
        "preference": 2.0,
    }
    pd.testing.assert_frame_equal(read_annotations(path)[judgements.columns], judgements, check_dtype=False)
    again = RecordedJudge(path)
    assert judge_outputs(results_of(["blue", "4", "é"]), pd.DataFrame(references()), again)[
        "preference"
    ].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "empty, no annotations"),
        ([annotation(3)], "a.json: record 0: preference must be from 1 to 2, got 3"),
        ([annotation(0.4)], "preference must be from 1 to 2, got 0.4"),
        ([annotation("2")], "preference must be from 1 to 2, got '2'"),
        ([annotation(1), {"instruction": "x"}], "a.json: record 1: no text under `output_1`"),
        (
            [{k: v for k, v in annotation(1).items() if k != "preference"}],
            "a.json: record 0: no `preference`",
        ),
    ],
)
def test_bad_annotations_are_one_line(tmp_path, rows, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_annotations(write(tmp_path / "a.json", rows))
    assert "\n" not in str(error.value)


def test_bad_outputs_are_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"o\.json: record 1: no text under `output`"):
        read_outputs(write(tmp_path / "o.json", [references()[0], {"instruction": "x", "output": None}]))
    with pytest.raises(ValueError, match="is empty: no outputs to read"):
        read_outputs(write(tmp_path / "o.json", []))


# --- Evaluations -----------------------------------------------------------------------------------------------


def longer():
    return RewardJudge(VerifiableReward(len, name="length"))


class Counting:
    """A judge that prefers the longer, tells what it was asked, and fails at a text."""

    INDIFFERENT = ("fail_at",)

    def __init__(self):
        self.asked, self.fail_at = [], None

    def __repr__(self):
        return "counting"

    def __call__(self, frame):
        if self.fail_at in set(frame["text"]):
            raise ConnectionError("the judge is away")
        self.asked += list(frame["text"])
        return (frame["text"].str.len() > frame["reference"].str.len()).astype(float)


def test_an_evaluation_on_disk(tmp_path):
    file = write(tmp_path / "references.json", references())
    results = pd.concat(
        [results_of(["blue", "4", ""], generator="a"), results_of(["r", "four!", "hé!"], generator="b")]
    )
    board = evaluate_outputs(results, file, longer(), tmp_path / "out")
    assert board.set_index("model")[["win_rate", "num_items", "mean_length"]].T.to_dict("list") == {
        "a": pytest.approx([100 / 3, 3, 2]),  # blue is longer than red; 4, 1 and (empty) 1 characters
        "b": pytest.approx([200 / 3, 3, 3]),
    }
    assert board["model"].tolist() == ["b", "a"]
    items = pd.read_parquet(tmp_path / "out" / "items.parquet")
    assert items["preference"].tolist() == [1, 0, 0, 0, 1, 1]
    assert items["instruction_id"].tolist() == [0, 1, 2, 0, 1, 2]
    annotations = read_annotations(tmp_path / "out" / "annotations.json")
    assert annotations["preference"].tolist() == items["preference"].tolist()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "leaderboard.csv"), board)
    assert "| b | 66.667 |" in (tmp_path / "out" / "leaderboard.md").read_text()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["reference"], [row["model"] for row in summary["leaderboard"]]) == ("base", ["b", "a"])
    assert r"\toprule" in (tmp_path / "out" / "leaderboard.tex").read_text()


def test_what_was_judged_is_not_judged_again(tmp_path):
    judge, frame = Counting(), pd.DataFrame(references())
    judge.fail_at = "é"
    results = results_of(["blue", "4", "é"])
    with pytest.raises(ConnectionError):
        evaluate_outputs(results, frame, judge, tmp_path / "out", batch_size=1)
    assert judge.asked == ["blue", "4"]
    with (tmp_path / "out" / "verdicts.jsonl").open("a") as file:
        file.write('{"key": "torn')
    judge.fail_at = None
    with pytest.warns(UserWarning, match="one system alone"):
        board = evaluate_outputs(results, frame, judge, tmp_path / "out")
    assert judge.asked == ["blue", "4", "é"]
    with pytest.warns(UserWarning, match="one system alone"):
        pd.testing.assert_frame_equal(evaluate_outputs(results, frame, judge, tmp_path / "out"), board)
    assert len(judge.asked) == 3


def test_an_evaluation_that_fails_leaves_nothing_but_verdicts(tmp_path):
    judge, frame = Counting(), pd.DataFrame(references())
    results = results_of(["blue", "4", "é"])
    for existing in (False, True):
        judge.fail_at = "blue"
        folder = tmp_path / "runs" / f"out-{existing}"
        if existing:
            folder.mkdir()
        with pytest.raises(ConnectionError):
            evaluate_outputs(results, frame, judge, folder, batch_size=1)
        assert (list(folder.iterdir()) == []) if existing else not folder.exists()
        judge.fail_at = "é"
        with pytest.raises(ConnectionError):
            evaluate_outputs(results, frame, judge, folder, batch_size=1)
        assert {path.name for path in folder.iterdir()} == {
            "config.yaml",
            "environment.json",
            "verdicts.jsonl",
        }


def test_recorded_verdicts_tell_systems_with_one_text_apart(tmp_path):
    queries = INSTRUCTIONS * 30  # more than go to a judge at a time
    frame = pd.DataFrame([{"instruction": f"{i}. {q}", "output": "o"} for i, q in enumerate(queries)])
    both = [
        {
            "instruction": instruction,
            "output_1": "o",
            "generator_1": "base",
            "output_2": "same",
            "generator_2": system,
            "preference": preference,
        }
        for system, preference in (("a", 1.25), ("b", 1.75))
        for instruction in frame["instruction"]
    ]
    results = pd.concat(
        [results_of(["same"] * 90, list(frame["instruction"]), generator=system) for system in ("a", "b")]
    )
    path = write(tmp_path / "annotations.json", both[:70])  # 20 texts that neither has
    with pytest.raises(ValueError, match=r"annotations\.json: 40 of 180 pairs were not judged there"):
        evaluate_outputs(results, frame, RecordedJudge(path), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    board = evaluate_outputs(
        results, frame, RecordedJudge(write(tmp_path / "all.json", both)), tmp_path / "out"
    )
    assert board.set_index("model")["win_rate"].to_dict() == pytest.approx({"a": 25, "b": 75})


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    results, frame = results_of(["blue", "4", "é"], generator=["a"] * 3), pd.DataFrame(references())
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("mine")
    judge = Counting()
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        evaluate_outputs(results, frame, judge, tmp_path / "notes")
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["thesis.txt"]
    with pytest.warns(UserWarning, match="one system alone"):
        evaluate_outputs(results, frame, judge, tmp_path / "out")
    before = (tmp_path / "out" / "annotations.json").read_bytes()
    changes = [
        (
            results.assign(text="x"),
            "out holds a different evaluation: the responses or the data have changed",
        ),
        (results.assign(generator="b"), "holds a different run: models is"),
    ]
    for changed, message in changes:
        with pytest.raises(ValueError, match=message):
            evaluate_outputs(changed, frame, judge, tmp_path / "out")
    assert (tmp_path / "out" / "annotations.json").read_bytes() == before
    assert len(judge.asked) == 3


def test_other_systems_tell_of_difficulty(tmp_path):
    judgements, _, _ = simulated(6, 400, seed=1)
    one, others = judgements[judgements["model"] == "m0"], judgements[judgements["model"] != "m0"]
    board = leaderboard(one, others)
    together = length_controlled_win_rates(judgements)["length_controlled_win_rate"]
    assert board["model"].tolist() == ["m0"]
    assert board["length_controlled_win_rate"][0] == pytest.approx(together["m0"], abs=0.01)


def test_responses_are_matched_by_instruction_or_place():
    frame = pd.DataFrame(references())
    shuffled = results_of(["é", "blue"], queries=["Say hé.", "Name a colour."])
    assert judge_outputs(shuffled, frame, longer())["instruction_id"].tolist() == [2, 0]
    by_place = pd.DataFrame({"qid": ["2", "0"], "text": ["é", "blue"]})
    assert judge_outputs(by_place, frame, longer())["reference"].tolist() == ["hé", "red"]
    twice = pd.concat([frame, frame.head(1).assign(output="green")])
    repeated = results_of(["blue", "pink"], queries=["Name a colour."] * 2)
    assert judge_outputs(repeated, twice, longer())["reference"].tolist() == ["red", "green"]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (
            results_of(["x"], queries=["Who?"]),
            "1 of 1 responses are to instructions without a reference, such as 'Who?'",
        ),
        (
            pd.DataFrame({"qid": ["7"], "text": ["x"]}),
            "qid '7' is no place of an instruction among the 3 references",
        ),
        (pd.DataFrame({"text": ["x"]}), "AlpacaEval needs the column(s) qid"),
        (results_of(["x"], queries=["2+2?"]).assign(text=None), "the response to query q0 has no text"),
        (results_of([], queries=[]), "there are no responses: the results are empty"),
    ],
)
def test_responses_that_cannot_be_judged(tmp_path, results, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate_outputs(results, pd.DataFrame(references()), longer(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_judges_that_say_something_else(tmp_path):
    results, frame = results_of(["blue", "4", "é"]), pd.DataFrame(references())
    with pytest.raises(ValueError, match=r"gave 2 preferences for 3 responses"):
        judge_outputs(results, frame, lambda pairs: pairs["text"].str.len()[:2])
    with pytest.raises(ValueError, match=r"must be probabilities from 0 to 1, got 4"):
        judge_outputs(results, frame, lambda pairs: pairs["text"].str.len())
