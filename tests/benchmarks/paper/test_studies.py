"""Experiments run, go on where they were, and judge the paper's claims by the rule."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.paper.claims import Claim, judge_claims
from benchmarks.paper.page import write_page
from benchmarks.paper.setup import CONFIGS, Setup
from benchmarks.paper.table import STUDIES
from larpo_ir.evaluation.studies import PER_QUERY, Study, folder_of

ROOT = Path(__file__).parents[3]


def frame(*seeds: float, queries: int = 40) -> pd.DataFrame:
    """The same value for every query, one number per seed, and a little that differs from query to query."""
    noise = np.linspace(-0.01, 0.01, queries)
    rows = [
        {"qid": str(query), "seed": seed, "accuracy": value + noise[query]}
        for seed, value in enumerate(seeds)
        for query in range(queries)
    ]
    return pd.DataFrame(rows)


CLAIM = Claim("a beats b", ("a",), ("b",))


@pytest.mark.parametrize(
    ("a", "b", "verdict", "seeds"),
    [
        ((0.5, 0.6), (0.4, 0.5), "holds", "2/2"),
        ((0.4, 0.5), (0.5, 0.6), "does not hold", "0/2"),
        ((0.5, 0.9), (0.6, 0.5), "undecided", "1/2"),  # better in the mean, but not in every seed
        ((0.5, 0.6), (0.5, 0.6), "undecided", "0/2"),
    ],
)
def test_a_claim_holds_when_it_does_in_every_seed_and_beyond_chance(a, b, verdict, seeds):
    study = Study("x", {"b": frame(*b), "a": frame(*a)}, "b")
    (row,) = judge_claims(study, [CLAIM]).to_dict("records")
    assert row["verdict"] == verdict
    assert row["seeds"] == seeds
    assert row["difference"] == pytest.approx(np.mean(a) - np.mean(b))


def test_the_difference_in_the_second_measure_stands_beside_a_claim():
    values = {name: frame(*seeds) for name, seeds in (("a", (0.5, 0.6)), ("b", (0.4, 0.5)))}
    both = {"a": values["a"].assign(greedy=0.25), "b": values["b"].assign(greedy=0.75)}
    named = Claim("a beats b", ("a",), ("b",), "greedy")
    table = judge_claims(Study("x", both, "b"), [CLAIM, named])
    assert table["second"].tolist() == pytest.approx([-0.5, np.nan], nan_ok=True)
    assert judge_claims(Study("x", values, "b"), [CLAIM])["second"].isna().all()


def test_a_difference_within_chance_is_undecided_even_if_every_seed_agrees():
    few = frame(0.5, 0.6, queries=3), frame(0.4, 0.5, queries=3)
    (row,) = judge_claims(Study("x", {"b": few[1], "a": few[0]}, "b"), [CLAIM]).to_dict("records")
    assert row["p_holm"] == pytest.approx(2 / 2**3)  # the smallest that three queries can give
    assert row["verdict"] == "undecided"


def test_sides_of_several_conditions_are_averaged_and_p_values_corrected_together():
    study = Study("x", {"a": frame(0.2, 0.2), "b": frame(0.6, 0.6), "c": frame(0.5, 0.5)}, "a")
    claims = [Claim("mean of a and b beats c", ("a", "b"), ("c",)), Claim("b beats a", ("b",), ("a",))]
    table = judge_claims(study, claims)
    assert table["difference"].tolist() == pytest.approx([0.4 - 0.5, 0.4])
    assert table["verdict"].tolist() == ["does not hold", "holds"]
    assert (table["p_holm"] >= judge_claims(study, claims[1:])["p_holm"].iloc[0]).all()


def test_a_condition_without_seeds_counts_for_all_and_missing_ones_are_left_out():
    study = Study("x", {"b": frame(0.4), "a": frame(0.5, 0.6)}, "b")
    table = judge_claims(study, [CLAIM, Claim("c beats a", ("c",), ("a",))])
    assert table["claim"].tolist() == ["a beats b"]
    assert table["difference"].iloc[0] == pytest.approx(0.15)


SMALL = {
    "data": {"source": "arithmetic", "num_prompts": 12, "num_held_out": 6},
    "policy": {"num_demonstrations": 400},
    "generator": {"class_path": "larpo_ir.Generator", "init_args": {"max_new_tokens": 48, "batch_size": 100}},
    "reward": {
        "class_path": "larpo_ir.rewards.VerifiableReward",
        "init_args": {"fn": "larpo_ir.tasks.gsm8k.is_correct"},
    },
    "align": {
        "iterations": 1, "num_candidates": 4, "training": {"learning_rate": 1e-4, "num_train_epochs": 1},
        "eval_samples": 16, "objective": "dpo",
    },
    "sampling": {"num_samples": 64, "temperature": 1.0},
    "fine_tuning": {
        "source": "arithmetic", "num": 8,
        "training": {"max_steps": 1, "bf16": False, "gradient_checkpointing": False, "logging_strategy": "no"},
    },
}  # fmt: skip


def small(name: str, root: Path, **changed) -> Setup:
    """A setup whose policy is shared by all tests of this file."""
    path = root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(SMALL | changed))
    return Setup.read(path, root / "runs")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("paper")


@pytest.mark.parametrize("name", ["objectives", "recall_pass", "inference"])
def test_an_experiment_runs_and_is_not_run_again(name, root, monkeypatch):
    setup, experiment = small(name, root), STUDIES[name]
    output = setup.root / name
    some = list(experiment.conditions(setup))[:3]
    study = experiment.run(setup, output, seeds=1, only=some)
    assert list(study.values) == some
    for values in study.values.values():
        assert sorted(values["qid"]) == sorted(setup.held_out["qid"])
    assert {"table.md", "table.tex", "summary.csv", "figure.png", "claims.csv"} <= {
        p.name for p in output.iterdir()
    }
    monkeypatch.setattr(Setup, "run", None)
    monkeypatch.setattr(Setup, "retrieve", lambda *_: None)
    monkeypatch.setattr(Setup, "parts", None)
    again = experiment.run(setup, output, seeds=1, only=some)
    pd.testing.assert_frame_equal(again.summary(), study.summary())


def test_the_curves_of_every_temperature_are_drawn():
    passes = pd.DataFrame({f"Pass@{n}": [n / 8, 1.0] for n in (1, 2, 4)}).assign(qid=["a", "b"], seed=0)
    figure = STUDIES["recall_pass"].figure(Study("temperature", {"T = 1": passes, "T = 2": passes}, "T = 1"))
    (axis,) = figure.axes
    assert [line.get_label() for line in axis.lines] == ["T = 1", "T = 2"]
    assert axis.lines[0].get_xydata().tolist() == [[1, 0.5625], [2, 0.625], [4, 0.75]]


def test_sft_and_dpo_build_on_each_other(root):
    setup = small("sft_dpo", root)
    study = STUDIES["sft_dpo"].run(setup, setup.root / "sft_dpo", seeds=1)
    assert list(study.values) == ["init", "SFT", "SFT → DPO"]
    assert study.measures == ["greedy", "Recall@20", "Recall@50", "Recall@100"]


def test_some_conditions_alone_bring_the_baseline(root):
    setup = small("memory", root)
    study = STUDIES["memory"].run(setup, setup.root / "memory", seeds=1, only=["current"])
    assert list(study.values) == ["SFT", "current"]
    with pytest.raises(ValueError, match="memory has no condition last; there are SFT, current"):
        STUDIES["memory"].run(setup, setup.root / "memory", seeds=1, only=["last"])


def test_evaluations_beside_held_out_prompts(root):
    """What --scale paper does after alignment, with a judge and a model that are here."""
    references = root / "references.json"
    texts = [
        {"instruction": f"What is {n} plus 1?", "output": "#### 1", "generator": "ref"} for n in range(4)
    ]
    references.write_text(json.dumps(texts))
    judge = {
        "class_path": "larpo_ir.rewards.judges.RewardJudge",
        "init_args": {
            "reranker": {
                "class_path": "larpo_ir.rewards.VerifiableReward", "init_args": {"fn": "builtins.len"},
            }
        },
    }  # fmt: skip
    evaluations = {
        "alpaca_eval": {"data": str(references), "generator": {"temperature": 0.7}, "judge": judge}
    }
    setup = small("objectives", root, evaluations=evaluations)
    output = root / "evaluated"
    study = STUDIES["objectives"].run(setup, output, seeds=1, only=["LambdaRank"])
    assert study.measures[0] == "win rate"
    rows = study.values["LambdaRank"].set_index("qid")["win rate"].dropna()
    assert sorted(rows.index) == [f"alpaca_eval:{n}" for n in range(4)]
    assert rows.between(0, 1).all()
    board = pd.read_csv(output / "leaderboard.csv")
    assert sorted(board["model"]) == ["LambdaRank, seed-0", "SFT, seed-0"]


def test_a_page_of_what_is_there(root):
    page = write_page(root / "runs", root / "docs" / "paper.md")
    text = page.read_text()
    for name in ("objectives", "recall_pass", "inference", "sft_dpo", "memory"):
        assert f"## {STUDIES[name].heading}" in text
        assert (page.parent / f"paper_{name}.png").exists()
    assert "43.4 / 56.8" in text  # the paper's number for the contrastive loss
    assert "| holds | does not hold | undecided |" in text


def test_a_killed_run_goes_on_and_leaves_no_worker_behind(root):
    """SIGKILL half-way: workers end with their parent, and what was finished is not repeated."""
    setup = small("temperature", root)
    command = [
        sys.executable, "-m", "benchmarks.paper", "--only", "temperature", "--configs", str(root),
        "--output", str(setup.root), "--seeds", "1", "--workers", "2",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    finished = setup.root / "temperature" / folder_of("T = 0.4") / "seed-0" / PER_QUERY
    deadline = time.monotonic() + 240
    while not finished.exists() and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.2)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
    workers = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert finished.exists()
    for _ in range(50):
        if not any(Path(f"/proc/{pid}/cmdline").exists() and _is_worker(pid) for pid in workers):
            break
        time.sleep(0.2)
    else:
        pytest.fail(f"workers {workers} live on")
    stamp = finished.stat().st_mtime_ns
    second = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert finished.stat().st_mtime_ns == stamp
    assert "T = 0.4, seed 0" not in second.stdout + second.stderr
    assert (setup.root / "temperature" / "table.md").exists()


def _is_worker(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_the_command_names_what_is_wrong_in_one_line(tmp_path):
    command = [sys.executable, "-m", "benchmarks.paper", "--only", "memory", "--variant", "none"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, env={**os.environ}
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "memory_none.yaml: no such configuration" in done.stderr
    assert (CONFIGS / "tiny" / "memory.yaml").exists()
