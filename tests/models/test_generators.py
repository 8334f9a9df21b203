"""The generator: what it returns, what it samples from, and that its log-probabilities are those of scoring."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch
from ir_measures import Success, nDCG
from scipy import stats

from larpo_ir.data.results import docno_of
from larpo_ir.evaluation.measures import Pass, evaluate_per_query, judge, strictly_ordered
from larpo_ir.models.generators import RESULT_TYPES, Drawn, Generator, ResponseGenerator
from larpo_ir.models.scoring import score_lists
from larpo_ir.models.tokenization import TokenizedList, tokenize_lists, tokenize_prompts
from larpo_ir.rewards import LogProb, MajorityVote, RewardModel, VerifiableReward
from tests.small_models import (
    CHAT_TEMPLATE,
    make_model,
    make_reward_model,
    make_sentencepiece_tokenizer,
    make_stopping_model,
    make_tokenizer,
)

TOPICS = pd.DataFrame(
    {"qid": ["q1", "q2", "q3"], "query": ["ab the 4", "x", "12 12 12 the"], "gold": ["4", None, "é"]}
)
COLUMNS = ["qid", "query", "gold", *RESULT_TYPES]
MANY = pd.DataFrame(
    {"qid": [f"q{i}" for i in range(5)], "query": ["ab the 4", "x", "12 12 12", "x the", "b"]}
)


def make_generator(model=None, tokenizer=None, **options):
    options = {"num_candidates": 6, "max_new_tokens": 7, "batch_size": 5, **options}
    return Generator(model or make_stopping_model(), tokenizer or make_tokenizer(bos=True), **options)


def scores_of(generator, results):
    """log π of `token_ids`, scored one list a query."""
    prompts = dict(
        zip(TOPICS["qid"], tokenize_prompts(generator.tokenizer, generator.prompts(TOPICS)), strict=True)
    )
    groups = results.groupby("qid", sort=False)
    lists = [TokenizedList(prompts[qid], group["token_ids"].tolist()) for qid, group in groups]
    with torch.no_grad():
        scores = score_lists(generator.model, lists)
    return [
        value for row, (_, group) in zip(scores.tolist(), groups, strict=True) for value in row[: len(group)]
    ]


# What it returns


def test_columns_and_rows():
    results = make_generator()(TOPICS)
    assert list(results.columns) == COLUMNS
    assert results["qid"].tolist() == ["q1"] * 6 + ["q2"] * 6 + ["q3"] * 6
    assert results["rank"].tolist() == [0, 1, 2, 3, 4, 5] * 3
    assert results["score"].tolist() == [0.0, -1.0, -2.0, -3.0, -4.0, -5.0] * 3
    assert not np.signbit(results["score"][0])
    merged = results[["qid", "query", "gold"]].drop_duplicates().reset_index(drop=True)
    pd.testing.assert_frame_equal(merged, TOPICS)
    assert results["docno"].tolist() == [
        docno_of(*row) for row in results[["query", "text"]].itertuples(index=False)
    ]
    kinds = {name: results[name].dtype.kind for name in RESULT_TYPES}
    assert {name: kinds[name] for name in ("score", "rank", "logprob", "num_tokens", "temperature", "finished")} == {
        "score": "f", "rank": "i", "logprob": "f", "num_tokens": "i", "temperature": "f", "finished": "b"
    }  # fmt: skip
    assert all(isinstance(ids, list) and all(type(i) is int for i in ids) for ids in results["token_ids"])
    assert (results["temperature"] == 1.0).all()
    assert (results["logprob"] < 0).all()


def test_eos_ends_a_response_and_is_no_text():
    generator = make_generator(num_candidates=20)
    results = generator(TOPICS)
    eos = generator.tokenizer.eos_token_id
    assert 10 < results["finished"].sum() < 50  # both kinds are there
    assert results["num_tokens"].tolist() == results["token_ids"].map(len).tolist()
    for row in results.itertuples():
        assert (eos in row.token_ids) == row.finished
        if row.finished:
            assert row.token_ids.index(eos) == len(row.token_ids) - 1 < 7
        else:
            assert row.num_tokens == 7
        body = row.token_ids[:-1] if row.finished else row.token_ids
        assert row.text == generator.tokenizer.decode(body)
        assert "</s>" not in row.text
    assert (results["text"][results["num_tokens"] == 1] == "").any()  # EOS at once is an empty response


def test_one_token_at_most():
    results = make_generator(max_new_tokens=1)(TOPICS)
    assert (results["num_tokens"] == 1).all()
    assert len(set(results["token_ids"].map(tuple))) > 3


def test_the_same_response_drawn_twice_is_two_rows_of_one_document():
    results = make_generator(num_candidates=30, temperature=0.3, max_new_tokens=2)(TOPICS)
    assert results.groupby("qid").size().tolist() == [30, 30, 30]
    repeated = results[results.duplicated(["qid", "text"], keep=False)]
    assert len(repeated) > 10
    assert (repeated.groupby(["qid", "text"])["docno"].nunique() == 1).all()
    assert results.groupby(["qid", "docno"])["text"].nunique().max() == 1


def test_columns_of_topics_are_carried_over_and_results_replaced():
    topics = TOPICS.assign(vector=[[1], [2], [3]], text="old", score=9.0, docno="d", rank=5)
    topics.index = [7, 7, 2]
    results = make_generator()(topics)
    assert list(results.columns) == ["qid", "query", "gold", "vector", *RESULT_TYPES]
    pd.testing.assert_frame_equal(results.drop(columns="vector"), make_generator()(TOPICS))
    assert results["vector"].tolist() == [[1]] * 6 + [[2]] * 6 + [[3]] * 6
    assert list(topics.columns) == [*TOPICS.columns, "vector", "text", "score", "docno", "rank"]  # left alone


def test_ids_become_strings_and_repeated_queries_are_asked_once():
    topics = pd.DataFrame({"qid": [3, 1, 3], "query": ["ab the 4", "x", "ab the 4"]})
    results = make_generator()(topics)
    assert results["qid"].tolist() == ["3"] * 6 + ["1"] * 6


def test_no_topics_give_no_results():
    for frame in (TOPICS.iloc[:0], pd.DataFrame({"qid": [], "query": [], "gold": []})):
        for generator in (
            make_generator(),
            make_generator(temperature=0),
            make_generator(temperature=[0.5, 1]),
        ):
            results = generator(frame)
            assert list(results.columns) == COLUMNS
            assert results.empty
            full = generator(TOPICS)
            assert results[[*RESULT_TYPES]].dtypes.equals(full[[*RESULT_TYPES]].dtypes)
    assert (make_generator() % 2 >> LogProb())(TOPICS.iloc[:0]).empty


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"a generator needs the column\(s\) query; the frame has qid, text"):
        make_generator()(pd.DataFrame({"qid": ["1"], "text": ["x"]}))
    with pytest.raises(ValueError, match=r"needs the column\(s\) qid, query"):
        make_generator()(pd.DataFrame())


# What it samples from


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.5, 0, (0.4, 1.3)])
@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2", "gpt2", "bloom", "opt"])
def test_log_probabilities_are_those_of_scoring_at_temperature_one(architecture, temperature):
    generator = make_generator(make_stopping_model(architecture), temperature=temperature)
    results = generator(TOPICS)
    assert results["logprob"].tolist() == pytest.approx(scores_of(generator, results), rel=1e-5, abs=2e-4)


def test_log_probabilities_of_chats():
    generator = make_generator(tokenizer=make_tokenizer(chat_template=CHAT_TEMPLATE), chat=True)
    results = generator(TOPICS)
    assert results["logprob"].tolist() == pytest.approx(scores_of(generator, results), rel=1e-5, abs=2e-4)


def test_padding_tokens_can_be_sampled():
    generator = make_generator(num_candidates=100, temperature=50.0)  # nearly uniform
    results = generator(TOPICS)
    sampled = results["token_ids"].map(lambda ids: generator.tokenizer.pad_token_id in ids)
    assert sampled.sum() > 2
    assert results["logprob"].tolist() == pytest.approx(scores_of(generator, results), rel=1e-5, abs=2e-4)


@pytest.mark.parametrize("settings", [{}, {"top_k": 2}, {"temperature": 0.1}])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_tokens_are_drawn_from_the_softmax_of_the_logits(temperature, settings):
    model, draws = make_model(), 4000
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    generator = Generator(
        model, make_tokenizer(bos=True), num_candidates=draws, temperature=temperature, max_new_tokens=1,
        batch_size=2 * draws,
    )  # fmt: skip
    results = generator(TOPICS[:2])  # prompts of two lengths in one batch
    for qid, query in zip(TOPICS["qid"][:2], TOPICS["query"][:2], strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([generator.tokenizer(query)["input_ids"]])).logits[0, -1].double()
        expected = (logits / temperature).softmax(-1).numpy()
        tokens = results.loc[results["qid"] == qid, "token_ids"].str[0]
        share = np.bincount(tokens, minlength=len(expected)) / draws
        error = 5 * np.sqrt(expected * (1 - expected) / draws) + 2 / draws
        assert (np.abs(share - expected) < error).all()
        assert expected.max() < 0.7  # more than one token has a chance
        at_one = logits.log_softmax(-1).numpy()[tokens]
        assert results.loc[results["qid"] == qid, "logprob"].to_numpy() == pytest.approx(at_one, abs=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "gpt2", "bloom", "opt"])
def test_greedy_decoding_is_that_of_generate(architecture):
    generator = make_generator(make_stopping_model(architecture), temperature=0, max_new_tokens=12)
    results = generator(TOPICS)
    assert len(results) == 3  # one each, whatever num_candidates
    assert (results["temperature"] == 0).all()
    for row in results.itertuples():
        prompt = torch.tensor([generator.tokenizer(row.query)["input_ids"]])
        expected = generator.model.generate(prompt, do_sample=False, max_new_tokens=12, pad_token_id=2)
        assert row.token_ids == expected[0, prompt.shape[1] :].tolist()


SETTINGS = {
    "top_k": 1, "top_p": 0.1, "min_p": 0.5, "typical_p": 0.2, "epsilon_cutoff": 0.1, "eta_cutoff": 0.1,
    "temperature": 0.01, "do_sample": True, "repetition_penalty": 5.0, "no_repeat_ngram_size": 1,
    "min_new_tokens": 7, "max_new_tokens": 2, "max_length": 4, "num_beams": 3, "num_return_sequences": 2,
    "suppress_tokens": list(range(3, 200)), "begin_suppress_tokens": list(range(3, 200)),
    "bad_words_ids": [[token] for token in range(3, 200)], "forced_eos_token_id": 1, "stop_strings": ["a"],
    "exponential_decay_length_penalty": [1, 9.0], "return_dict_in_generate": True, "use_cache": False,
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_the_models_own_generation_settings_have_no_influence(name):
    for temperature in (1.0, 0):
        generator = make_generator(temperature=temperature)
        expected = generator(TOPICS)
        settings = generator.model.generation_config
        setattr(settings, name, SETTINGS[name])
        pd.testing.assert_frame_equal(generator(TOPICS), expected)
        assert generator.model.generation_config is settings
        assert getattr(settings, name) == SETTINGS[name]


def test_several_end_tokens():
    expected = make_generator(max_new_tokens=30)(TOPICS)
    generator = make_generator(max_new_tokens=30)
    ends = list(range(50, 120))
    generator.model.generation_config.eos_token_id = ends
    results = generator(TOPICS)
    assert results["finished"].all()
    for ids in results["token_ids"]:
        assert ids[-1] in [1, *ends]
        assert not {1, *ends} & set(ids[:-1])
    last = results["token_ids"].str[-1]
    assert set(last) - {1}  # others than the tokenizer's ended some
    assert (results["num_tokens"] <= expected["num_tokens"]).mean() > 0.5
    assert results["logprob"].tolist() == pytest.approx(scores_of(generator, results), rel=1e-5, abs=2e-4)


def test_no_end_token():
    generator = make_generator(tokenizer=make_tokenizer(bos=True, eos_token=None))
    generator.model.generation_config.eos_token_id = None
    results = generator(TOPICS)
    assert not results["finished"].any()
    assert (results["num_tokens"] == 7).all()
    assert results["logprob"].tolist() == pytest.approx(scores_of(generator, results), rel=1e-5, abs=2e-4)


def test_several_temperatures_are_dealt_in_turn():
    generator = make_generator(num_candidates=7, temperature=[0.2, 1.0, 0])
    results = generator(TOPICS)
    assert results["temperature"].tolist() == [0.2, 1.0, 0.0, 0.2, 1.0, 0.0, 0.2] * 3
    greedy = make_generator(temperature=0)(TOPICS)
    cold = results[results["temperature"] == 0].groupby("qid")["text"].agg(set)
    assert cold.tolist() == [{text} for text in greedy["text"]]
    assert (
        make_generator(temperature=(0.5,)).temperatures
        == make_generator(temperature=0.5).temperatures
        == [0.5]
    )
    assert make_generator(temperature=np.array([0.5, 2])).temperatures == [0.5, 2.0]


# Randomness


def test_equal_seeds_give_equal_responses():
    results = make_generator(seed=3)(TOPICS)
    torch.manual_seed(99)
    pd.testing.assert_frame_equal(make_generator(seed=3)(TOPICS), results)
    for seed in (0, 4, -1, 2**70):
        assert make_generator(seed=seed)(TOPICS)["text"].tolist() != results["text"].tolist()
    same = TOPICS.assign(query="the 4")
    assert make_generator()(same)["text"].nunique() > 9  # queries draw differently, and so do draws


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "bloom"])
def test_responses_do_not_depend_on_what_they_are_drawn_with(architecture):
    """The same with any batch size, more draws, other topics, another order."""
    model, topics = make_stopping_model(architecture), TOPICS.assign(query=["ab the 4", "x", "x"])
    options = {"temperature": [1.0, 0.5, 0], "max_new_tokens": 12}
    expected = make_generator(model, **options)(topics)

    def check(results, rows):
        rows = rows.reset_index(drop=True)
        exact = [name for name in COLUMNS if name != "logprob"]
        pd.testing.assert_frame_equal(results[exact], rows[exact])
        assert results["logprob"].tolist() == pytest.approx(rows["logprob"].tolist(), rel=1e-5, abs=2e-4)

    for batch_size in (1, 2, 64):
        check(make_generator(model, batch_size=batch_size, **options)(topics), expected)
    generator = make_generator(model, **options)
    check(generator(topics[1:2]), expected[6:12])
    check(generator(topics[::-1]), expected.iloc[[*range(12, 18), *range(6, 12), *range(6)]])
    check(generator.replace(num_candidates=2)(topics), expected[expected["rank"] < 2])
    longer = generator.replace(max_new_tokens=20)(topics)["token_ids"]
    assert [ids[:12] for ids in longer] == expected["token_ids"].tolist()
    second, third = expected[6:12], expected[12:]  # the same prompt: other draws, but for the greedy ones
    assert [a == b for a, b in zip(second["text"], third["text"], strict=True)] == [False, False, True] * 2


PROCESS = """
import os, sys
import larpo_ir.models.decoding as decoding
from larpo_ir.models.distributed import gather_shares, is_sharded, share
from tests.launched import leave
from tests.models.test_generators import MANY, make_generator

folder, rank, decode, sizes = sys.argv[1], int(os.environ["RANK"]), decoding.decode, []
decoding.decode = lambda model, prompts, *rest, **options: (
    sizes.append(len(prompts)), decode(model, prompts, *rest, **options))[1]

generator = make_generator(f"{folder}/model")
generator(MANY).to_parquet(f"{folder}/{rank}.parquet")
assert sum(sizes) == [18, 12][rank], sizes  # 3 of 5 prompts, 2 of 5, 6 responses each
assert generator(MANY[:0]).empty
assert len(generator(MANY[:1])) == 6

mine = share(range(7))
assert mine == [[0, 2, 4, 6], [1, 3, 5]][rank]
assert gather_shares([i * 10 for i in mine], total=7) == [0, 10, 20, 30, 40, 50, 60]
try:
    gather_shares(mine, total=8)
except ValueError as error:
    assert str(error).startswith("2 processes returned 7 results for 8 items")
else:
    raise SystemExit("no error")

from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

assert not is_sharded(generator.model)
fully_shard(generator.model, mesh=init_device_mesh("cpu", (2,)))
assert is_sharded(generator.model)
sizes.clear()
generator(MANY).to_parquet(f"{folder}/sharded-{rank}.parquet")
assert sum(sizes) == 30
leave()
"""


def test_several_processes_share_the_prompts(tmp_path):
    """What accelerate and torchrun start: every process returns what one process alone returns."""
    make_stopping_model().save_pretrained(tmp_path / "model")
    (tmp_path / "process.py").write_text(PROCESS)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "process.py", "."]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *command], check=True, cwd=tmp_path, env=environment, timeout=120)
    alone = make_generator()(MANY)
    for name in ("0", "1", "sharded-0", "sharded-1"):
        results = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert results["qid"].tolist() == alone["qid"].tolist()
        assert results["token_ids"].map(list).tolist() == alone["token_ids"].tolist()
        assert results["docno"].tolist() == alone["docno"].tolist()
        assert results["logprob"].tolist() == pytest.approx(alone["logprob"].tolist(), rel=1e-5, abs=2e-4)


def test_the_callers_random_state_is_left_alone():
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    make_generator()(TOPICS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_left_alone(training):
    generator = make_generator()
    expected = generator(TOPICS)
    generator.model.config.attention_dropout = 0.5
    generator.model.train(training)
    pd.testing.assert_frame_equal(generator(TOPICS), expected)  # no dropout while generating
    assert generator.model.training is training
    assert all(p.requires_grad for p in generator.model.parameters())
    settings = generator.model.generation_config
    generator.model.forward = lambda input_ids, past_key_values, **options: (_ for _ in ()).throw(
        KeyboardInterrupt
    )
    with pytest.raises(KeyboardInterrupt):
        generator(TOPICS)
    assert generator.model.training is training
    assert generator.model.generation_config is settings


def test_adapters():
    from peft import LoraConfig, get_peft_model

    base = make_stopping_model()
    base.generation_config.top_k = 1
    settings = base.generation_config
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=True))
    generator = make_generator(model)
    pd.testing.assert_frame_equal(
        generator(TOPICS), make_generator()(TOPICS)
    )  # a fresh adapter changes nothing
    assert base.generation_config is settings


# Prompts


def test_prompts_of_their_own_are_read_instead_of_the_query():
    generator = make_generator()
    results = generator(TOPICS.assign(prompt=TOPICS["query"], query=["one", "two", "three"]))
    expected = generator(TOPICS)
    assert results["text"].tolist() == expected["text"].tolist()
    assert results["query"].unique().tolist() == ["one", "two", "three"]
    assert results["docno"][0] == docno_of("one", results["text"][0])
    assert results["prompt"].unique().tolist() == TOPICS["query"].tolist()


def test_chats():
    tokenizer = make_tokenizer(chat_template=CHAT_TEMPLATE)
    system = [{"role": "system", "content": "12"}]
    for options, before in (({}, []), ({"system": "12"}, system)):
        generator = make_generator(tokenizer=tokenizer, chat=True, **options)
        results = generator(TOPICS)
        chats = [[*before, {"role": "user", "content": query}] for query in TOPICS["query"]]
        plain = make_generator(tokenizer=tokenizer, chat=False)
        pd.testing.assert_frame_equal(results, plain(TOPICS.assign(prompt=chats)))
        rendered = [
            "<|system|>12</s>" * bool(before) + f"<|user|>{q}</s><|assistant|>" for q in TOPICS["query"]
        ]
        same = plain(TOPICS.assign(prompt=rendered))
        assert results["token_ids"].tolist() == same["token_ids"].tolist()
    assert generator.prompt("x") == [*system, {"role": "user", "content": "x"}]
    assert make_generator().prompt("x") == "x"


def test_prompts_that_do_not_fit_are_named():
    generator = make_generator(max_new_tokens=100)
    topics = pd.DataFrame(
        {"qid": ["fits", "long", "longer"], "query": ["z" * 27, "z" * 28, "z" * 500]}, index=[4, 2, 9]
    )
    fits = generator.fits(topics)
    assert fits.to_dict() == {4: True, 2: False, 9: False}  # with BOS 28 + 100 is the context
    assert generator(topics[fits])["qid"].unique().tolist() == ["fits"]
    with pytest.raises(
        ValueError, match=r"the prompt of query long has 29 tokens: .* context of 128; drop it"
    ) as error:
        generator(topics)
    assert "\n" not in str(error.value)
    assert generator.fits(topics[:0]).dtype == bool
    unlimited = generator.replace(model=make_stopping_model("bloom"))
    assert unlimited.fits(topics).all()


def test_empty_prompts():
    topics = TOPICS.assign(query=["", "x", "12"])
    assert len(make_generator()(topics)) == 18  # BOS alone
    with pytest.raises(
        ValueError, match="the prompt of query q1 is empty and the tokenizer has no BOS token"
    ):
        make_generator(tokenizer=make_tokenizer())(topics)


@pytest.mark.parametrize(
    "tokenizer",
    [
        make_tokenizer(),
        *(make_sentencepiece_tokenizer(prepend=prepend) for prepend in ("always", "first", "never")),
    ],
)
def test_texts_are_continuations_of_their_prompts(tokenizer):
    generator, texts = (
        make_generator(tokenizer=tokenizer),
        [" 4", "4", "is x", "\n\n", "é 4", "日", "", "a</s>"],
    )
    for prompt in ("Q: ", "Q:", "é", "日本", "x\n"):
        (one,) = tokenize_lists(tokenizer, [prompt], [texts], append_eos=False)
        assert generator._decode(one.completion_ids) == texts


# Options


def test_options_can_be_replaced():
    generator = make_generator(name="mine")
    other = generator.replace(num_candidates=2, seed=8)
    assert (other.num_candidates, other.seed, other.name) == (2, 8, "mine")
    assert (generator.num_candidates, generator.seed) == (6, 0)
    assert other.model is generator.model
    assert generator.replace(temperature=0).name == "Generator(T=0)"
    assert generator.replace(temperature=0, name="greedy").name == "greedy"
    with pytest.raises(
        ValueError,
        match="a generator has no option 'temprature'; it has model, tokenizer, batch_size, num_cand",
    ):
        generator.replace(temprature=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_candidates": 0}, "num_candidates must be at least 1, got 0"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"batch_size": -3}, "batch_size must be at least 1, got -3"),
        ({"temperature": -0.5}, "temperature must be one or several numbers of at least 0, got -0.5"),
        ({"temperature": []}, "temperature must be one or several numbers of at least 0, got []"),
        ({"temperature": [1.0, float("nan")]}, "temperature must be one or several numbers of at least 0"),
        ({"temperature": float("inf")}, "temperature must be one or several numbers of at least 0, got inf"),
        ({"chat": True}, "chat=True needs a tokenizer with a chat template; this one has none"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_generator(**options)
    with pytest.raises(ValueError, match=re.escape(message)):
        make_generator().replace(**options)


def test_models_can_be_loaded_from_a_path(tmp_path):
    make_stopping_model().save_pretrained(tmp_path)
    make_tokenizer(bos=True).save_pretrained(tmp_path)
    generator = Generator(str(tmp_path), num_candidates=6, max_new_tokens=7, batch_size=5)
    pd.testing.assert_frame_equal(generator(TOPICS), make_generator()(TOPICS))


def test_folders_without_a_model_are_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"^Generator: cannot load missing/folder: no such folder, and nothing of"
    ):
        Generator("missing/folder")
    make_tokenizer().save_pretrained(tmp_path)
    message = f"^Generator: cannot load {tmp_path}: not a folder that save_pretrained filled for AutoModelForCausalLM"
    with pytest.raises(ValueError, match=message) as error:
        Generator(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(
        ValueError, match=r"^Generator: give the tokenizer that LlamaForCausalLM was trained with$"
    ):
        Generator(make_stopping_model())


def test_a_generator_is_its_responses():
    """What a subclass need not do."""

    class Reversed(ResponseGenerator):
        def respond(self, topics):
            assert topics["qid"].tolist() == ["3", "1"]
            return [
                Drawn(f"{p[::-1]} {n}", -1.5, None, True, None)
                for p in self.prompts(topics)
                for n in range(3)
            ]

    topics = pd.DataFrame({"qid": [3, 1, 3], "query": ["ab", "xy", "ab"], "gold": [1, 2, 1], "text": "old"})
    results = Reversed(num_candidates=3, temperature=[0.5, 1])(topics)
    assert list(results.columns) == COLUMNS
    assert results["qid"].tolist() == ["3"] * 3 + ["1"] * 3
    assert results["text"].tolist() == ["ba 0", "ba 1", "ba 2", "yx 0", "yx 1", "yx 2"]
    assert results["docno"][4] == docno_of("xy", "yx 1")
    assert results["temperature"].tolist() == [0.5, 1.0, 0.5] * 2
    assert results["num_tokens"].isna().all()
    assert (results["logprob"] == -1.5).all()
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        Reversed(max_new_tokens=0)


# As a retriever


def short(text):
    return len(text) < 6


def test_pipelines():
    generator = make_generator()
    everything = generator(TOPICS)
    two = (generator % 2)(TOPICS)
    pd.testing.assert_frame_equal(two, everything[everything["rank"] < 2].reset_index(drop=True))
    best = (generator % 4 >> VerifiableReward(short) % 1)(TOPICS)
    drawn = everything[everything["rank"] < 4]
    assert best["score"].tolist() == [
        float(any(map(short, group["text"]))) for _, group in drawn.groupby("qid")
    ]
    assert {"gold", "logprob", "token_ids"} <= set(best.columns)
    likely = (generator >> LogProb())(TOPICS)
    assert likely["score"].tolist() == likely["logprob"].tolist()
    assert likely.groupby("qid")["score"].agg(lambda scores: scores.is_monotonic_decreasing).all()


def test_checks_before_running():
    generator = make_generator(name="policy")
    assert repr(generator) == "policy"
    assert (
        str(generator % 2 >> VerifiableReward(short))
        == "(policy >> RankCutoff(2) >> VerifiableReward(short))"
    )
    assert pt.inspect.transformer_inputs(generator) == [["qid", "query"]]
    assert pt.inspect.transformer_outputs(generator, ["qid", "query", "gold"]) == COLUMNS
    names = {attribute.name for attribute in pt.inspect.transformer_attributes(generator)}
    assert names == {
        "model",
        "tokenizer",
        *[
            "num_candidates",
            "temperature",
            "max_new_tokens",
            "seed",
            "batch_size",
            "chat",
            "system",
            "few_shot",
        ],
        *["prompt_format", "stop", "name"],
    }
    with pytest.raises(pt.validate.InputValidationError):
        pt.inspect.transformer_outputs(generator >> VerifiableReward(short), ["qid"])


def test_experiment_beside_greedy_and_majority_vote():
    queries = [f"{a} the {b}" for a in range(5) for b in "abxy"]
    topics = pd.DataFrame({"qid": [f"t{i:02d}" for i in range(20)], "query": queries})
    sampler = make_generator(num_candidates=10, max_new_tokens=4, batch_size=64)
    reward = RewardModel(make_reward_model(), make_tokenizer(bos=True))
    ordered = pt.apply.generic(strictly_ordered)
    systems = {
        "greedy": sampler.replace(temperature=0) >> ordered,
        "majority of 8": sampler % 8 >> MajorityVote(lambda text: text[:1] or None) >> ordered,
        "best of 8": sampler % 8 >> reward >> ordered,
    }
    runs = {name: system(topics) for name, system in systems.items()}
    rewards = judge(list(runs.values()), reward, grades=100)
    qrels = rewards.assign(label=(rewards["label"] >= rewards["label"].quantile(0.8)).astype(int))
    measures = [nDCG @ 10, Success @ 1, Pass @ 1]
    table = pt.Experiment(systems, topics, qrels, measures, baseline=0, correction="holm").set_index("name")

    assert list(table.index) == list(systems)
    per_query = {name: evaluate_per_query(run, qrels, measures) for name, run in runs.items()}
    for measure in map(str, measures):
        p_values = []
        for name in systems:
            assert table.loc[name, measure] == pytest.approx(per_query[name][measure].mean(), abs=1e-6)
            if name != "greedy":
                test = stats.ttest_rel(per_query["greedy"][measure], per_query[name][measure])
                p_values.append(table.loc[name, f"{measure} p-value"])
                assert p_values[-1] == pytest.approx(test.pvalue, rel=1e-3)
        corrected = table.loc[["majority of 8", "best of 8"], f"{measure} p-value corrected"].tolist()
        order = np.argsort(p_values)
        first = min(1.0, 2 * p_values[order[0]])
        assert corrected[order[0]] == pytest.approx(first)
        assert corrected[order[1]] == pytest.approx(max(first, p_values[order[1]]))
    assert table.loc["majority of 8", "Pass@1"] == pytest.approx(
        table.loc["best of 8", "Pass@1"]
    )  # same samples
    # The best of eight is good whenever one of them is, which is what Pass@8 asks.
    best = pt.Experiment([sampler % 8 >> reward], topics, qrels, [Success @ 1, Pass @ 8])
    assert best["Success@1"][0] == pytest.approx(best["Pass@8"][0])
    assert table.loc["best of 8", "Success@1"] > table.loc["greedy", "Success@1"] + 0.2
    assert table.loc["best of 8", "Success@1 p-value corrected"] < 0.05
    assert table.loc["best of 8", "Success@1 reject"]
