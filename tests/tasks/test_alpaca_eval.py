"""AlpacaEval: responses compared with a reference's by a judge, the folder of an evaluation, the leaderboard."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from larpo_ir.rewards import VerifiableReward
from larpo_ir.rewards.judges import RecordedJudge, RewardJudge
from larpo_ir.tasks.alpaca_eval import (
    evaluate_outputs,
    judge_outputs,
    leaderboard,
    length_controlled_win_rates,
    read_annotations,
    write_annotations,
)
from tests.data.test_annotations import INSTRUCTIONS, references, results_of, write
from tests.tasks.test_win_rates import simulated


def longer():
    return RewardJudge(VerifiableReward(len, name="length"))


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
