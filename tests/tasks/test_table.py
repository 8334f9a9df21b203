"""The table of tasks: the judge that each takes, bad options in one line, and `larpo-ir generate --task`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from larpo_ir import tasks
from larpo_ir.tasks import TASKS
from tests.cli.test_cli import complaint, run
from tests.small_models import make_model, make_tokenizer
from tests.tasks.test_evaluation import evaluate, items_of, responses, served


@pytest.mark.parametrize("name", ["gsm8k", "math"])
def test_a_grader_loads_neither_torch_nor_pyterrier_nor_another_task(name):
    code = f"import sys; from larpo_ir.tasks.{name} import is_correct; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    others = {f"larpo_ir.tasks.{other}" for other in (*TASKS, "table") if other != name}
    assert others.union({"torch", "pyterrier", "transformers"}).isdisjoint(loaded)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_a_module_that_loads(name):
    assert callable(getattr(tasks, name).load)


def test_bad_combinations_are_one_line(gsm8k, tmp_path, capsys):
    results, output = responses(tmp_path / "r.jsonl", **{"test-1": ["18"]}), tmp_path / "out"
    cases: list[tuple[list[object], str]] = [
        ([], "evaluate needs either --qrels, for retrieval measures, or --task"),
        (["--qrels", gsm8k, "--task", "gsm8k"], "evaluate needs either --qrels, for retrieval measures, or"),
        (["--task", "gsm8k", "--output", output], "evaluate --task gsm8k needs --data"),
        (["--task", "gsm8k", "--data", gsm8k], "evaluate --task gsm8k needs --output"),
        (
            ["--task", "gsm9k", "--data", gsm8k, "--output", output],
            f"unknown task 'gsm9k'; choose one of {', '.join(TASKS)}",
        ),
        (["--task", "gsm9k"], "unknown task 'gsm9k'"),
        (
            ["--task", "gsm8k", "--data", gsm8k, "--output", output, "--measures", "RR"],
            "--measures goes with --qrels",
        ),
        (
            ["--task", "alpaca_eval", "--data", gsm8k, "--output", output],
            "alpaca_eval needs --judge: a judge",
        ),
        (
            ["--task", "mixeval", "--data", gsm8k, "--output", output, "--judge", "Judj"],
            "unknown class 'Judj'",
        ),
    ]
    for options, message in cases:
        assert run("evaluate", "--results", results, *options) == 2
        assert message in complaint(capsys)
    assert not output.exists()


def test_the_judge_must_be_of_the_task_s_kind(gsm8k, server, tmp_path, capsys):
    results = responses(tmp_path / "r.jsonl", **{"test-1": ["18"]})
    assert evaluate("gsm8k", results, gsm8k, tmp_path / "out", *served(server)) == 2
    assert "the task gsm8k is graded without a judge; leave --judge out" in complaint(capsys)
    assert evaluate("alpaca_eval", results, gsm8k, tmp_path / "out", *served(server)) == 2
    assert "must be a judge from larpo_ir.rewards, not OpenAIGenerator" in complaint(capsys)
    annotations = tmp_path / "annotations.json"
    annotation = {"instruction": "i", "output_1": "a", "output_2": "b", "preference": 1.5}
    annotations.write_text(json.dumps([annotation | {"generator_1": "x", "generator_2": "y"}]))
    judge = ["--judge", "RecordedJudge", "--judge.path", annotations, "--judge.baseline", "x"]
    assert evaluate("mixeval", results, gsm8k, tmp_path / "out", *judge) == 2
    assert "must be a generator that reads responses, such as OpenAIGenerator" in complaint(capsys)


@pytest.mark.parametrize("task", TASKS)
def test_bad_data_is_one_line(task, server, tmp_path, capsys):
    results = responses(tmp_path / "r.jsonl", **{"test-1": ["18"]})
    judge: list[object] = []
    if task == "alpaca_eval":
        judge = ["--judge", "ServedJudge", "--judge.generator", "OpenAIGenerator"]
        judge += ["--judge.generator.base_url", server.url, "--judge.generator.model", "m"]
    for content, message in (("", ""), ("{", "malformed JSON"), ('[{"x": 1}]', "data.json")):
        data = tmp_path / "data.json"
        data.write_text(content)
        assert evaluate(task, results, data, tmp_path / "out", *judge) == 2
        line = complaint(capsys)
        assert "data.json" in line
        assert message in line or task == "gsm8k"  # its lines are `not JSON (...)`
    assert evaluate(task, results, tmp_path / "none.json", tmp_path / "out", *judge) == 2
    assert "none.json: no such file or folder" in complaint(capsys)
    assert not (tmp_path / "out").exists()


# Topics in a task's own form


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("policy")
    make_model().save_pretrained(directory)
    make_tokenizer(bos=True).save_pretrained(directory)
    return directory


def test_generate_then_evaluate(gsm8k, policy, tmp_path, capsys):
    results = tmp_path / "r.parquet"
    options = ["--generator.model", policy, "--generator.num_candidates", 3, "--generator.max_new_tokens", 4]
    assert run("generate", *options, "--task", "gsm8k", "--topics", gsm8k, "--output", results) == 0
    assert "12 responses to 4 prompts" in capsys.readouterr().out
    assert evaluate("gsm8k", results, gsm8k, tmp_path / "out") == 0
    measures = pd.read_csv(tmp_path / "out" / "table.csv")["measure"].tolist()
    assert measures == ["score", "Pass@1", "Pass@2", "Pass@3"]


def test_generate_asks_what_the_task_asks(mixeval, tmp_path):
    pytest.importorskip("openai", reason="needs the extra serve")
    from tests.models.test_served import Server, completion, prompt_of

    server = Server(lambda path, body: (200, {}, completion(path, "B", usage=1)))
    options = ["--generator", "OpenAIGenerator", "--generator.base_url", server.url, "--generator.model", "m"]
    options += ["--generator.temperature", 0, "--task", "mixeval", "--topics", mixeval]
    results = tmp_path / "r.jsonl"
    assert run("generate", *options, "--output", results) == 0
    server.http.shutdown()
    server.http.server_close()
    asked = {prompt_of(body) for _, body in server.asked}
    assert any(prompt.startswith("Which is 2?\n\nA. 1\nB. 2\n\n") for prompt in asked)
    assert evaluate("mixeval", results, mixeval, tmp_path / "out") == 0
    assert items_of(tmp_path / "out")["score"].tolist() == [0.0, 0.0, 1.0]


def test_generate_with_an_unknown_task(policy, gsm8k, capsys):
    assert run("generate", "--generator.model", policy, "--task", "nope", "--topics", gsm8k) == 2
    assert "unknown task 'nope'; choose one of " + ", ".join(TASKS) in complaint(capsys)
