"""`larpo-ir evaluate --task`, end to end: grades, files, and folders that are left as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from larpo_ir.tasks import evaluate_task
from tests.cli.test_cli import complaint, run, write_jsonl

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def responses(path: Path, **texts: list[str | None]) -> Path:
    """Responses to items by qid, in the order of their ranks."""
    return write_jsonl(
        path,
        [
            {"qid": qid, "query": "?", "docno": f"d{rank}", "text": text, "score": -rank, "rank": rank}
            for qid, drawn in texts.items()
            for rank, text in enumerate(drawn)
        ],
    )


def evaluate(task: str, results: Path, data: Path, output: Path, *more: object) -> int:
    return run("evaluate", "--task", task, "--results", results, "--data", data, "--output", output, *more)


def items_of(output: Path) -> pd.DataFrame:
    return pd.DataFrame([json.loads(line) for line in (output / "items.jsonl").read_text().splitlines()])


def served(server) -> list[object]:
    return ["--judge", "OpenAIGenerator", "--judge.base_url", server.url, "--judge.model", "m"]


def test_gsm8k(gsm8k, tmp_path, capsys, caplog):
    answers = {
        "test-1": ["So it is 18.", "17"],
        "test-2": ["3", "2"],
        "test-3": ["no idea", "5"],
    }
    output = tmp_path / "out"
    assert evaluate("gsm8k", responses(tmp_path / "r.jsonl", **answers), gsm8k, output) == 0
    summary = json.loads((output / "summary.json").read_text())
    assert {key: value for key, value in summary.items() if key.startswith("num_")} == {
        "num_items": 4,
        "num_responses": 6,
        "num_without_response": 1,
        "num_without_answer": 1,
    }
    means = {measure: row["mean"] for measure, row in summary["measures"].items()}
    # One of four is right at first, two of four in two draws; one draw of these is right for each of the two.
    assert means == {"score": 0.25, "Pass@1": 0.25, "Pass@2": 0.5}
    items = items_of(output)
    assert items.loc[
        items["qid"] == "test-2", ["response", "answer", "gold", "score"]
    ].to_numpy().tolist() == [
        ["3", "3", "2", 0.0],
        ["2", "2", "2", 1.0],
    ]
    assert items.loc[items["qid"] == "test-4", ["response", "score"]].fillna("none").to_numpy().tolist() == [
        ["none", 0.0]
    ]
    parquet = pd.read_parquet(output / "items.parquet")
    assert parquet["score"].tolist() == items["score"].tolist()
    printed = capsys.readouterr().out
    assert (output / "table.md").read_text() in printed
    assert "| Pass@2 | 0.500 [0.000, 1.000] | 4 |" in printed
    assert str(output) in printed
    assert pd.read_csv(output / "table.csv").set_index("measure").loc["Pass@2", "mean"] == 0.5
    assert r"\toprule" in (output / "table.tex").read_text()
    assert "1 of 4 items have no response and count as wrong" in caplog.text


def test_the_first_ranked_response_counts_by_its_score(gsm8k, tmp_path):
    rows = [
        {"qid": "test-1", "docno": "a", "text": "17", "score": 0.1},
        {"qid": "test-1", "docno": "b", "text": "18", "score": 0.9},
    ]
    table = evaluate_task("gsm8k", write_jsonl(tmp_path / "r.jsonl", rows), gsm8k, tmp_path / "out")
    assert table.set_index("measure").loc["score", "mean"] == 0.25


def test_math(tmp_path):
    problems = tmp_path / "problems"
    for name, answer, level in (("1", r"\frac{1}{2}", "Level 1"), ("2", r"(0,\infty)", "Level 5")):
        path = problems / "algebra" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        problem = {"problem": "?", "level": level, "type": "Algebra", "solution": rf"\boxed{{{answer}}}"}
        path.write_text(json.dumps(problem))
    results = responses(
        tmp_path / "r.jsonl",
        **{"algebra/1": [r"It is \boxed{0.5}."], "algebra/2": ["The answer is $x > 1$."]},
    )
    output = tmp_path / "out"
    assert evaluate("math", results, problems, output) == 0
    means = pd.read_csv(output / "table.csv").set_index("measure")["mean"].to_dict()
    assert means == {"score": 0.5, "level Level 1": 1.0, "level Level 5": 0.0, "subject Algebra": 0.5}
    assert items_of(output)["answer"].tolist() == ["0.5", "x > 1"]


def test_mixeval(mixeval, tmp_path):
    answers = {"free-form-0": ["Lima."], "multiple-choice-0": ["B"], "multiple-choice-1": ["B."]}
    output = tmp_path / "out"
    assert evaluate("mixeval", responses(tmp_path / "r.jsonl", **answers), mixeval, output) == 0
    means = pd.read_csv(output / "table.csv").set_index("measure")["mean"].round(3).to_dict()
    assert means == {
        "score": 0.667,
        "type free-form": 1.0,
        "type multiple-choice": 0.5,
        "benchmark MMLU": 0.5,
        "benchmark TriviaQA": 1.0,
    }
    assert items_of(output)["answer"].tolist() == ["Lima", "B", "B"]


def test_mixeval_counts_responses_that_choose_nothing(mixeval, tmp_path, caplog):
    answers = {"free-form-0": ["Cusco."], "multiple-choice-0": ["I cannot tell."]}
    output = tmp_path / "out"
    assert evaluate("mixeval", responses(tmp_path / "r.jsonl", **answers), mixeval, output) == 0
    assert items_of(output)["answer"].isna().all()
    summary = json.loads((output / "summary.json").read_text())
    assert {key: value for key, value in summary.items() if key.startswith("num_without")} == {
        "num_without_response": 1,
        "num_without_choice": 1,  # a free-form answer that is wrong was read all the same
    }
    assert "1 of 2 responses choose no option: wrong, too" in caplog.text


def test_mixeval_read_by_a_served_model(mixeval, server, tmp_path, caplog):
    results = responses(tmp_path / "r.jsonl", **{"free-form-0": ["Cusco."], "multiple-choice-0": ["A"]})
    output = tmp_path / "out"
    assert evaluate("mixeval", results, mixeval, output, *served(server)) == 0
    assert items_of(output)["score"].tolist() == [0.5, 1.0, 0.0]
    assert "the judge's reading of 1 responses could not be parsed: the rules read those" in caplog.text
    assert len(server.asked) == 2


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
def test_mixeval_with_responses_as_published(tmp_path, caplog):
    folder = SHARED / "mixeval"
    assert evaluate("mixeval", folder, folder, tmp_path / "out") == 0
    measures = pd.read_csv(tmp_path / "out" / "table.csv").set_index("measure")["mean"]
    assert measures["type free-form"] == 9 / 60
    assert measures["type multiple-choice"] == 21 / 60
    assert measures["score"] == 30 / 120
    assert "5 of 120 items have no response" in caplog.text


def test_alpaca_eval(tmp_path, capsys):
    """A judge that recorded a preference; what the numbers mean is tested with the judges."""
    references = tmp_path / "references.json"
    texts = [(f"Say {n}.", f"{n}" * (n + 1), "no" * (9 - n), 1.0 + n / 8) for n in range(8)]
    references.write_text(
        json.dumps([{"instruction": i, "output": ref, "generator": "base"} for i, _, ref, _ in texts])
    )
    annotations = tmp_path / "annotations.json"
    annotations.write_text(
        json.dumps(
            [
                {
                    "instruction": instruction,
                    "output_1": reference,
                    "generator_1": "base",
                    "output_2": text,
                    "generator_2": "m",
                    "preference": preference,
                }
                for instruction, text, reference, preference in texts
            ]
        )
    )
    outputs = tmp_path / "outputs.json"
    outputs.write_text(
        json.dumps([{"instruction": i, "output": text, "generator": "m"} for i, text, _, _ in texts])
    )
    judge = ["--judge", "RecordedJudge", "--judge.path", annotations, "--judge.baseline", "base"]
    assert evaluate("alpaca_eval", outputs, references, tmp_path / "out", *judge) == 0
    assert "43.750" in capsys.readouterr().out  # 100 · (0 + 1 + … + 7) / 8 / 8
    rows = [
        {"qid": str(n), "query": i, "docno": "d", "text": text, "score": 1.0}
        for n, (i, text, _, _) in enumerate(texts)
    ]
    results = write_jsonl(tmp_path / "r.jsonl", rows)
    assert evaluate("alpaca_eval", results, references, tmp_path / "again", *judge) == 0
    assert "43.750" in capsys.readouterr().out


# Whose folder it is


def test_a_folder_with_another_evaluation_is_not_touched(gsm8k, tmp_path, capsys):
    first = responses(tmp_path / "first.jsonl", **{"test-1": ["18"]})
    output = tmp_path / "out"
    assert evaluate("gsm8k", first, gsm8k, output) == 0
    before = (output / "items.jsonl").read_bytes()
    assert evaluate("gsm8k", first, gsm8k, output) == 0  # the same one is welcome
    capsys.readouterr()

    second = responses(tmp_path / "second.jsonl", **{"test-1": ["17"]})
    assert evaluate("gsm8k", second, gsm8k, output) == 2
    assert "holds a different evaluation: the responses or the data" in complaint(capsys)
    responses(first, **{"test-1": ["17"]})  # other responses in a file of the same name
    assert evaluate("gsm8k", first, gsm8k, output) == 2
    assert "holds a different evaluation: the responses or the data have changed" in complaint(capsys)
    assert (output / "items.jsonl").read_bytes() == before

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("mine")
    assert evaluate("gsm8k", first, gsm8k, tmp_path / "notes") == 2
    assert "is not empty and holds no run" in complaint(capsys)
    assert [path.name for path in (tmp_path / "notes").iterdir()] == ["todo.txt"]
    for file in (first, first / "out"):
        assert evaluate("gsm8k", first, gsm8k, file) == 2
        assert "first.jsonl is a file; choose a folder for the output" in complaint(capsys)


def test_an_evaluation_that_fails_does_not_stand_in_the_way(mixeval, tmp_path, capsys):
    pytest.importorskip("openai", reason="needs the extra serve")
    results = responses(tmp_path / "r.jsonl", **{"free-form-0": ["Lima."]})
    judge = ["--judge", "OpenAIGenerator", "--judge.model", "m", "--judge.retries", 0]
    away = [*judge, "--judge.base_url", "http://127.0.0.1:9/v1"]
    assert evaluate("mixeval", results, mixeval, tmp_path / "out", *away) == 2
    assert not (tmp_path / "out").exists()
    assert evaluate("mixeval", results, mixeval, tmp_path / "out") == 0


# Bad input


def test_bad_annotations_are_one_line(tmp_path, capsys):
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps([{"instruction": "i", "output": "a", "generator": "x"}]))
    annotations = tmp_path / "annotations.json"
    row = {"instruction": "i", "output_1": "a", "output_2": "b", "generator_1": "x", "generator_2": "y"}
    annotations.write_text(json.dumps([row]))
    cases = {
        "annotations.json": "record 0: no `preference`; AlpacaEval's annotations have one from 1 to 2",
        "annotations.csv.gz": "cannot read this kind of file; use .jsonl, .json, .parquet or a folder that datasets"
        " saved",
    }
    (tmp_path / "annotations.csv.gz").touch()
    for name, message in cases.items():
        judge = ["--judge", "RecordedJudge", "--judge.path", tmp_path / name]
        assert evaluate("alpaca_eval", outputs, outputs, tmp_path / "out", *judge) == 2
        assert complaint(capsys).strip().endswith(f"{name}: {message}")
    served_by_none = ["--judge", "OpenAIGenerator", "--judge.base_url", "http://127.0.0.1:9/v1"]
    assert evaluate("alpaca_eval", outputs, outputs, tmp_path / "out", *served_by_none) == 2
    line = complaint(capsys)
    assert line.endswith("the following arguments are required: model")
    assert "does not correspond" not in line


def test_outputs_without_output_are_one_line(tmp_path, capsys):
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps([{"instruction": "i", "text": "a", "generator": "x"}]))
    annotations = tmp_path / "annotations.json"
    row = {"instruction": "i", "output_1": "a", "output_2": "b", "generator_1": "x", "generator_2": "y"}
    annotations.write_text(json.dumps([{**row, "preference": 1.5}]))
    judge = ["--judge", "RecordedJudge", "--judge.path", annotations, "--judge.baseline", "x"]
    assert evaluate("alpaca_eval", outputs, outputs, tmp_path / "out", *judge) == 2
    assert "outputs.json: record 0: no text under `output`" in complaint(capsys)


BAD_RESULTS = {
    "empty": ("", "r.jsonl is empty: no responses to evaluate"),
    "malformed": ("{", "r.jsonl:1: malformed JSON"),
    "no text": ('{"qid": "test-1"}', "r.jsonl:1: no `qid` or no `text`"),
    "no qid": ('{"text": "18"}', "r.jsonl:1: no `qid` or no `text`"),
    "unknown qid": (
        '{"qid": "test-9", "text": "18"}',
        "r.jsonl: 1 of 1 qids are not in ",
    ),
}


@pytest.mark.parametrize("case", BAD_RESULTS)
@pytest.mark.parametrize("task", ["gsm8k", "mixeval"])
def test_bad_results_are_one_line(gsm8k, mixeval, tmp_path, capsys, case, task):
    content, message = BAD_RESULTS[case]
    results = tmp_path / "r.jsonl"
    results.write_text(content)
    data = {"gsm8k": gsm8k, "mixeval": mixeval}[task]
    assert evaluate(task, results, data, tmp_path / "out") == 2
    assert message in complaint(capsys)
    assert not (tmp_path / "out").exists()


def test_a_folder_for_gsm8k_is_one_line(gsm8k, tmp_path, capsys):
    results = responses(tmp_path / "r.jsonl", **{"test-1": ["18"]})
    assert evaluate("gsm8k", results, tmp_path, tmp_path / "out") == 2
    assert "is a folder; give the file of problems in it, such as" in complaint(capsys)
