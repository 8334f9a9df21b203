"""AlpacaEval's files: outputs of a system, and annotations with the baseline on either side."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from larpo_ir.data.annotations import read_annotations, read_outputs, write_outputs
from larpo_ir.data.results import docno_of

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
