"""The command line: what it prints, what it writes, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from datasets import load_from_disk

from larpo_ir import available_losses, available_objectives
from larpo_ir.cli import COMMANDS, main
from larpo_ir.cli.arguments import lists_as_json
from larpo_ir.cli.engine import parser_of
from larpo_ir.data.topics import read_candidates
from tests.small_models import make_model, make_reward_model, make_tokenizer

LISTS = [
    {"id": f"p{i}", "prompt": f"xy {i}", "completions": ["aa", "bb", "cc ee"], "relevance": [0.9, 0.1, 0.4]}
    for i in range(8)
]


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr that begins with `error:`."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error", "Traceback"))]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A policy and a reward model on disk."""
    directory = tmp_path_factory.mktemp("models")
    for name, model in (("policy", make_model()), ("reward", make_reward_model())):
        model.save_pretrained(directory / name)
        make_tokenizer(bos=True).save_pretrained(directory / name)
    return directory


def test_tables_show_every_name_with_its_formula(capsys):
    assert run("losses") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in available_losses())
    assert "-Σ_{r_i > r_j} log σ(s_i - s_j)" in printed
    assert run("objectives") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in available_objectives())
    assert "β log(π/π_ref)" in printed


def test_help_lists_the_commands(capsys):
    assert run("--help") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)
    for command in COMMANDS:
        assert run(command, "--help") == 0
    capsys.readouterr()


def test_generate_rerank_evaluate(models, tmp_path, capsys):
    topics = write_jsonl(
        tmp_path / "topics.jsonl", [{"id": i, "question": f"xy {i}", "gold": "4"} for i in range(3)]
    )
    responses, ranked = tmp_path / "responses.parquet", tmp_path / "ranked.jsonl"
    options = ["--generator.model", models / "policy", "--generator.num_candidates", 4]
    options += ["--generator.max_new_tokens", 6, "--topics", topics, "--output", responses]
    assert run("generate", "--generator", "Generator", *options) == 0
    assert str(responses) in capsys.readouterr().out
    frame = pd.read_parquet(responses)
    assert len(frame) == 12
    assert set(frame["gold"]) == {"4"}

    reward = ["--reward", "larpo_ir.rewards.RewardModel", "--reward.model", models / "reward"]
    assert run("rerank", *reward, "--results", responses, "--output", ranked) == 0
    assert "mean reward" in capsys.readouterr().out
    best = pd.read_json(ranked, lines=True, dtype={"qid": str}).groupby("qid")["docno"].first()

    qrels = tmp_path / "qrels.trec"
    qrels.write_text("".join(f"{qid} 0 {docno} 1\n" for qid, docno in best.items()))
    table = tmp_path / "table.csv"
    options = ["--results", ranked, "--qrels", qrels, "--measures", '["RR@10", "Pass@1"]', "--output", table]
    assert run("evaluate", *options) == 0
    assert pd.read_csv(table).set_index("measure").loc["RR@10", "mean"] == 1.0
    assert "| RR@10 | 1.000 |" in capsys.readouterr().out


def offline(tmp_path: Path, **options: object) -> Path:
    """A configuration of offline alignment, as small as it gets."""
    config = {
        "lists": str(write_jsonl(tmp_path / "lists.jsonl", LISTS)),
        "num_held_out": 3,
        "objectives": ["dpo", "larpo_listmle"],
        "policy": {"vocab_size": 300, "hidden_size": 16, "num_layers": 1, "num_heads": 2, "context": 64},
        "align": {
            "output_dir": str(tmp_path / "run"),
            "iterations": 1,
            "sampler": {"class_path": "larpo_ir.data.negatives.TopVersusRest"},
            "objective_parameters": {"beta": 0.5},
            "training": {"learning_rate": 0.01, "use_cpu": True},
        },
        **options,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_align_on_recorded_lists(tmp_path, capsys):
    assert run("align", "--config", offline(tmp_path)) == 0
    printed = capsys.readouterr().out
    for row in ("random order", "longest first", "dpo: implicit reward", "larpo_listmle: implicit reward"):
        assert row in printed
    for objective in ("dpo", "larpo_listmle"):
        summary = json.loads((tmp_path / "run" / objective / "summary.json").read_text())
        assert summary["objective"] == objective
        assert summary["iterations"][1]["implicit_kendall_tau"] is not None
    config = yaml.safe_load((tmp_path / "run" / "dpo" / "config.yaml").read_text())
    assert config["sampler"] == "TopVersusRest()"
    assert (tmp_path / "run" / "ranking.md").exists()


def test_align_on_policy(models, tmp_path, capsys):
    topics = write_jsonl(tmp_path / "topics.jsonl", [{"query": f"xy {i}"} for i in range(6)])
    options = ["--generator", "larpo_ir.Generator", "--generator.model", models / "policy"]
    options += [
        "--generator.max_new_tokens",
        6,
        "--reward",
        "RewardModel",
        "--reward.model",
        models / "reward",
    ]
    options += ["--prompts", topics, "--eval_prompts", topics, "--align.output_dir", tmp_path / "run"]
    options += [
        "--align.iterations",
        1,
        "--align.num_candidates",
        4,
        "--align.objective",
        "larpo_contrastive",
    ]
    assert run("align", *options) == 0
    assert (tmp_path / "run" / "iteration-01" / "policy" / "config.json").exists()
    assert "report.md" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")), ids=lambda p: p.name
)
def test_the_configurations_that_ship_are_understood(path):
    command = "generate" if path.name.startswith("generate") else "align"
    options = parser_of("larpo-ir", COMMANDS, command).parse_path(path)
    assert (options.output if command == "generate" else options.align.output_dir).startswith("runs/")


@pytest.fixture
def server():
    """A server that answers `query|seed|temperature`."""
    pytest.importorskip("openai", reason="needs the extra serve")
    from tests.models.test_served import Server, echo

    server = Server(echo)
    yield server
    server.http.shutdown()
    server.http.server_close()


def served(server, *more: object) -> list[object]:
    return [
        "--generator.class_path",
        "OpenAIGenerator",
        "--generator.base_url",
        server.url,
        "--generator.model",
        "m",
        *more,
    ]


def test_served_responses_become_training_lists(models, server, tmp_path, capsys):
    """generate, rerank, align --lists: nothing but the reward and the training needs a model here."""
    topics = write_jsonl(tmp_path / "t.jsonl", [{"query": f"xy {i}"} for i in range(6)])
    responses, ranked = tmp_path / "responses.parquet", tmp_path / "ranked.parquet"
    options = served(server, "--generator.num_candidates", 3)
    assert run("generate", *options, "--topics", topics, "--output", responses) == 0
    assert "18 responses to 6 prompts" in capsys.readouterr().out
    assert pd.read_parquet(responses)["token_ids"].isna().all()
    assert {body["messages"][0]["content"] for _, body in server.asked} == {f"xy {i}" for i in range(6)}

    options = ["--generator.model", models / "policy", "--generator.max_new_tokens", 6, "--num_held_out", 2]
    options += [
        "--align.iterations",
        1,
        "--align.objective",
        "larpo_listmle",
        "--align.output_dir",
        tmp_path / "run",
    ]
    assert run("align", *options, "--lists", responses) == 2
    assert "responses.parquet: these responses have not been ranked by a reward; run larpo-ir" in complaint(
        capsys
    )

    reward = ["--reward", "RewardModel", "--reward.model", models / "reward"]
    assert run("rerank", *reward, "--results", responses, "--output", ranked) == 0
    assert run("align", *options, "--lists", ranked) == 0
    assert "larpo_listmle: implicit reward" in capsys.readouterr().out
    lists = load_from_disk(tmp_path / "run" / "iteration-00" / "lists")
    graded = pd.read_parquet(ranked).set_index(["qid", "text"])["score"]
    assert lists["id"] == ["0", "1", "2", "3"]
    for row in lists:
        assert row["prompt"] == f"xy {row['id']}"
        assert row["relevance"] == [graded[row["id"], text] for text in row["completions"]]


def test_the_prompts_that_were_asked_are_trained_on(tmp_path):
    chat = [{"role": "system", "content": "4"}, {"role": "user", "content": "xy"}]
    rows = [
        {"qid": "a", "query": "xy", "prompt": chat, "docno": text, "text": text, "score": score, "rank": rank}
        for rank, (text, score) in enumerate([("good", 2.0), ("bad", 1.5)])
    ]
    pool, topics = read_candidates(write_jsonl(tmp_path / "ranked.jsonl", rows))
    assert topics.to_dict("records") == [{"qid": "a", "query": "xy", "prompt": chat}]
    assert pool.view()[["text", "score"]].to_numpy().tolist() == [["good", 2.0], ["bad", 1.5]]


def test_a_served_model_cannot_be_aligned(server, tmp_path, capsys):
    topics = write_jsonl(tmp_path / "t.jsonl", [{"query": "xy"}])
    options = ["--reward", "MajorityVote", "--prompts", topics, "--align.output_dir", tmp_path / "run"]
    assert run("align", *served(server), *options) == 2
    assert "OpenAIGenerator(m, T=1.0) has no model here that could be trained; sample and" in complaint(
        capsys
    )
    assert not (tmp_path / "run").exists()
    assert server.asked == []


def test_a_generator_without_a_class_is_a_model_here():
    for command in ("generate", "align"):
        arguments = ["--generator.model", "path", "--generator.num_candidates", "8"]
        arguments += ["--topics", "t.jsonl"] if command == "generate" else []
        options = parser_of("larpo-ir", COMMANDS, command).parse_args(arguments)
        assert options.generator.class_path == "larpo_ir.Generator"
        assert options.generator.init_args.num_candidates == 8
    options = parser_of("larpo-ir", COMMANDS, "generate").parse_args(
        [
            "--generator",
            "OpenAIGenerator",
            "--generator.base_url",
            "u",
            "--generator.model",
            "m",
            "--topics",
            "t",
        ]
    )
    assert options.generator.init_args.chat is True  # its own default, not Generator's


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
    assert complaint(capsys) == expected


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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--objectives", "dpo", "ipo"], ["dpo", "ipo"]),
        (["--objectives=dpo"], ["dpo"]),
        (["--objectives", "dpo", "--lists", "x"], ["dpo"]),
        (["--objectives", '["dpo", "ipo"]'], ["dpo", "ipo"]),
        (["--objectives", "null"], None),
    ],
)
def test_lists_of_names_need_no_brackets(given, expected):
    parser = parser_of("larpo-ir", COMMANDS, "align")
    assert parser.parse_args(lists_as_json(given, parser)).objectives == expected


def test_numbers_stay_numbers():
    parser = parser_of("larpo-ir", COMMANDS, "align")
    given = lists_as_json(["--align.temperatures", "0.7"], parser)
    assert parser.parse_args(given).align.temperatures == 0.7
