"""The benchmark of the graders: its cases, how many of them ours judge as labelled, and what it writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.graders import __main__ as benchmark
from benchmarks.graders.peers import official_choice, official_rules_say

# Cases that ours may judge otherwise than they are labelled, at most.
MISSED = {"gsm8k": 1, "math": 3, "mixeval": 4}
needs_math_verify = pytest.mark.skipif(not benchmark.find_spec("math_verify"), reason="needs the extra math")


@pytest.fixture(scope="module")
def judged() -> pd.DataFrame:
    return benchmark.judge_cases(benchmark.HERE)


@pytest.mark.parametrize("name", benchmark.GRADERS)
def test_every_grader_has_many_cases_of_both_kinds_each_once_and_with_a_reason(name: str) -> None:
    cases = [case for _, case in benchmark.read_cases(benchmark.HERE / f"{name}.jsonl")]
    assert len(cases) >= 150
    labels = pd.Series([case["label"] for case in cases])
    assert labels.sum() >= 40
    assert (~labels).sum() >= 40


@pytest.mark.parametrize("name", benchmark.GRADERS)
def test_our_agreement(name: str, judged: pd.DataFrame) -> None:
    ours = judged[judged["grader"] == name]
    missed = ours.loc[ours["ours"] != ours["label"], "place"].tolist()
    assert len(missed) <= MISSED[name], missed


@needs_math_verify
def test_the_table_counts_each_judge(judged: pd.DataFrame) -> None:
    table = benchmark.agreement(judged).set_index(["grader", "judge"])
    assert table.index.tolist() == [
        ("gsm8k", "larpo_ir"),
        ("gsm8k", "math-verify"),
        ("math", "larpo_ir"),
        ("math", "math-verify"),
        ("mixeval", "larpo_ir"),
        ("mixeval", "official rules"),
    ]
    for grader in benchmark.GRADERS:
        cases = judged[judged["grader"] == grader]
        peer = cases["peer_name"].iloc[0]
        assert table.loc[(grader, peer), "right"] == (cases["peer"] == cases["label"]).sum()
    listed = benchmark.disagreements(judged)
    missed = listed.groupby(["grader", "judge"]).size().reindex(table.index, fill_value=0)
    assert missed.tolist() == (table["cases"] - table["right"]).tolist()


def case(response: str, label: bool = True, **more: object) -> dict[str, object]:
    return {"response": response, "gold": "18", "label": label, "reason": "it says so", **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [case("#### 18"), case("#### 17", label=False), case("#### 19")]
    (tmp_path / "gsm8k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@needs_math_verify
def test_what_is_printed_and_written(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(benchmark, "HERE", folder)
    monkeypatch.setattr(sys, "argv", ["graders", "--output", str(folder / "out")])
    benchmark.main()
    printed = capsys.readouterr().out
    assert "math: left out, there are no cases (math.jsonl)" in printed
    assert "| gsm8k | larpo_ir | 2 | 3 | 0.667 [0.208, 0.939] | 0 |" in printed
    assert "gsm8k.jsonl:3: '#### 19' is right for '18': it says so" in printed
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "agreement.csv",
        "agreement.md",
        "agreement.png",
        "cases.csv",
        "disagreements.csv",
        "disagreements.md",
    ]
    assert len(pd.read_csv(folder / "out" / "cases.csv")) == 3
    assert pd.read_csv(folder / "out" / "disagreements.csv")["judge"].tolist() == ["larpo_ir", "math-verify"]


def test_without_the_peer_its_column_is_left_out(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(benchmark, "find_spec", lambda name: None)
    table = benchmark.agreement(benchmark.judge_cases(folder))
    assert table["judge"].tolist() == ["larpo_ir"]
    assert "gsm8k: math-verify is not installed, its column is left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"gold": "18"}, "no `response`"),
        (case("18", label=None), "no `label`"),  # type: ignore[arg-type]
        ({**case("18"), "reason": " "}, "empty `reason`"),
        (case("#### 18", label=False), "this case is there already"),
        (case("18", type="multiple-choice"), "an item of MixEval has"),
        (case("18", type="essay"), "an item of MixEval has"),
    ],
)
def test_bad_cases_are_named(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = tmp_path / "gsm8k.jsonl"
    path.write_text(f"{json.dumps(case('#### 18'))}\n{json.dumps(row)}\n")
    with pytest.raises(ValueError, match=rf"gsm8k\.jsonl:2: {message}"):
        benchmark.read_cases(path)


def test_the_interval_of_wilson() -> None:
    low, high = benchmark.wilson(9, 10)
    # p = 0.9, z² = 3.8415: (0.9 + 0.19207 ± 1.96 √(0.009 + 0.0096036)) / 1.38415
    assert (round(low, 4), round(high, 4)) == (0.5958, 0.9821)
    assert benchmark.wilson(10, 10)[1] == pytest.approx(1)
    assert benchmark.wilson(0, 10)[0] == pytest.approx(0)


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("B", "B"),
        ("(C)", "C"),
        ("A. B.", "A"),
        ("The answer is B. Not A.", "B"),
        ("not A but B", "A"),  # the first letter, whatever is said of it
        ("It is most likely the colour yellow here", "C"),
    ],
)
def test_the_official_rules_for_choices(response: str, letter: str) -> None:
    assert official_choice(response, ["red", "blue", "yellow"]) == letter


@pytest.mark.parametrize(
    ("response", "targets", "right"),
    [
        ("The answer is Lima.", ["Lima"], True),
        ("It is not Lima", ["Lima"], True),  # a target that occurs in what is said, whatever is said of it
        ("x = 5", ["5"], True),
        ("It took 5 days", ["5.0"], True),
        ("It took 15 days", ["5"], False),
        ("1,200", ["1200"], True),
        ("Limassol", ["Lima"], True),
    ],
)
def test_the_official_rules_for_free_form(response: str, targets: list[str], right: bool) -> None:
    item = {"type": "free-form", "response": response, "targets": targets}
    assert official_rules_say(item, 0) is right
