"""One clear line for whatever is wrong: classes, names, files, folders, missing options."""

from __future__ import annotations

import re

import pytest
import yaml

from larpo_ir.models import ResponseGenerator
from tests.cli.programs import complaint, offline, run, write_jsonl
from tests.small_models import make_model, make_tokenizer

BAD_GENERATORS = {
    "no such class": (
        ["--generator", "Generatr"],
        "error: generator: unknown class 'Generatr'; choose one of Generator, OpenAIGenerator, or give an "
        "import path",
    ),
    "no such option": (
        ["--generator.modle", "m"],
        """error: Parser key "generator": Problem with given class_path 'larpo_ir.Generator': """
        "Option 'modle' is not accepted",
    ),
    "not a generator": (
        ["--generator", "collections.OrderedDict"],
        'error: Parser key "generator": Import path does not correspond to a subclass of ResponseGenerator '
        "Given value: collections.OrderedDict",
    ),
    "no such folder": (
        ["--generator.model", "missing/folder"],
        "error: Generator: cannot load missing/folder: no such folder, and nothing of that name to be had from "
        "the hub; correct the path or the name",
    ),
    "a bad value": (
        [
            "--generator",
            "OpenAIGenerator",
            "--generator.base_url",
            "localhost:8000",
            "--generator.model",
            "m",
        ],
        "error: base_url must be like http://localhost:8000/v1, got 'localhost:8000'",
    ),
}


@pytest.mark.parametrize("case", BAD_GENERATORS)
def test_bad_generators_are_one_line(tmp_path, capsys, case):
    options, expected = BAD_GENERATORS[case]
    if "OpenAIGenerator" in options:
        pytest.importorskip("openai", reason="needs the extra serve")
    assert run("generate", *options, "--topics", write_jsonl(tmp_path / "t.jsonl", [{"query": "x"}])) == 2
    others = "|".join(
        kind.__name__ for kind in ResponseGenerator.__subclasses__() if "larpo_ir" not in kind.__module__
    )
    said = re.sub(rf", ({others})(?=, or)", "", complaint(capsys)) if others else complaint(capsys)
    assert said == expected  # without the generators of other test modules


def test_unknown_names_list_the_choices(tmp_path, capsys):
    assert run("aline") == 2
    assert "unknown command 'aline'; choose one of quickstart, align" in complaint(capsys)
    assert run("align", "--config", offline(tmp_path, objectives=["dpoo"])) == 2
    assert "unknown objective 'dpoo'; choose one of dpo, ipo" in complaint(capsys)
    assert run("quickstart", "--objectives", '["larpo_best"]') == 2
    assert "unknown objective 'larpo_best'" in complaint(capsys)
    config = yaml.safe_load(offline(tmp_path).read_text())
    config["align"]["sampler"]["class_path"] = "larpo_ir.data.negatives.BestOnly"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert run("align", "--config", tmp_path / "config.yaml") == 2
    assert "BestOnly" in complaint(capsys)


BAD_LISTS = {
    "malformed JSON": ("{not json}\n", r"lists.jsonl:9: malformed JSON"),
    "no reward": ('{"prompt": "p", "completions": ["a", "b"], "relevance": [1.0, null]}\n', r"lists.jsonl:9"),
    "NaN reward": ('{"prompt": "p", "completions": ["a", "b"], "relevance": [1.0, NaN]}\n', r"lists.jsonl:9"),
    "lengths differ": ('{"prompt": "p", "completions": ["a"], "relevance": [1.0, 2.0]}\n', r"lists.jsonl:9"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_bad_lists_are_named_by_file_and_line(tmp_path, capsys, case):
    line, expected = BAD_LISTS[case]
    config = offline(tmp_path)
    with open(tmp_path / "lists.jsonl", "a") as handle:
        handle.write(line)
    assert run("align", "--config", config) == 2
    assert expected in complaint(capsys)


def test_files_that_are_empty_or_missing(models, tmp_path, capsys):
    config = offline(tmp_path)
    (tmp_path / "lists.jsonl").write_text("")
    assert run("align", "--config", config) == 2
    assert "lists.jsonl" in complaint(capsys)
    (tmp_path / "lists.jsonl").unlink()
    assert run("align", "--config", config) == 2
    assert "no such file" in complaint(capsys)
    options = ["--generator", "Generator", "--generator.model", models / "policy"]
    assert run("generate", *options, "--topics", write_jsonl(tmp_path / "t.jsonl", [])) == 2
    assert "is empty" in complaint(capsys)
    assert run("generate", *options, "--topics", write_jsonl(tmp_path / "t.jsonl", [{"text": "x"}])) == 2
    assert "t.jsonl:1: no query" in complaint(capsys)
    (tmp_path / "run.trec").write_text("not a run\n")
    (tmp_path / "qrels.trec").write_text("q 0 d 1\n")
    assert run("evaluate", "--results", tmp_path / "run.trec", "--qrels", tmp_path / "qrels.trec") == 2
    assert "run.trec:1: not a TREC run" in complaint(capsys)


def test_a_directory_with_another_run_is_refused(tmp_path, capsys):
    config = offline(tmp_path, objectives=["dpo"])
    assert run("align", "--config", config) == 0
    capsys.readouterr()
    assert run("align", "--config", config, "--align.objective_parameters", '{"beta": 0.2}') == 2
    assert "holds a different run: objective_parameters is {'beta': 0.5} there" in complaint(capsys)


def test_what_is_missing_is_named(tmp_path, capsys):
    assert run("align") == 2
    assert "needs --generator" in complaint(capsys)
    assert run("align", "--config", tmp_path / "none.yaml") == 2
    assert "none.yaml" in complaint(capsys)


def test_a_rule_given_as_a_reward_is_told_how(tmp_path, capsys):
    results = write_jsonl(tmp_path / "r.jsonl", [{"qid": "1", "query": "x", "docno": "d", "text": "y"}])
    assert run("rerank", "--reward", "math.sqrt", "--results", results) == 2
    assert complaint(capsys).endswith(
        "; a rule of your own is given as --reward VerifiableReward --reward.fn IMPORT.PATH"
    )


@pytest.mark.parametrize("value", ["5", '{"a": 1}'])
def test_a_tokenizer_of_the_wrong_kind_is_one_line(tmp_path, capsys, value):
    make_model().save_pretrained(tmp_path / "m")
    make_tokenizer(bos=True).save_pretrained(tmp_path / "m")
    topics = write_jsonl(tmp_path / "t.jsonl", [{"query": "x"}])
    options = ["--generator.model", tmp_path / "m", "--generator.tokenizer", value]
    assert run("generate", *options, "--topics", topics, "--output", tmp_path / "o.jsonl") == 2
    assert "Generator: the tokenizer is" in complaint(capsys)


def test_a_quickstart_without_objectives_is_one_line(capsys):
    assert run("quickstart", "--objectives", "[]") == 2
    assert "objectives is empty; name at least one" in complaint(capsys)
