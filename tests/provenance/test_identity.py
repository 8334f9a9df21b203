"""A run is what it was made from: whatever differs is one line that names it, and nothing is written over."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from larpo_ir import (
    AlignConfig,
    CandidatePool,
    Generator,
    LogProb,
    MajorityVote,
    PairwiseRewardModel,
    RewardEnsemble,
    RewardModel,
    VerifiableReward,
    align,
)
from larpo_ir.cli import main
from larpo_ir.data.digests import difference, digest_rows
from larpo_ir.models.policies import SmallPolicy
from larpo_ir.provenance.identity import identity
from larpo_ir.rewards import Reranker
from larpo_ir.tasks.gsm8k import is_correct
from tests import rules_of_a_user
from tests.small_models import CHAT_TEMPLATE, make_model, make_reward_model, make_tokenizer

SIGN = 1


def signed(text: str) -> float:
    return SIGN * len(text)


def through_a_helper(text: str) -> float:
    return signed(text)


def longer(text: str) -> float:
    return float(len(text))


def shorter(text: str) -> float:
    return -float(len(text))


def scaled(factor: float):
    return VerifiableReward(lambda text: factor * len(text))


class Stateful(Reranker):
    """Counts what it scored, in a number, and keeps it, in a list."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor, self.calls, self.seen = factor, 0, []

    def score(self, results: pd.DataFrame):
        self.calls += 1
        self.seen.append(len(results))
        return self.factor * results["text"].str.len()


DIFFERENT = [
    (lambda: VerifiableReward(longer), lambda: VerifiableReward(shorter)),
    (lambda: VerifiableReward(lambda text: len(text)), lambda: VerifiableReward(lambda text: -len(text))),
    (lambda: scaled(1.0), lambda: scaled(-1.0)),
    (
        lambda: VerifiableReward(functools.partial(max, 1)),
        lambda: VerifiableReward(functools.partial(max, 2)),
    ),
    (lambda: Stateful(1.0), lambda: Stateful(2.0)),
    (lambda: MajorityVote(), lambda: MajorityVote(str.strip)),
    (
        lambda: RewardEnsemble(VerifiableReward(longer), VerifiableReward(is_correct), weights=[1, 2]),
        lambda: RewardEnsemble(VerifiableReward(longer), VerifiableReward(is_correct), weights=[2, 1]),
    ),
    (
        lambda: PairwiseRewardModel(lambda q, a, b: [0.5] * len(a)),
        lambda: PairwiseRewardModel(lambda q, a, b: [0.5] * len(a), comparisons=0.5),
    ),
    (
        lambda: RewardModel(make_reward_model(0), make_tokenizer()),
        lambda: RewardModel(make_reward_model(1), make_tokenizer()),
    ),
    (
        lambda: RewardModel(make_reward_model(), make_tokenizer()),
        lambda: RewardModel(make_reward_model(), make_tokenizer(chat_template=CHAT_TEMPLATE)),
    ),
    (
        lambda: RewardModel(make_reward_model(), make_tokenizer(), template="{}{}".format),
        lambda: RewardModel(make_reward_model(), make_tokenizer(), template="{} {}".format),
    ),
    (lambda: LogProb(), lambda: LogProb(per_token=True)),
    (
        lambda: Generator(make_model(), make_tokenizer()) % 2 >> MajorityVote(),
        lambda: Generator(make_model(), make_tokenizer()) % 3 >> MajorityVote(),
    ),
    (lambda: pd.DataFrame({"gold": [1]}), lambda: pd.DataFrame({"gold": [2]})),
    (
        lambda: pd.DataFrame({"prompt": [[{"role": "user"}]]}),
        lambda: pd.DataFrame({"prompt": [[{"role": "tool"}]]}),
    ),
    (lambda: {str(n): n for n in range(99)}, lambda: {str(n): -n for n in range(99)}),
    (lambda: np.zeros(3), lambda: np.ones(3)),
    (lambda: torch.zeros(3), lambda: torch.ones(3)),
    (lambda: re.compile("a"), lambda: re.compile("b")),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_equal_things_are_equal_and_others_are_not(one, other):
    assert identity(one()) == identity(one())
    assert difference({"it": identity(one())}, {"it": identity(other())}) is not None
    json.dumps(identity(one()))


def test_a_rule_is_what_it_uses_of_its_module_too(monkeypatch):
    before = identity(VerifiableReward(through_a_helper))
    monkeypatch.setattr("tests.provenance.test_identity.SIGN", -1)
    assert identity(VerifiableReward(through_a_helper)) != before


def test_counters_and_memories_are_no_parameters():
    reward, seen = Stateful(), []
    rule = VerifiableReward(lambda text: seen.append(text) or 1.0)
    before = identity(reward), identity(rule)
    frame = pd.DataFrame({"qid": "q", "query": "q", "docno": ["a"], "text": ["b"]})
    reward(frame), rule(frame)
    assert reward.calls == 1
    assert seen == ["b"]
    assert (identity(reward), identity(rule)) == before


class Lexicon(Reranker):
    """Fills a list and a dict of its own while it reads its parameters."""

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights, self.cache, self.last = dict(weights), {}, None

    def score(self, results: pd.DataFrame):
        found, self.last = [], len(results)
        for text in results["text"]:
            self.cache[text, len(found)] = sum(w * text.count(k) for k, w in self.weights.items())
            found.append(self.cache[text, len(found)])
        return np.array(found, float)


def test_parameters_count_beside_memories():
    frame = pd.DataFrame({"qid": "q", "query": "q", "docno": ["a"], "text": ["b"]})
    one, other = Lexicon({"a": 1, "b": 1}), Lexicon({"a": -1, "b": -1})
    before = identity(one)
    assert before != identity(other)
    one(frame)
    assert identity(one) == before


def test_a_closure_over_parameters_counts_beside_what_the_rule_fills():
    def rule(weights):
        state = {"calls": 0}

        def score(text):
            found = []
            for key, weight in weights.items():
                found.append(weight * text.count(key))
            state["calls"] += 1
            return sum(found)

        return VerifiableReward(score), state

    (one, state), (other, _) = rule({"a": 1}), rule({"a": -1})
    before = identity(one)
    one(pd.DataFrame({"qid": "q", "query": "q", "docno": ["a"], "text": ["b"]}))
    assert state == {"calls": 1}
    assert identity(one) == before != identity(other)


def test_the_code_of_a_user_s_class_and_of_other_modules_counts(monkeypatch):
    def judged(text):
        return (
            rules_of_a_user.base(text)
            + rules_of_a_user.Counter().of(text)
            + sum(rules_of_a_user.weights.values())
        )

    before, of_class = identity(VerifiableReward(judged)), identity(Lexicon({}))
    for place, name, value in (
        (rules_of_a_user, "FACTOR", -1.0),
        (rules_of_a_user, "base", lambda text: -len(text)),
        (rules_of_a_user, "weights", {"a": -1.0}),
        (rules_of_a_user.Counter, "threshold", 4),
        (rules_of_a_user.Counter, "of", lambda self, text: 0.0),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            assert identity(VerifiableReward(judged)) != before, name
    assert identity(VerifiableReward(judged)) == before
    monkeypatch.setattr(Lexicon, "score", lambda self, results: -results["text"].str.len())
    assert identity(Lexicon({})) != of_class


def test_identities_are_the_same_in_another_process():
    """The order of a set follows the hash seed of its process."""
    code = (
        "from larpo_ir import VerifiableReward; from larpo_ir.provenance.identity import identity;"
        "from larpo_ir.tasks.mixeval import chosen_option;"
        "print(identity(VerifiableReward(lambda t: t in {'a', 'b', 'c', 'd'})), identity(chosen_option))"
    )
    said = {
        subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, text=True
        )
        for seed in ("0", "1", "2")
    }
    assert len(said) == 1


def test_all_tokens_that_end_a_response_count():
    one, other = make_model(), make_model()
    other.generation_config.eos_token_id = [1, 20]
    assert identity(one)["weights"] == identity(other)["weights"]
    assert identity(one) != identity(other)


def test_labels_speed_and_secrets_do_not_count(tmp_path):
    from larpo_ir.models.served import OpenAIGenerator

    served = OpenAIGenerator("http://localhost:1/v1", "m", api_key="secret-key", concurrency=1)
    moved = OpenAIGenerator("http://localhost:2/v1", "m", api_key="other", concurrency=9, name="x")
    assert identity(served) == identity(moved)
    assert "secret" not in json.dumps(identity(served))
    reward = make_reward_model()
    one, other = (RewardModel(reward, make_tokenizer(), batch_size=size, name=str(size)) for size in (1, 2))
    assert identity(one) == identity(other)


def test_frames_count_by_value():
    frame = pd.DataFrame({"qid": ["a", "b"], "n": [1, 2], "ids": [[1, 2], None], "t": ["x", None]})
    same = pd.DataFrame(
        {"t": ["x", np.nan], "n": [1.0, 2.0], "ids": [np.array([1, 2]), np.nan], "qid": ["a", "b"]}
    )
    assert digest_rows(frame) == digest_rows(same.set_index([[7, 8]]))
    assert digest_rows(frame) != digest_rows(frame[::-1])
    assert digest_rows(frame) != digest_rows(frame.assign(ids=[[1, 3], None]))


def test_a_tokenizer_counts_by_what_it_does(tmp_path):
    tokenizer = make_tokenizer(chat_template=CHAT_TEMPLATE)
    before = identity(tokenizer)
    tokenizer(["a", "bb"], padding=True, truncation=True, max_length=1)  # leaves traces in it
    assert identity(tokenizer) == before
    tokenizer.save_pretrained(tmp_path)
    from transformers import AutoTokenizer

    assert identity(AutoTokenizer.from_pretrained(tmp_path)) == identity(
        AutoTokenizer.from_pretrained(tmp_path)
    )
    tokenizer.chat_template += " "
    assert identity(tokenizer) == {**before, "template": identity(tokenizer)["template"]} != before


# Alignment


TOPICS = pd.DataFrame({"qid": ["1", "2"], "query": ["xy 1", "xy 2"], "gold": ["a", "b"]})
HELD_OUT = pd.DataFrame({"qid": ["3"], "query": ["xy 3"]})
CHAT_TOPICS = TOPICS.assign(
    prompt=[[{"role": "system", "content": "b"}, {"role": "user", "content": q}] for q in TOPICS["query"]]
)
LISTS = [
    {"id": qid, "prompt": f"xy {qid}", "completions": ["aa", "bb", "cc"], "relevance": [1.0, 0.5, 0.0]}
    for qid in ("1", "2")
]


def reversed_lists() -> list[dict]:
    return [{**row, "relevance": row["relevance"][::-1]} for row in LISTS]


def run(tmp_path, **other):
    """A small alignment, on policy or on recorded lists; `other` says what is different."""
    model, tokenizer = (
        make_model(seed=other.get("model", 0)),
        make_tokenizer(bos=True, **other.get("tokenizer", {})),
    )
    generator = Generator(model, tokenizer, max_new_tokens=4, **other.get("generator", {}))
    training = {"learning_rate": 1e-3, "use_cpu": True, **other.get("training", {})}
    config = AlignConfig(
        str(tmp_path / "run"), "dpo", iterations=1, num_candidates=4, eval_samples=2, training=training,
        **other.get("settings", {}),
    )  # fmt: skip
    recorded = CandidatePool.from_ranked(other.get("lists", LISTS)) if "lists" in other else None
    reward = None if recorded is not None else other.get("reward", VerifiableReward(longer))
    lists = recorded.view() if recorded is not None else None
    held_out = other.get("held_out_lists", lists)
    return align(
        generator, reward, other.get("topics", TOPICS), config, candidates=recorded, eval_lists=held_out,
        eval_prompts=None if recorded is not None else other.get("held_out", HELD_OUT),
    )  # fmt: skip


def held_out_lists(scores: list[float]) -> pd.DataFrame:
    pool = CandidatePool.from_ranked([{**LISTS[0], "id": "9", "relevance": scores}])
    return pool.view()


CHANGES = [
    ({"model": 1}, "policy.weights"),
    ({"tokenizer": {"chat_template": CHAT_TEMPLATE}, "generator": {"chat": False}}, "policy.tokenizer"),
    ({"generator": {"system": "Be brief."}}, "generator"),
    ({"topics": TOPICS.assign(query=["xy 1", "xy 4"])}, "prompts"),
    ({"topics": TOPICS.assign(gold=["a", "c"])}, "prompts"),
    ({"held_out": HELD_OUT.assign(query="xy 4")}, "eval_prompts"),
    ({"held_out": None}, "eval_prompts"),
    ({"reward": VerifiableReward(shorter)}, "reward.fn"),
    ({"reward": RewardModel(make_reward_model(), make_tokenizer())}, "reward"),
    ({"training": {"learning_rate": 2e-3}}, "training"),
    ({"settings": {"seed": 1}}, "seed"),
]


@pytest.mark.parametrize(
    ("change", "name"), CHANGES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_alignment_in_a_folder_of_another_run_is_refused(tmp_path, change, name):
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=rf"holds a different run: {name}.* there and ") as error:
        run(tmp_path, **change)
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    again = run(tmp_path)  # the same run is the same still, and nothing is done anew
    assert len(again.summary["iterations"]) == 2


def test_what_makes_no_difference_is_no_difference(tmp_path):
    """Defaults that are said, settings of speed, and the day, which some templates write into the prompt."""
    run(tmp_path, topics=CHAT_TOPICS, held_out=None, tokenizer={"chat_template": CHAT_TEMPLATE})
    again = run(
        tmp_path, topics=CHAT_TOPICS, held_out=None, tokenizer={"chat_template": CHAT_TEMPLATE},
        training={"append_eos": True, "gradient_checkpointing": True, "dataloader_num_workers": 0},
        settings={"temperatures": [1.0], "objective_parameters": {"beta": 0.1}},
    )  # fmt: skip
    assert len(again.summary["iterations"]) == 2
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("first_prompt: ", "first_prompt: yesterday "))
    run(tmp_path, topics=CHAT_TOPICS, held_out=None, tokenizer={"chat_template": CHAT_TEMPLATE})


def test_a_run_does_not_shrink(tmp_path):
    config = AlignConfig(
        str(tmp_path / "two"), "dpo", iterations=2, num_candidates=4, training={"use_cpu": True}
    )
    align(
        Generator(make_model(), make_tokenizer(bos=True), max_new_tokens=4),
        VerifiableReward(longer),
        TOPICS,
        config,
    )
    before = (tmp_path / "two" / "config.yaml").read_text(), (tmp_path / "two" / "summary.json").read_text()
    config.iterations = 1
    with pytest.raises(ValueError, match="holds a run of more than 1 iterations"):
        align(
            Generator(make_model(), make_tokenizer(bos=True), max_new_tokens=4),
            VerifiableReward(longer), TOPICS, config,
        )  # fmt: skip
    assert (
        (tmp_path / "two" / "config.yaml").read_text(),
        (tmp_path / "two" / "summary.json").read_text(),
    ) == before


def test_recorded_lists_and_held_out_lists_count(tmp_path):
    run(tmp_path, lists=LISTS)
    with pytest.raises(ValueError, match="holds a different run: candidates"):
        run(tmp_path, lists=reversed_lists(), held_out_lists=CandidatePool.from_ranked(LISTS).view())
    with pytest.raises(ValueError, match="holds a different run: eval_lists"):
        run(tmp_path, lists=LISTS, held_out_lists=held_out_lists([1.0, 0.5, 0.0]))


def test_a_system_message_counts(tmp_path):
    options = {"tokenizer": {"chat_template": CHAT_TEMPLATE}, "held_out": None}
    run(tmp_path, topics=CHAT_TOPICS, **options)
    other = CHAT_TOPICS.assign(
        prompt=[[{"role": "system", "content": "c"}, *prompt[1:]] for prompt in CHAT_TOPICS["prompt"]]
    )
    with pytest.raises(ValueError, match=r"holds a different run: (generator|prompts)"):
        run(tmp_path, topics=other, **options)


def test_who_holds_the_aligned_policy_goes_on(tmp_path):
    """In a notebook the same generator, whose model was aligned in place, is aligned again."""
    generator = Generator(make_model(), make_tokenizer(bos=True), max_new_tokens=4)
    config = AlignConfig(
        str(tmp_path / "run"), "dpo", iterations=1, num_candidates=4, eval_samples=2,
        training={"learning_rate": 1e-3, "use_cpu": True},
    )  # fmt: skip
    first = align(generator, VerifiableReward(longer), TOPICS, config)
    again = align(generator, VerifiableReward(longer), TOPICS, config)
    assert again.summary == first.summary
    with torch.no_grad():
        generator.model.lm_head.weight += 1
    with pytest.raises(ValueError, match=r"holds a different run: policy\.weights"):
        align(generator, VerifiableReward(longer), TOPICS, config)


def test_a_small_policy_is_of_its_examples(tmp_path):
    recipe = SmallPolicy(
        vocab_size=300, hidden_size=16, num_layers=1, num_heads=2, sft={"max_steps": 1, "use_cpu": True}
    )
    recipe.train(["a", "b"], ["c", "d"], tmp_path)
    recipe.train(["a", "b"], ["c", "d"], tmp_path)
    with pytest.raises(ValueError, match="holds a policy of another recipe: examples"):
        recipe.train(["a", "b"], ["c", "e"], tmp_path)


# The command line


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(*arguments) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def complaint(capsys) -> str:
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith(("error", "Traceback"))
    ]
    return line


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    for name, model in (
        ("policy", make_model()), ("other", make_model(seed=1)),
        ("reward", make_reward_model()), ("other_reward", make_reward_model(1)),
    ):  # fmt: skip
        model.save_pretrained(directory / name)
        make_tokenizer(bos=True).save_pretrained(directory / name)
    return directory


def test_generate_and_rerank_write_over_nothing(models, tmp_path, capsys):
    topics = write(tmp_path / "topics.jsonl", [{"qid": "1", "query": "xy"}])
    responses, ranked = tmp_path / "responses.parquet", tmp_path / "ranked.jsonl"

    def generate(model="policy", asked=topics, *more):
        return command(
            "generate", "--generator.model", models / model, "--generator.max_new_tokens", 4, "--topics", asked,
            "--generator.num_candidates", 3, "--output", responses, *more,
        )  # fmt: skip

    def rerank(reward="reward"):
        return command(
            "rerank", "--reward", "RewardModel", "--reward.model", models / reward, "--results", responses,
            "--output", ranked,
        )  # fmt: skip

    assert generate() == 0
    written = responses.read_bytes()
    capsys.readouterr()
    assert generate() == 0
    assert "is there already, made from the same" in capsys.readouterr().out
    for arguments, name in (
        (("other",), "generator.model"),
        (("policy", write(tmp_path / "more.jsonl", [{"qid": "1", "query": "yx"}])), "topics"),
        (("policy", topics, "--generator.seed", 1), "generator.seed"),
    ):
        assert generate(*arguments) == 2
        assert f"was made from something else: {name}" in complaint(capsys)
    assert rerank() == 0
    assert rerank("other_reward") == 2
    assert "was made from something else: reward" in complaint(capsys)
    assert responses.read_bytes() == written
    responses.with_name("responses.parquet.config.yaml").unlink()
    assert generate() == 2
    assert "says what it was made from; choose another output" in complaint(capsys)


def test_evaluations_write_over_nothing(tmp_path, capsys):
    (tmp_path / "run.trec").write_text("q Q0 a 0 2 t\nq Q0 b 1 1 t\n")
    (tmp_path / "qrels.trec").write_text("q 0 a 1\n")

    def evaluate():
        return command(
            "evaluate", "--results", tmp_path / "run.trec", "--qrels", tmp_path / "qrels.trec",
            "--measures", "nDCG@10", "--output", tmp_path / "table.csv",
        )  # fmt: skip

    assert evaluate() == 0
    assert evaluate() == 0
    before = (tmp_path / "table.csv").read_text()
    (tmp_path / "qrels.trec").write_text("q 0 b 1\n")
    assert evaluate() == 2
    assert "was made from something else: qrels" in complaint(capsys)
    assert (tmp_path / "table.csv").read_text() == before


@pytest.mark.parametrize("generator", [True, False])
def test_align_on_lists_needs_no_objectives(models, tmp_path, capsys, generator):
    """It wrote its SFT policy into its own folder, and then refused the folder."""
    rows = [{**LISTS[0], "id": str(n), "prompt": f"xy {n}"} for n in range(4)]
    lists = write(tmp_path / "lists.jsonl", rows)
    policy = ["--policy.vocab_size", 300, "--policy.hidden_size", 16, "--policy.num_heads", 2]
    policy += ["--policy.sft", '{"max_steps": 1, "use_cpu": true}']

    def aligned(path):
        return command(
            "align", "--lists", path, "--num_held_out", 1, "--align.output_dir", tmp_path / "run",
            "--align.iterations", 1, "--align.training.use_cpu", "true",
            *(["--generator.model", models / "policy", "--generator.max_new_tokens", 4] if generator else policy),
        )  # fmt: skip

    assert aligned(lists) == 0
    assert (tmp_path / "run" / "summary.json").exists()
    assert aligned(lists) == 0
    capsys.readouterr()
    assert (
        aligned(
            write(tmp_path / "reversed.jsonl", [{**row, "relevance": row["relevance"][::-1]} for row in rows])
        )
        == 2
    )
    assert "holds a different run: candidates" in complaint(capsys)


def test_a_rule_in_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_rules_here.py").write_text("def is_short(response):\n    return len(response) < 3\n")
    rows = [
        {"qid": "q", "query": "2+2?", "docno": text, "text": text, "score": 0.0} for text in ("four", "4")
    ]
    write(tmp_path / "r.jsonl", rows)
    process = subprocess.run(
        [
            sys.executable, "-c", "from larpo_ir.cli import main; main()", "rerank", "--reward", "VerifiableReward",
            "--reward.fn", "my_rules_here.is_short", "--results", "r.jsonl", "--output", "o.jsonl",
        ],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    first, second = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert (first["text"], first["score"], second["score"]) == ("4", 1.0, 0.0)
