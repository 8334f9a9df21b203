"""A reward model trained by TRL on graded lists: what it reads, that it learns, and how it is measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
from trl import RewardConfig

from benchmarks.paper.reward_model import (
    LONGEST,
    RANDOM,
    REWARD,
    STUDY,
    SYSTEM,
    lists_of,
    options_of,
    pairs_of,
    ranked,
    start_from,
    tokens_of,
    train,
    trained,
)
from benchmarks.paper.setup import CONFIGS, Setup
from larpo_ir.rewards import RewardModel

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "ask", "good", "bad", *(f"w{number}" for number in range(20))]


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A tiny BERT of random weights with a word-level tokenizer, as a folder to start from."""
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", WORDS.index("[CLS]")), ("[SEP]", WORDS.index("[SEP]"))]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=16,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("start")
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def setup(start, tmp_path_factory) -> Setup:
    """Lists whose grade is the share of "good" among six words; length says nothing."""
    root = tmp_path_factory.mktemp("root")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        goods = rng.permutation(7)[:5]
        texts = []
        for good in goods:
            words = (
                ["good"] * good
                + ["bad"] * (6 - good)
                + [f"w{n}" for n in rng.integers(0, 20, rng.integers(0, 4))]
            )
            texts.append(" ".join(rng.permutation(words)))
        candidates = [
            {"generator": f"system-{n}", "text": text, "win_prob": good / 6}
            for n, (text, good) in enumerate(zip(texts, goods, strict=True))
        ]
        rows.append({"id": f"q{number}", "prompt": f"ask w{number % 20}", "candidates": candidates})
    path = root / "lists.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Setup(
        name="reward_model",
        root=root,
        data={"path": str(path), "num_held_out": 10},
        generator={},
        reward={"class_path": "larpo_ir.rewards.RewardModel", "init_args": {"model": str(start), "max_length": 12}},
        align={},
        fine_tuning={
            "pairs": {"per_list": 8},
            "frozen": ["layer.0."],
            "training": {
                "num_train_epochs": 6, "per_device_train_batch_size": 16, "learning_rate": 3e-3, "bf16": False,
                "use_cpu": True, "gradient_checkpointing": False, "disable_tqdm": True,
            },
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def study(setup, tmp_path_factory):
    return STUDY.run(setup, tmp_path_factory.mktemp("study"), seeds=1)


def test_the_last_lists_are_held_out(setup):
    training, held_out = lists_of(setup, held_out=False), lists_of(setup, held_out=True)
    assert list(training["qid"].unique()) == [f"q{number}" for number in range(30)]
    assert list(held_out["qid"].unique()) == [f"q{number}" for number in range(30, 40)]
    assert all(list(docnos) == sorted(docnos) for _, docnos in held_out.groupby("qid")["docno"])


@pytest.mark.parametrize("num", [0, 40])
def test_held_out_lists_that_leave_nothing_are_refused(setup, num):
    with pytest.raises(ValueError, match=f"has 40 lists; num_held_out is {num}, give 1 to 39"):
        lists_of(replace(setup, data={**setup.data, "num_held_out": num}), held_out=True)


def test_a_missing_file_is_one_line(setup, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl: no such file"):
        lists_of(
            replace(setup, data={"path": str(tmp_path / "none.jsonl"), "num_held_out": 1}), held_out=True
        )


def test_pairs_are_of_one_list_further_apart_than_the_margin_and_drawn_by_seed():
    lists = pd.DataFrame({"qid": list("aaabb"), "score": [0.9, 0.1, 0.4, 0.2, 0.3]})
    assert sorted(pairs_of(lists, 0, per_list=9)) == [(0, 1), (0, 2), (2, 1), (4, 3)]
    assert sorted(pairs_of(lists, 0, per_list=9, margin=0.25)) == [(0, 1), (0, 2), (2, 1)]
    assert len(list(pairs_of(lists, 0, per_list=1))) == 2
    drawn = {tuple(pairs_of(lists, seed, per_list=2)) for seed in range(20)}
    assert len(drawn) > 1
    assert tuple(pairs_of(lists, 3, per_list=2)) in drawn


def test_measures_of_a_perfect_a_reversed_and_a_constant_order():
    rows = {"qid": "q", "query": "?", "docno": list("abc"), "text": list("xyz"), "score": [0.0, 0.5, 1.0]}
    lists = pd.DataFrame(rows)
    assert ranked(lists, [1, 2, 3]).loc["q"].tolist() == pytest.approx([1, 1, 1])
    # grades are percents of the range: 0, 50, 100; reversed, they stand at ranks 1, 2, 3
    reversed_ = (50 / np.log2(3) + 100 / 2) / (100 + 50 / np.log2(3))
    assert ranked(lists, [3, 2, 1]).loc["q"].tolist() == pytest.approx([reversed_, 0, -1])
    assert ranked(lists, [1, 1, 1])["pairwise accuracy"].tolist() == [0.5]


def test_training_reads_what_the_loaded_reward_model_reads(setup, study, start):
    """Both segments, and of a response that is too long its end, by model and tokenizer before and after training."""
    rows = {"query": ["ask w1", "ask w1"], "text": ["good bad", " ".join(f"w{n}" for n in range(20))]}
    lists = pd.DataFrame(rows)
    model, tokenizer = start_from(str(start), seed=0)
    before = tokens_of(RewardModel(model, tokenizer, **options_of(setup)), lists)
    after = tokens_of(RewardModel(trained(setup, 0), **options_of(setup)), lists)
    words = [[WORDS[token] for token in tokens] for tokens in before]
    assert words[0] == ["[CLS]", "ask", "w1", "[SEP]", "good", "bad", "[SEP]"]
    assert words[1] == ["[CLS]", *(f"w{n}" for n in range(10, 20)), "[SEP]"]
    assert after == before


def test_it_learns_what_the_lists_grade(study):
    means = {name: study.per_query(name).mean() for name in study.values}
    assert list(means) == [RANDOM, LONGEST, REWARD, SYSTEM]
    assert means[REWARD]["pairwise accuracy"] > 0.9
    assert means[REWARD]["nDCG@10"] > 0.95
    for name in (LONGEST, SYSTEM):
        assert 0.3 < means[name]["pairwise accuracy"] < 0.7
    assert means[RANDOM]["pairwise accuracy"] == pytest.approx(0.5, abs=0.06)
    assert study.values[REWARD]["qid"].nunique() == 10


def test_frozen_parameters_stay_as_they_were(setup, study, start):
    before = BertModel.from_pretrained(start).state_dict()
    after = BertModel.from_pretrained(trained(setup, 0)).state_dict()
    moved = {name for name in after if not after[name].equal(before[name])}
    assert not any("layer.0." in name for name in moved)
    assert "encoder.layer.1.output.dense.weight" in moved


def test_what_is_there_is_not_trained_again(setup, study):
    weights = trained(setup, 0) / "model.safetensors"
    before = weights.stat().st_mtime_ns
    train(setup, 0)
    assert weights.stat().st_mtime_ns == before
    other = replace(setup, fine_tuning={**setup.fine_tuning, "frozen": []})
    assert trained(other, 0) != trained(setup, 0)


@pytest.mark.parametrize("scale", ["tiny", "paper"])
def test_training_options_are_those_of_trl(scale, tmp_path):
    setup = Setup.load("reward_model", scale, tmp_path)
    options = {
        **setup.fine_tuning["training"],
        "bf16": False,
        "use_cpu": True,
    }  # bf16 is refused without a GPU
    assert RewardConfig(output_dir=str(tmp_path), **options).center_rewards_coefficient == 0.01
    assert set(setup.fine_tuning["pairs"]) <= {"per_list", "margin"}
    same = yaml.safe_load((CONFIGS / "alpacaeval_pool.yaml").read_text())
    assert (setup.data["path"], setup.data["num_held_out"]) == (same["lists"], same["num_held_out"])


def test_recorded_lists_of_alpacaeval(shared, tmp_path):
    setup = Setup.load("reward_model", "tiny", tmp_path)
    path = str(shared / "data" / "alpacaeval_pool" / "pool.jsonl")
    setup = replace(setup, data={**setup.data, "path": path})
    training, held_out = lists_of(setup, held_out=False), lists_of(setup, held_out=True)
    assert (training["qid"].nunique(), held_out["qid"].nunique()) == (120, 40)
    assert not set(training["qid"]) & set(held_out["qid"])
    assert len(held_out) == 628
    # docs/alpacaeval_pool.md: longest first has nDCG@10 0.682 and τ 0.436 on these lists
    longest = ranked(held_out, held_out["text"].str.len()).mean()
    assert longest["nDCG@10"] == pytest.approx(0.682, abs=5e-4)
    assert longest["Kendall τ"] == pytest.approx(0.436, abs=5e-4)
