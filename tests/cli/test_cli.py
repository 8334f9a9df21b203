"""Commands on small inputs: their output, and the files that they write."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from datasets import load_from_disk

from larpo_ir import available_losses, available_objectives
from larpo_ir.cli import COMMANDS
from larpo_ir.cli.engine import parser_of
from larpo_ir.data.topics import read_candidates
from tests.cli.programs import complaint, offline, run, served, write_jsonl


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
