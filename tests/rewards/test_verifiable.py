import math
from functools import partial

import numpy as np
import pytest

from larpo_ir.rewards import MajorityVote, VerifiableReward


@pytest.fixture
def frame(make_results):
    return make_results(text=["5", "4", "it is 4"], gold="4")


def rewards(fn, frame):
    return VerifiableReward(fn)(frame).sort_values("docno")["score"].tolist()


BY_TEXT = {
    "response": "text",
    "completion": "text",
    "answer_text": "text",
    "prompt": "query",
    "question": "query",
}


@pytest.mark.parametrize(("parameter", "column"), BY_TEXT.items())
def test_aliases(frame, parameter, column):
    seen = []
    scope = {"seen": seen}
    exec(f"def fn({parameter}):\n    seen.append({parameter})\n    return 1", scope)
    VerifiableReward(scope["fn"])(frame)
    assert seen == frame[column].tolist()
    seen.clear()
    VerifiableReward(scope["fn"])(
        frame.assign(**{parameter: "own"})
    )  # a column of the name itself comes first
    assert seen == ["own"] * 3


def test_arguments_by_name(frame):
    expected = [float(text == "4") for text in frame.sort_values("docno")["text"]]
    assert rewards(lambda text, gold: text == gold, frame) == expected
    assert rewards(lambda gold, *, response: response == gold, frame) == expected
    assert rewards(lambda text: text == "4", frame) == expected
    assert rewards(lambda anything: anything == "4", frame) == expected
    assert rewards(lambda anything, gold: anything == gold, frame) == expected
    assert rewards(lambda q, t: (q, t) == ("2+2?", "4"), frame) == expected
    assert rewards(lambda q, t, gold: (q, t) == ("2+2?", gold), frame) == expected
    assert rewards(lambda row: row["text"] == row["gold"], frame) == expected
    assert rewards(lambda text, tolerance=0: text == "4" and tolerance == 0, frame) == expected
    assert rewards(lambda text, tolerance=0: tolerance, frame.assign(tolerance=0.5)) == [0.5] * 3
    assert rewards(lambda text, /, gold: text == gold, frame) == expected
    assert rewards(partial(lambda text, answer: text == answer, answer="4"), frame) == expected
    assert rewards("4".__eq__, frame) == expected


def test_keyword_rest_takes_what_no_parameter_took(frame):
    seen = {}

    def fn(response, **rest):
        seen.update(rest)
        return 0

    VerifiableReward(fn)(frame)
    assert set(seen) == {"qid", "query", "docno", "score", "rank", "gold"}


@pytest.mark.parametrize("column", ["gold", "answer", "label"])
def test_gold_has_three_names(frame, column):
    renamed = frame.rename(columns={"gold": column})
    assert sum(rewards(lambda response, gold: response == gold, renamed)) == 1
    both = renamed.assign(label="nothing")  # the first of the three wins
    assert sum(rewards(lambda response, gold: response == gold, both)) == (1 if column != "label" else 0)


def test_gsm8k_grader_as_it_stands(make_results):
    from larpo_ir.tasks.gsm8k import is_correct

    frame = make_results(text=["#### 5", "The answer is $4.", "no idea"], gold=4)
    ranked = VerifiableReward(is_correct)(frame)
    assert ranked["text"].tolist() == ["The answer is $4.", "#### 5", "no idea"]  # ties as retrieved
    assert ranked["score"].tolist() == [1.0, 0.0, 0.0]
    assert str(VerifiableReward(is_correct)) == "VerifiableReward(is_correct)"
    with pytest.raises(
        ValueError, match=r"needs the column\(s\) gold or answer or label; the frame has"
    ) as error:
        VerifiableReward(is_correct)(frame.drop(columns="gold"))
    assert "\n" not in str(error.value)


def test_parameters_without_a_column_are_named_and_never_guessed(frame):
    for fn in (
        lambda response, reference: 1,
        lambda reference, response: 1,  # would compare the response with itself
        lambda prompt, reference: 1,
        lambda a, b, c: 1,
        lambda text, *, reference: 1,
    ):
        with pytest.raises(ValueError, match=r"needs the column\(s\) (reference|a, b, c)"):
            VerifiableReward(fn)(frame)


def test_results_of_the_function(frame):
    values = iter([True, None, np.float32(0.5)])
    ranked = VerifiableReward(lambda text: next(values))(frame)
    assert ranked["text"].tolist() == ["5", "it is 4", "4"]
    assert ranked["score"].tolist()[:2] == [1.0, 0.5]
    assert math.isnan(ranked["score"].iloc[2])
    with pytest.raises(
        ValueError, match=r"returned str for qid 'q', docno '.*'; return a bool, a number or None"
    ):
        VerifiableReward(lambda text: "yes")(frame)


def test_errors_say_where(frame):
    def fn(text):
        return int(text)

    with pytest.raises(ValueError, match=r"failed on qid 'q', docno .*ValueError: invalid literal") as error:
        VerifiableReward(fn, name="grader")(frame)
    assert str(error.value).startswith("grader failed on")
    assert frame["docno"].iloc[2] in str(error.value)
    assert isinstance(error.value.__cause__, ValueError)
    with pytest.raises(ValueError, match="needs a function, got 3"):
        VerifiableReward(3)


# --- majority vote -------------------------------------------------------------------------------------------


def test_majority_vote_is_the_share_of_samples(make_results):
    frame = make_results(text=["#### 5", "The answer is 4", "#### 4", "no idea", "#### 4", "#### 4.0"])
    ranked = MajorityVote()(frame)
    assert ranked["text"].tolist() == ["The answer is 4", "#### 4", "#### 4", "#### 4.0", "#### 5", "no idea"]
    assert ranked["score"].tolist() == [4 / 6] * 4 + [1 / 6, 0.0]


def test_majority_vote_ties_go_to_whoever_was_drawn_first(make_results):
    last = str.split
    frame = make_results(text=["b", "a", "a", "b", "x y"])
    ranked = MajorityVote(lambda text: None if len(last(text)) > 1 else text)(frame)
    assert ranked["text"].tolist() == ["b", "a", "a", "b", "x y"]
    assert MajorityVote(lambda text: None)(frame)["score"].tolist() == [0.0] * 5


def test_majority_vote_counts_within_a_query(make_results):
    import pandas as pd

    frame = pd.concat([make_results(text=["a", "b", "b"]), make_results(qid="r", query="?", text=["a", "a"])])
    assert MajorityVote(str)(frame)["score"].tolist() == [2 / 3, 2 / 3, 1 / 3, 1.0, 1.0]


def test_majority_vote_errors(make_results):
    with pytest.raises(ValueError, match=r"MajorityVote.* failed on qid 'q', docno"):
        MajorityVote(int)(make_results(text=["1", "x"]))
    with pytest.raises(ValueError, match="extract must be a function"):
        MajorityVote("gsm8k")
