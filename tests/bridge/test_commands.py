"""The command line of the retrieval side, on a BEIR folder of six passages."""

from __future__ import annotations

import json
from pathlib import Path

import ir_measures
import pandas as pd
import pytest
import yaml
from sentence_transformers import SentenceTransformer

from benchmarks.nq import studies
from larpo_ir.cli.engine import parser_of
from larpo_ir.data.trec import read_results
from retrieval_bridge.cli import COMMANDS, main
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.systems import system
from retrieval_bridge.studies.defaults import TRAINING
from retrieval_bridge.training.lists import ListConfig
from tests.bridge.small import PASSAGES, TOPICS, make_static, write_beir


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A collection in BEIR's layout, `c`, and an encoder, `encoder`."""
    root = tmp_path_factory.mktemp("commands")
    write_beir(root / "c")
    make_static(seed=4).save_pretrained(str(root / "encoder"))
    return root


def run(*arguments):
    main([str(argument) for argument in arguments])


def fails(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    return message


def test_index_search_and_evaluate(folder, tmp_path, capsys):
    systems = ["--systems", "bm25", folder / "encoder"]
    run("index", "--collection", folder / "c", "--index", tmp_path / "index", *systems)
    printed = capsys.readouterr().out
    assert "6 passages" in printed
    assert (tmp_path / "index" / "bm25s" / "index.json").exists()
    common = ["--collection", folder / "c", "--split", "dev", "--index", tmp_path / "index"]
    run("search", *common, "--output", tmp_path / "bm25.trec", "--depth", 3)
    results = read_results(tmp_path / "bm25.trec")
    assert results[results["qid"] == "q0"]["docno"].iloc[0] == "p0"
    lines = (tmp_path / "bm25.trec").read_text().splitlines()
    assert all(len(line.split()) == 6 for line in lines)
    run("evaluate", *common, *systems, "--runs", tmp_path / "bm25.trec", "--output", tmp_path / "evaluated")
    table = pd.read_csv(tmp_path / "evaluated" / "summary.csv")
    by_hand = ir_measures.calc_aggregate(
        [ir_measures.nDCG @ 10], ir_measures.read_trec_qrels("q0 0 p0 1\nq1 0 p1 1\nq2 0 p3 1\n"),
        list(ir_measures.read_trec_run(str(tmp_path / "bm25.trec"))),
    )  # fmt: skip
    found = table[table["measure"] == "nDCG@10"].set_index("condition")["mean"]
    assert found["bm25"] == pytest.approx(by_hand[ir_measures.nDCG @ 10])
    assert len(found) == 3


def test_an_empty_document_is_counted_in_one_line(tmp_path, capsys):
    write_beir(tmp_path / "c")
    with open(tmp_path / "c" / "corpus.jsonl", "a") as file:
        file.write('\n{"_id": "none", "title": "", "text": ""}')
    systems = ["--systems", "bm25", "static-minilm"]
    run("index", "--collection", tmp_path / "c", "--index", tmp_path / "index", *systems)
    printed = capsys.readouterr()
    assert f"7 passages (1 without text): {tmp_path / 'index' / 'passages'}" in printed.out.splitlines()
    counted = [line for line in printed.err.splitlines() if "neither title nor text" in line]
    assert counted == ["warning: c: 1 of 7 passages have neither title nor text, such as 'none'; they are indexed as "
                       "empty ones"]  # fmt: skip
    run("index", "--collection", tmp_path / "c", "--index", tmp_path / "index", *systems)
    assert "7 passages (1 without text)" in capsys.readouterr().out


def test_factories_are_indexed_in_one_folder(folder, tmp_path, capsys):
    for factory in ("Flat", "HNSW8", "IVF2,Flat"):
        run(
            "search",
            "--collection",
            folder / "c",
            "--split",
            "dev",
            "--system_name",
            folder / "encoder",
            "--index",
            tmp_path / "index",
            "--output",
            tmp_path / f"{factory}.trec",
            "--options",
            json.dumps({"index": factory}),
        )
        assert len(read_results(tmp_path / f"{factory}.trec")) > 3
    folders = sorted(path.name.partition("encoder-")[2][8:] for path in (tmp_path / "index").glob("dense-*"))
    assert folders == ["", "-HNSW8", "-IVF2-Flat"]


def test_mine_train_and_compare(folder, tmp_path, capsys):
    options = ["--collection", folder / "c", "--index", tmp_path / "index", "--lists.sources", '["bm25", "random"]',
               "--lists.num_negatives", 2, "--lists.depth", 5]  # fmt: skip
    run("mine", *options, "--output", tmp_path / "n.tsv", "--training_lists", tmp_path / "lists.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["q0", "q1", "q2"]
    assert all(row["relevance"][0] == 1.0 and len(row["relevance"]) == 3 for row in rows)
    training = '{"use_cpu": true, "num_train_epochs": 2, "learning_rate": 0.05}'
    encoder = ["--encoder", folder / "encoder", "--training", training]
    run("train", "--collection", folder / "c", *encoder, "--loss", "listmle", "--reference", "start",
        "--training_lists", tmp_path / "lists.jsonl", "--output", tmp_path / "trained")  # fmt: skip
    assert SentenceTransformer(str(tmp_path / "trained")).encode("red").shape == (8,)
    capsys.readouterr()
    run("compare", *options, "--losses", "pairwise", "contrastive", "--seeds", 2, *encoder,
        "--measures", "RR@10", "--output", tmp_path / "losses")  # fmt: skip
    assert "| contrastive |" in capsys.readouterr().out
    summary = pd.read_csv(tmp_path / "losses" / "summary.csv").set_index("condition")
    assert summary["seeds"].to_dict() == {"start": 1, "pairwise": 2, "contrastive": 2}
    assert (tmp_path / "losses" / "contrastive" / "seed-1" / "run.trec").exists()
    experiment = pd.read_csv(tmp_path / "losses" / "experiment.csv")
    assert experiment["name"].tolist() == ["start", "pairwise", "contrastive"] * 2
    means = experiment[experiment["name"] == "pairwise"]["RR@10"].mean()
    assert summary["mean"]["pairwise"] == pytest.approx(means)
    assert "RR@10 p-value corrected" in experiment


def test_what_lies_at_a_path_is_measured_anew(folder, tmp_path):
    """A run of the same name, and an encoder that was trained in the meantime."""
    common = ["evaluate", "--collection", folder / "c", "--split", "dev", "--output", tmp_path / "e"]

    def measured(name):
        table = pd.read_csv(tmp_path / "e" / "summary.csv").set_index(["condition", "measure"])["mean"]
        return table[name, "R@1"]

    for found, value in (("p0", 1 / 3), ("p5", 0.0)):
        (tmp_path / "run.trec").write_text(f"q0 Q0 {found} 0 1.0 tag\n")
        run(*common, "--runs", tmp_path / "run.trec")
        assert measured("run") == pytest.approx(value)


def test_deep_measures_are_deep(folder, tmp_path):
    passages = [{"_id": f"d{n}", "title": "", "text": "red apple"} for n in range(150)]
    write_beir(tmp_path / "c")
    with open(tmp_path / "c" / "corpus.jsonl", "a") as file:
        file.write("".join("\n" + json.dumps(row) for row in passages))
    (tmp_path / "c" / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td149\t1\n")
    run("evaluate", "--collection", tmp_path / "c", "--split", "dev", "--measures", "R@100", "R@200",
        "--output", tmp_path / "e")  # fmt: skip
    assert pd.read_csv(tmp_path / "e" / "summary.csv")["mean"].tolist() == [0.0, 1.0]


def test_negatives_that_come_with_a_collection_are_a_source(tmp_path):
    row = {"question": "what is red", "answers": ["apple"],
           "positive_ctxs": [{"passage_id": "1", "title": "", "text": "the apple is red"}],
           "hard_negative_ctxs": [{"passage_id": "2", "title": "", "text": "plum blue plum"}],
           "negative_ctxs": []}  # fmt: skip
    (tmp_path / "nq-train.json").write_text(json.dumps([row]))
    run("mine", "--collection", tmp_path, "--lists.sources", "collection", "--output", tmp_path / "n.tsv",
        "--training_lists", tmp_path / "lists.jsonl")  # fmt: skip
    (line,) = (tmp_path / "lists.jsonl").read_text().splitlines()
    assert json.loads(line)["completions"] == ["the apple is red", "plum blue plum"]


def test_align_iterates(folder, tmp_path, capsys):
    run("align", "--collection", folder / "c", "--encoder", folder / "encoder", "--retriever.iterations", 2,
        "--retriever.depth", 3, "--retriever.output_dir", tmp_path / "run", "--retriever.measures", '["RR@10"]',
        "--retriever.training", '{"use_cpu": true, "disable_tqdm": true}')  # fmt: skip
    assert pd.read_csv(tmp_path / "run" / "summary.csv")["iteration"].tolist() == [0, 1, 2]
    assert "| iteration |" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_options(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, "--help")
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "--collection" in printed
    assert "--config" in printed


def test_bad_input_is_one_clear_line(folder, tmp_path, capsys):
    common = ["--collection", folder / "c", "--split", "dev"]
    (tmp_path / "run.trec").write_text("q9 Q0 p0 0 1.0 tag\n")
    assert "query ids, such as 'q9', are not among the 3 topics" in fails(
        capsys, "evaluate", *common, "--runs", tmp_path / "run.trec", "--output", tmp_path / "e"
    )
    (tmp_path / "run.trec").write_text("q0 Q0 p9 0 1.0 tag\n")
    assert "document 'p9' is not among the 6 passages" in fails(
        capsys,
        "rerank",
        *common,
        "--results",
        tmp_path / "run.trec",
        "--model",
        "x",
        "--output",
        tmp_path / "o",
    )
    assert "no split 'test'; its splits: dev, train" in fails(
        capsys, "search", "--collection", folder / "c", "--split", "test", "--output", tmp_path / "o"
    )
    assert "no encoder 'no-such-model'" in fails(
        capsys, "search", *common, "--system_name", "no-such-model", "--output", tmp_path / "o"
    )
    assert "unknown loss 'dpo'" in fails(
        capsys, "compare", "--collection", folder / "c", "--losses", "dpo", "--output", tmp_path / "o"
    )
    assert "no-such-folder" in fails(
        capsys, "index", "--collection", tmp_path / "no-such-folder", "--index", tmp_path
    )
    assert not (tmp_path / "o").exists()


def test_systems_are_pipelines(folder, tmp_path):
    passages = Passages.build(PASSAGES, tmp_path / "passages")
    assert len(system("bm25 % 1", passages)(TOPICS[1:2])) == 1
    assert len(system("random", passages)(TOPICS[:1])) == 6
    assert system(str(folder / "encoder"), passages)(TOPICS)["docno"].nunique() == 6
    for wrong in ("bm25 % many", "", "bm25 >> "):
        with pytest.raises(ValueError, match="cannot read the system"):
            system(wrong, passages)


def test_list_settings_are_checked():
    with pytest.raises(
        ValueError, match="unknown grades 'best'; choose one of qrels, answers, cross_encoder"
    ):
        ListConfig(grades="best")
    with pytest.raises(ValueError, match="grades by a cross_encoder need one"):
        ListConfig(grades="cross_encoder")
    with pytest.raises(ValueError, match="num_negatives is 0"):
        ListConfig(num_negatives=0)


CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "retrieval").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configurations_that_ship_are_understood(path):
    parser = parser_of("retrieval-bridge", COMMANDS, path.stem.split("_")[0])
    given = yaml.safe_load(path.read_text())
    given.setdefault("collection", "path/to/nq")
    options = parser.parse_object(given)
    assert getattr(options, "output", None) or options.index.startswith("indexes/")


def test_the_configuration_of_the_comparison_is_that_of_the_page():
    given = yaml.safe_load((CONFIGS[0].parent / "compare_losses.yaml").read_text())
    assert tuple(given["losses"]) == studies.LOSSES
    assert given["encoder"] == studies.ENCODER
    assert given["training"] == TRAINING
    assert ListConfig(**given["lists"]) == studies.LISTS
