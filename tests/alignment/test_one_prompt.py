"""A prompt travels with its qid, from the file to the trained tokens, on every path there is.

Three chats end in the same words, under different system messages and histories. On each path the token ids that
the generator, the reward model, the reference and the trainer read are compared with what the chat template writes,
and a fresh policy's first training step must have margin 0 and loss log 2 (DPO): trained on another prompt than the
reference was scored on, it would have neither.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict

import pandas as pd
import pytest
from datasets import load_from_disk

import larpo_ir.models.decoding
import larpo_ir.models.frames
import larpo_ir.rewards.models
import larpo_ir.training.trainer_reference
from larpo_ir import (
    AlignConfig,
    CandidatePool,
    Generator,
    LarPOConfig,
    LarPOTrainer,
    PairwiseRewardModel,
    Refine,
    RewardEnsemble,
    RewardModel,
    VerifiableReward,
    align,
    read_lists,
)
from larpo_ir.cli import main
from larpo_ir.rewards.judges import RewardJudge, ServedJudge
from tests.models.test_served import completion, serve  # noqa: F401  (a fixture)
from tests.small_models import CHAT_TEMPLATE, make_model, make_reward_model, make_tokenizer

pytest.importorskip("openai", reason="needs the extra serve")
from larpo_ir.models.served import OpenAIGenerator


def chat(system: str | None, *turns: str) -> list[dict[str, str]]:
    roles = ["user", "assistant"] * len(turns)
    said = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    return [{"role": "system", "content": system}, *said] if system else said


CHATS = {
    "fr": chat("French.", "hello", "bonjour", "Continue."),
    "de": chat("German.", "hello", "hallo", "Continue."),
    "none": chat(None, "Continue."),
}
TOKENIZER = make_tokenizer(bos=True, chat_template=CHAT_TEMPLATE)
TRAINING = {"learning_rate": 1e-3, "num_train_epochs": 1, "per_device_train_batch_size": 3, "use_cpu": True}


def ids_of(messages: list[dict[str, str]]) -> tuple[int, ...]:
    text = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return tuple(TOKENIZER(text, add_special_tokens=False)["input_ids"])


READ = {qid: ids_of(messages) for qid, messages in CHATS.items()}


def length(text: str) -> float:
    return float(len(text))


@pytest.fixture
def seen(monkeypatch) -> dict[str, set[tuple[int, ...]]]:
    """The token ids of prompts that each part has read."""
    read: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    decode, encode = larpo_ir.models.decoding.decode, larpo_ir.rewards.models.SequenceScorer.encode
    fixed, tokenized = larpo_ir.training.reference.fixed_logprobs, larpo_ir.training.trainer.tokenize_dataset

    def decoding(model, prompts, *arguments, **options):
        read["generator"] |= set(map(tuple, prompts))
        return decode(model, prompts, *arguments, **options)

    def encoding(self, *arguments, **options):
        inputs = encode(self, *arguments, **options)
        read["reward"] |= set(map(tuple, inputs))
        return inputs

    def scoring(model, lists, **options):
        read["reference"] |= {tuple(tokens.prompt_ids) for tokens in lists}
        return fixed(model, lists, **options)

    def tokenizing(*arguments, **options):
        dataset = tokenized(*arguments, **options)
        read["trainer"] |= set(map(tuple, dataset["prompt_ids"]))
        return dataset

    monkeypatch.setattr(larpo_ir.models.decoding, "decode", decoding)
    monkeypatch.setattr(larpo_ir.rewards.models.SequenceScorer, "encode", encoding)
    monkeypatch.setattr(larpo_ir.training.reference, "fixed_logprobs", scoring)
    monkeypatch.setattr(larpo_ir.training.trainer_reference, "fixed_logprobs", scoring)
    monkeypatch.setattr(larpo_ir.training.trainer, "tokenize_dataset", tokenizing)
    return read


def check_reward(read: set[tuple[int, ...]], prompts=READ) -> None:
    """Every input of the reward model begins with a whole chat, and each chat begins one."""
    for messages in CHATS.values():
        text = TOKENIZER.apply_chat_template(messages, tokenize=False) + "<|assistant|>"
        start = tuple(TOKENIZER(text, add_special_tokens=False)["input_ids"])
        assert any(ids[: len(start)] == start for ids in read)
    assert all(any(ids[: len(start)] == start for start in prompts.values()) for ids in read)


def first_step(run) -> dict[str, float]:
    steps = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return next(step for step in steps if step.get("event") == "step" and "loss" in step)


def check_first_step(step: dict[str, float]) -> None:
    assert step["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert step["margin"] == pytest.approx(0, abs=1e-5)


def check_lists(run) -> None:
    lists = load_from_disk(str(run / "iteration-00" / "lists"))
    assert {row["id"]: row["prompt"] for row in lists} == {qid: CHATS[qid] for qid in lists["id"]}


def settings(path, **options) -> AlignConfig:
    return AlignConfig(
        str(path), "dpo", iterations=1, num_candidates=6, eval_samples=2, training=TRAINING, **options
    )


def make_generator(**options) -> Generator:
    return Generator(make_model(), TOKENIZER, **{"max_new_tokens": 8, **options})


def make_reward() -> RewardModel:
    return RewardModel(make_reward_model(), TOKENIZER)


def topics() -> pd.DataFrame:
    return pd.DataFrame({"qid": list(CHATS), "query": "Continue.", "prompt": list(CHATS.values())})


def lists() -> list[dict]:
    return [
        {
            "id": qid,
            "prompt": messages,
            "completions": [f"{qid} one", "two", "x"],
            "relevance": [1.0, 0.5, 0.0],
        }
        for qid, messages in CHATS.items()
    ]


def sampling_server(serve, asked):  # noqa: F811
    """A server that samples from the policy, and keeps what it was asked."""
    generator = make_generator()

    def answer(path, body):
        asked.append(body["messages"])
        sampled = generator.replace(seed=body["seed"], num_candidates=1)(
            pd.DataFrame({"qid": ["q"], "query": [""], "prompt": [body["messages"]]})
        )
        return 200, {}, completion(path, sampled["text"][0])

    return serve(answer)


def test_python_sampled(seen, tmp_path):
    run = tmp_path / "run"
    result = align(make_generator(), make_reward(), topics(), settings(run), eval_prompts=topics())
    assert seen["generator"] == set(READ.values())
    check_reward(seen["reward"])
    assert seen["trainer"] <= set(READ.values())
    assert seen["reference"] == set(
        READ.values()
    )  # the held-out lists; the trained ones' are known from sampling
    check_lists(run)
    check_first_step(first_step(run))
    pool = CandidatePool.load(run / "iteration-00" / "pool.parquet").frame
    assert {qid: rows["prompt"].iloc[0] for qid, rows in pool.groupby("qid")} == CHATS
    assert set(result.pool.frame["query"]) == {"Continue."}
    held_out = pd.read_parquet(run / "iteration-00" / "held_out_samples.parquet")
    for row in held_out.itertuples():
        assert [dict(message) for message in row.prompt] == CHATS[row.qid]


@pytest.mark.parametrize("given", ["dataset", "list"])
def test_python_sampled_from_what_prompts_come_as(seen, tmp_path, given):
    from datasets import Dataset

    prompts = list(CHATS.values())
    align(
        make_generator(),
        make_reward(),
        Dataset.from_dict({"prompt": prompts}) if given == "dataset" else prompts,
        settings(tmp_path / "run"),
    )
    assert seen["generator"] == set(READ.values())
    check_first_step(first_step(tmp_path / "run"))


def test_python_recorded(seen, tmp_path):
    pool = CandidatePool.from_ranked(lists())
    run = tmp_path / "run"
    align(make_generator(), None, topics(), settings(run), candidates=pool, eval_lists=pool.view())
    assert seen["trainer"] == seen["reference"] == set(READ.values())
    assert not seen["generator"]
    check_lists(run)
    check_first_step(first_step(run))


def test_python_served(seen, serve, tmp_path):  # noqa: F811
    asked: list = []
    server = sampling_server(serve, asked)
    served = OpenAIGenerator(server.url, "m", num_candidates=4, max_new_tokens=8, concurrency=1)
    ranked = (served >> make_reward())(topics())
    assert {json.dumps(messages) for messages in asked} == {json.dumps(m) for m in CHATS.values()}
    check_reward(seen["reward"])
    pool = CandidatePool()
    pool.add(ranked)
    align(make_generator(), None, topics(), settings(tmp_path / "run"), candidates=pool)
    assert seen["trainer"] == seen["reference"] == set(READ.values())
    check_first_step(first_step(tmp_path / "run"))


def test_trainer_alone(seen, tmp_path):
    trainer = LarPOTrainer(
        make_model(),
        args=LarPOConfig(str(tmp_path), objective="dpo", report_to="none", save_strategy="no", use_cpu=True),
        train_dataset=read_lists(lists()),
        processing_class=TOKENIZER,
    )
    assert seen["trainer"] == seen["reference"] == set(READ.values())
    trainer.train()
    step = next(entry for entry in trainer.state.log_history if "loss" in entry)
    check_first_step(step)


# The command line


@pytest.fixture
def models(tmp_path):
    for name, model in (("policy", make_model()), ("reward", make_reward_model())):
        model.save_pretrained(tmp_path / name)
        TOKENIZER.save_pretrained(tmp_path / name)
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(*arguments) -> None:
    main([str(argument) for argument in arguments])


def training_options(run):
    options = [f"--align.training.{name}={value}" for name, value in TRAINING.items()]
    return ["--align.objective", "dpo", "--align.iterations", 1, "--align.output_dir", run, *options]


def test_command_line_sampled(seen, models, tmp_path):
    asked = write(tmp_path / "topics.jsonl", [{"qid": qid, "prompt": m} for qid, m in CHATS.items()])
    command(
        "align", "--generator.model", models / "policy", "--generator.max_new_tokens", 8, "--prompts", asked,
        "--eval_prompts", asked, "--align.num_candidates", 6, "--align.eval_samples", 2,
        "--reward", "RewardModel", "--reward.model", models / "reward", *training_options(tmp_path / "run"),
    )  # fmt: skip
    assert seen["generator"] == seen["reference"] == set(READ.values())
    assert seen["trainer"] <= set(READ.values())
    check_reward(seen["reward"])
    check_first_step(first_step(tmp_path / "run"))


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_command_line_generate_rerank_align(seen, models, tmp_path, kind):
    asked = write(tmp_path / "topics.jsonl", [{"qid": qid, "prompt": m} for qid, m in CHATS.items()])
    responses, ranked = tmp_path / f"responses.{kind}", tmp_path / f"ranked.{kind}"
    command(
        "generate", "--generator.model", models / "policy", "--generator.max_new_tokens", 8,
        "--generator.num_candidates", 6, "--topics", asked, "--output", responses,
    )  # fmt: skip
    assert seen["generator"] == set(READ.values())
    command(
        "rerank", "--reward", "RewardModel", "--reward.model", models / "reward", "--results", responses,
        "--output", ranked,
    )  # fmt: skip
    check_reward(seen["reward"])
    command(
        "align", "--generator.model", models / "policy", "--generator.max_new_tokens", 8, "--lists", ranked,
        "--num_held_out", 1, *training_options(tmp_path / "run"),
    )  # fmt: skip
    assert seen["trainer"] | seen["reference"] == set(READ.values())
    check_lists(tmp_path / "run")
    check_first_step(first_step(tmp_path / "run"))


def test_command_line_served(seen, serve, models, tmp_path):  # noqa: F811
    messages: list = []
    server = sampling_server(serve, messages)
    asked = write(tmp_path / "topics.jsonl", [{"qid": qid, "prompt": m} for qid, m in CHATS.items()])
    command(
        "generate", "--generator", "OpenAIGenerator", "--generator.base_url", server.url, "--generator.model", "m",
        "--generator.num_candidates", 4, "--generator.concurrency", 1, "--topics", asked,
        "--output", tmp_path / "r.parquet",
    )  # fmt: skip
    assert {json.dumps(m) for m in messages} == {json.dumps(m) for m in CHATS.values()}
    command(
        "rerank", "--reward", "RewardModel", "--reward.model", models / "reward", "--results", tmp_path / "r.parquet",
        "--output", tmp_path / "ranked.parquet",
    )  # fmt: skip
    check_reward(seen["reward"])
    command(
        "align", "--generator.model", models / "policy", "--generator.max_new_tokens", 8, "--lists",
        tmp_path / "ranked.parquet", "--num_held_out", 1, *training_options(tmp_path / "run"),
    )  # fmt: skip
    check_first_step(first_step(tmp_path / "run"))


@pytest.mark.parametrize("objectives", [[], ["--objectives", "dpo", "larpo_contrastive"]])
def test_command_line_lists(seen, models, tmp_path, objectives):
    recorded = write(tmp_path / "lists.jsonl", lists())
    command(
        "align", "--generator.model", models / "policy", "--generator.max_new_tokens", 8, "--lists", recorded,
        "--num_held_out", 1, *training_options(tmp_path / "run"), *objectives,
    )  # fmt: skip
    assert seen["trainer"] == {READ["fr"], READ["de"]}
    assert seen["reference"] == set(READ.values())
    run = tmp_path / "run" / "dpo" if objectives else tmp_path / "run"
    check_lists(run)
    check_first_step(first_step(run))


def test_the_cases_that_came_out_wrong(seen, models, shared, tmp_path):
    """The lists under `cases` are trained as chats; the topics are asked, ranked and trained each by its own."""
    command(
        "align", "--generator.model", models / "policy", "--generator.max_new_tokens", 8, "--num_held_out", 1,
        "--lists", shared / "cases" / "chat_lists.jsonl", *training_options(tmp_path / "lists"),
    )  # fmt: skip
    rows = [json.loads(line) for line in (shared / "cases" / "chat_lists.jsonl").read_text().splitlines()]
    assert seen["trainer"] == {ids_of(row["prompt"]) for row in rows[:2]}
    seen.clear()
    rows = [json.loads(line) for line in (shared / "cases" / "chat_topics.jsonl").read_text().splitlines()]
    command(
        "align", "--generator.model", models / "policy", "--generator.max_new_tokens", 8,
        "--prompts", shared / "cases" / "chat_topics.jsonl", "--reward", "RewardModel",
        "--reward.model", models / "reward", *training_options(tmp_path / "topics"),
    )  # fmt: skip
    assert seen["generator"] == {ids_of(row["prompt"]) for row in rows}
    check_first_step(first_step(tmp_path / "topics"))


# What else reads a prompt


def test_rewards_and_judges_read_the_whole_conversation(serve):  # noqa: F811
    asked: list[str] = []

    def longer(prompts, firsts, seconds):
        asked.extend(prompts)
        return [0.5] * len(prompts)

    responses = make_generator(num_candidates=2)(topics())
    PairwiseRewardModel(longer)(responses)
    told: list = []
    VerifiableReward(lambda prompt, response: told.append(prompt) or 1.0)(responses)
    template: list[str] = []
    RewardModel(
        make_reward_model(), TOKENIZER, template=lambda prompt, text: template.append(prompt) or prompt + text
    )(responses)
    pairs = responses.assign(reference="x")
    RewardJudge(PairwiseRewardModel(longer))(pairs)

    def judged(path, body):
        asked.append(body["messages"][-1]["content"])
        return 200, {}, completion(path, "A")

    server = serve(judged)
    ServedJudge(OpenAIGenerator(server.url, "m", num_candidates=1, concurrency=1))(pairs)
    for texts in (asked, template):
        assert any("system: French." in text and "assistant: bonjour" in text for text in texts)
        assert all("Continue." in text for text in texts)
        assert any("French." not in text and "German." not in text for text in texts)
    assert sorted(map(json.dumps, told)) == sorted(json.dumps(CHATS[qid]) for qid in responses["qid"])


def test_refine_keeps_system_and_history(seen):
    generator = make_generator(num_candidates=2)
    template = "{}|{}".format
    for given in (topics(), generator(topics())):
        seen.clear()
        drafts = generator(topics()).groupby("qid")["text"].first()
        refined = Refine(generator, template=template)(given)
        rewritten = {
            qid: [*m[:-1], {"role": "user", "content": f"Continue.|{drafts[qid]}"}]
            for qid, m in CHATS.items()
        }
        assert {ids_of(messages) for messages in rewritten.values()} <= seen["generator"]
        assert {row.qid: row.prompt for row in refined.itertuples()} == CHATS
        assert set(refined["query"]) == {"Continue."}


def test_a_query_is_asked_the_same_way_when_it_is_refined(seen):
    """A string query becomes a chat with a system message; its rewriting does, too, once."""
    generator = make_generator(num_candidates=1, system="Be brief.", seed=1)
    Refine(generator, template="{}|{}".format)(generator(pd.DataFrame({"qid": ["q"], "query": ["2+2?"]})))
    (draft,) = generator(pd.DataFrame({"qid": ["q"], "query": ["2+2?"]}))["text"]
    assert ids_of(chat("Be brief.", f"2+2?|{draft}")) in seen["generator"]
    assert len(seen["generator"]) == 2


def test_two_prompts_under_one_id_are_refused(tmp_path):
    frame = topics().assign(qid="q")
    with pytest.raises(ValueError, match="query q has two different prompts"):
        make_generator()(frame)
    with pytest.raises(ValueError, match="query q has two different prompts"):
        align(make_generator(), make_reward(), frame, settings(tmp_path / "run"))
    pool = CandidatePool()
    rows = pd.DataFrame({"docno": "d", "text": "t", "score": 1.0}, index=frame.index)
    with pytest.raises(ValueError, match="query q has two different prompts"):
        pool.add(frame.join(rows))


def test_strings_and_chats_in_one_run(seen, tmp_path):
    """A prompt that carries the template's markers stays as it is beside chats, and is trained as it was."""
    templated = TOKENIZER.apply_chat_template(CHATS["fr"], tokenize=False, add_generation_prompt=True)
    mixed = topics()
    mixed.at[0, "prompt"] = templated
    run = tmp_path / "run"
    align(make_generator(), make_reward(), mixed, settings(run), eval_prompts=mixed)
    assert seen["generator"] == seen["reference"] == set(READ.values())
    assert seen["trainer"] <= set(READ.values())
    check_first_step(first_step(run))
    again = align(make_generator(), make_reward(), mixed, settings(run), eval_prompts=mixed)
    assert again.held_out.lists is not None


def test_a_reward_that_cannot_read_a_chat_says_so_before_anything_is_sampled(seen, tmp_path):
    no_system = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role.') }}{% endif %}"
    own = make_tokenizer(bos=True, chat_template=no_system + CHAT_TEMPLATE)
    refusing = RewardModel(make_reward_model(), own)
    for reward in (refusing, RewardEnsemble(make_reward(), refusing)):
        with pytest.raises(
            ValueError, match=r"query fr: the chat template refuses this chat: No system role\."
        ):
            align(make_generator(), reward, topics(), settings(tmp_path / "run"))
    assert not seen["generator"]
    assert not (tmp_path / "run").exists()


def test_nothing_is_added_to_what_responses_were_recorded_for(seen, tmp_path):
    """A system message and examples stood twice when `align` was given the options that `generate` had."""
    pool = CandidatePool.from_ranked(lists())
    for options in ({"few_shot": [("1+1?", "2")]}, {"system": "Be brief."}):
        with pytest.raises(
            ValueError, match=r"query (fr|none): its recorded responses answer .* leave out system"
        ):
            align(make_generator(**options), None, topics(), settings(tmp_path / "run"), candidates=pool)
    assert not (tmp_path / "run").exists()


def test_the_first_prompt_is_shown_in_python_too(capsys, caplog):
    caplog.set_level("WARNING", logger="larpo_ir")  # as it is where nobody has set it up
    make_generator(num_candidates=1)(topics())
    assert "the prompt of query fr is a chat: '<|system|>French.</s>" in capsys.readouterr().err


def test_a_system_message_of_its_own_stays_and_that_is_said():
    with pytest.warns(UserWarning, match=r"a chat has a system message of its own, which stays: 'French\.'"):
        results = make_generator(num_candidates=1, system="Be brief.")(topics())
    assert [prompt[0]["content"] for prompt in results["prompt"]] == ["French.", "German.", "Be brief."]
