from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larpo_ir.models.policies import train_tokenizer
from larpo_ir.tasks.arithmetic import (
    CUES,
    MISREADING,
    OPPOSITE,
    SIGN,
    SLIPPING,
    SLIPS,
    STARTS,
    Problem,
    Step,
    demonstration,
    demonstrations,
    make_problems,
    sft_policy,
    sft_recipe,
    solution,
    topics,
)
from larpo_ir.tasks.gsm8k import is_correct

LINE = re.compile(r"<<(\d+)([+-])(\d)=(\d+)>>(\d+)")


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return make_problems(500, seed=1)


@pytest.fixture(scope="module")
def tokenizer(problems):
    return train_tokenizer([text for p in problems for text in (p.query, solution(p))], 448)


def test_a_problem_worked_by_hand():
    by_sentence = {cue.sentence: cue for cue in CUES}
    steps = (
        Step(by_sentence["{other} gives {holder} {n}."], 5, "Mia", "Tom"),
        Step(by_sentence["That is {n} fewer than {other} has."], 7, "Mia", "Ann"),
        Step(by_sentence["{holder} loses {n}."], 3, "Ann", "Leo"),
    )
    problem = Problem(42, "shells", steps)
    assert problem.query == (
        "Mia has 42 shells. Tom gives Mia 5. That is 7 fewer than Ann has. Ann loses 3. "
        "How many shells does Ann have?\n"
    )
    assert problem.answer == 42 + 5 + 7 - 3
    assert solution(problem) == "<<42+5=47>>47\n<<47+7=54>>54\n<<54-3=51>>51\n#### 51"


def test_right_solutions_are_graded_right(problems):
    asked = topics(500, seed=1)
    assert asked["query"].tolist() == [p.query for p in problems]
    assert all(is_correct(solution(p), gold) for p, gold in zip(problems, asked["gold"], strict=True))
    assert asked["qid"].is_unique
    assert asked["query"].is_unique


def test_problems_are_seeded_and_splits_are_disjoint(problems):
    assert make_problems(500, seed=1) == problems
    assert make_problems(500, seed=2) != problems
    held_out = make_problems(500, seed=1, held_out=True)
    assert not any(p.held_out for p in problems)
    assert all(p.held_out for p in held_out)

    def sums(p: Problem) -> tuple[object, ...]:
        return p.start, tuple((step.cue, step.operand) for step in p.steps)

    assert {sums(p) for p in problems}.isdisjoint(sums(p) for p in held_out)


def test_every_error_is_one_of_the_tables_and_as_frequent_as_they_say(problems):
    rng = np.random.default_rng(0)
    counts: Counter[tuple[str, ...]] = Counter()
    for problem in problems * 8:
        value = problem.start
        text = demonstration(problem, rng)
        for step, (left, operator, operand, result, again) in zip(
            problem.steps, LINE.findall(text), strict=True
        ):
            slip = SIGN[operator] * (int(result) - value) - step.operand
            assert (int(left), int(operand), again) == (value, step.operand, result)
            assert slip == 0 or slip in SLIPS.values()
            assert operator == step.cue.operator or MISREADING[step.cue.wording] > 0
            assert 1 <= int(result) <= 99
            counts[("cue", step.cue.wording)] += 1
            counts[("misread", step.cue.wording)] += operator != step.cue.operator
            counts[("op", operator)] += 1
            counts[("slip", operator)] += slip != 0
            value = int(result)
        assert text.endswith(f"\n#### {value}")
    for wording, rate in MISREADING.items():
        assert counts["misread", wording] / counts["cue", wording] == pytest.approx(rate, abs=0.03)
    for operator, rate in SLIPPING.items():
        assert counts["slip", operator] / counts["op", operator] == pytest.approx(rate, abs=0.03)


def test_the_wrong_operator_is_the_mode_but_the_right_result_is_the_most_frequent_single_one():
    misread, slipping = MISREADING["misleading"], SLIPPING["-"]
    right = (1 - misread) * (1 - SLIPPING["+"])
    wrong = [misread * (1 - slipping), *[misread * slipping / len(SLIPS)] * len(SLIPS)]
    assert sum(wrong) > 1 - misread
    assert right > 1.5 * max(wrong)
    assert all(cue.operator == "+" for cue in CUES if MISREADING[cue.wording] > 0)
    assert OPPOSITE["+"] == "-"
    assert (min(STARTS) - 27, max(STARTS) + 27) == (4, 99)


def test_one_token_per_digit_and_short_sequences(problems, tokenizer):
    for problem in problems[:50]:
        prompt, response = tokenizer(problem.query)["input_ids"], tokenizer(solution(problem))["input_ids"]
        assert tokenizer(problem.query + solution(problem))["input_ids"] == prompt + response
        assert len(prompt) <= 60
        assert len(response) <= 45
        assert not set(prompt + response) & set(tokenizer.all_special_ids)
    assert tokenizer.tokenize("137") == ["1", "3", "7"]


@settings(deadline=None)
@given(st.text().filter(lambda text: "<" not in text))
def test_any_text_survives_the_tokenizer(text):
    tokenizer = train_tokenizer(["Mia has 42 shells.\n", "<<42+5=47>>47\n#### 47"], 300)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_demonstrations_are_prompt_completion_pairs_of_training_problems():
    data = demonstrations(20, seed=5)
    assert data["prompt"] == [p.query for p in make_problems(20, seed=5)]
    assert all("#### " in completion for completion in data["completion"])


def test_sft_is_reproducible_saved_and_reused(tmp_path):
    import torch

    model, tokenizer = sft_policy(tmp_path, seed=4, num_demonstrations=64)
    again, _ = sft_policy(seed=4, num_demonstrations=64)
    loaded, loaded_tokenizer = sft_policy(tmp_path, seed=4, num_demonstrations=64)
    for other in (again, loaded):
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert loaded_tokenizer("Mia has 42")["input_ids"] == tokenizer("Mia has 42")["input_ids"]
    assert model.config.eos_token_id == tokenizer.eos_token_id
    with pytest.raises(ValueError, match="another recipe"):
        sft_policy(tmp_path, seed=5, num_demonstrations=64)


def test_a_fresh_policy_is_made_from_the_recipe_alone():
    recipe = sft_recipe(seed=1)
    one, _ = recipe.build(["Mia has 42 shells."])
    other, _ = recipe.build(["Mia has 42 shells."])
    assert all((a == b).all() for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="num is -1"):
        make_problems(-1)
