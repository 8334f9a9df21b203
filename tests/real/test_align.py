"""A real instruct model through the commands: asked by its template, and trained on what it was asked."""

from __future__ import annotations

import json
import math

import pandas as pd
import pytest
from datasets import load_from_disk

import larpo_ir.models.decoding
from larpo_ir import AlignConfig, Generator, VerifiableReward, align, list_logprobs
from larpo_ir.cli import main
from larpo_ir.training.reference import frame_logprobs
from tests.real.conftest import load_tokenizer

QUESTION = "What is the capital of France?"
CHATS = {
    "brief": [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": QUESTION}],
    "history": [
        {"role": "user", "content": "What is the capital of Spain?"},
        {"role": "assistant", "content": "Madrid"},
        {"role": "user", "content": QUESTION},
    ],
    "alone": [{"role": "user", "content": QUESTION}],
}


def shorter(response: str) -> float:
    return -float(len(response))


@pytest.fixture(scope="module")
def generator(smollm2) -> Generator:
    return Generator(str(smollm2), num_candidates=4, max_new_tokens=16, seed=3)


def test_a_question_is_asked_by_the_template(smollm2, tmp_path, caplog):
    """`larpo-ir generate` asked an instruct model without its template, and wrote empty text."""
    topics = tmp_path / "topics.jsonl"
    topics.write_text(json.dumps({"question": QUESTION, "answer": "Paris. #### 1"}) + "\n")
    with caplog.at_level("INFO", logger="larpo_ir"):
        main([
            "generate", "--task", "gsm8k", "--topics", str(topics), "--generator.model", str(smollm2),
            "--generator.temperature", "0", "--generator.max_new_tokens", "24", "--output", str(tmp_path / "r.jsonl"),
        ])  # fmt: skip
    (row,) = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert "Paris" in row["text"]
    assert row["finished"]
    assert row["prompt"] == CHATS["alone"]
    said = " ".join(caplog.messages)
    assert "<|im_start|>user\\n" + QUESTION + "<|im_end|>\\n<|im_start|>assistant\\n" in said


@pytest.mark.parametrize("name", ["llama3_1", "gemma3", "qwen3", "smollm2"])
def test_what_is_asked_is_what_the_template_writes(generator, name, monkeypatch):
    tokenizer = load_tokenizer(name)
    read = []
    monkeypatch.setattr(
        larpo_ir.models.decoding,
        "decode",
        lambda model, prompts, *rest, **options: read.extend(prompts) or [],
    )
    asking = Generator(generator.model, tokenizer, num_candidates=1, max_new_tokens=1)
    topics = pd.DataFrame({"qid": list(CHATS), "query": QUESTION, "prompt": list(CHATS.values())})
    expected = [
        tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        for chat in CHATS.values()
    ]
    assert asking.tokens_of(topics) == expected
    assert asking.tokens_of(topics[["qid", "query"]]) == [expected[2]] * 3
    rendered = [
        tokenizer.apply_chat_template(c, add_generation_prompt=True, tokenize=False) for c in CHATS.values()
    ]
    assert asking.tokens_of(topics.assign(prompt=rendered)) == expected


def test_a_system_message_examples_and_stop_strings(generator):
    asked = generator.replace(
        system="Answer in one word.", few_shot=[("What is the capital of Spain?", "Madrid")], temperature=0.0
    )
    topics = pd.DataFrame({"qid": ["q"], "query": [QUESTION]})
    (row,) = asked(topics).to_dict("records")
    assert row["prompt"] == [CHATS["brief"][0], *CHATS["history"]]
    assert row["text"].startswith("Paris")
    stopped = generator.replace(temperature=0.0, stop=["of France"])(topics)
    assert stopped["text"].tolist() == ["The capital "]
    assert stopped["finished"].tolist() == [True]
    told = generator.tokenizer.decode(stopped["token_ids"][0])
    assert told.startswith("The capital of France")
    assert told.removeprefix("The capital of France") in ("", " ", ".")
    expected = list_logprobs(
        generator.model, generator.tokenizer, stopped["prompt"].tolist(), [[told]], append_eos=False
    )
    assert stopped["logprob"][0] == pytest.approx(float(expected), abs=1e-2)


def test_alignment_of_a_real_model(generator, tmp_path):
    """Samples, lists, reference and trained tokens of three chats agree: at first margin 0 and loss log 2."""
    topics = pd.DataFrame({"qid": list(CHATS), "query": QUESTION, "prompt": list(CHATS.values())})
    training = {"max_steps": 1, "per_device_train_batch_size": 3, "use_cpu": True, "learning_rate": 1e-6}
    config = AlignConfig(str(tmp_path / "run"), "dpo", iterations=1, num_candidates=4, training=training)
    align(generator, VerifiableReward(shorter), topics, config)
    lists = load_from_disk(str(tmp_path / "run" / "iteration-00" / "lists"))
    assert {row["id"]: row["prompt"] for row in lists} == {qid: CHATS[qid] for qid in lists["id"]}
    steps = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    step = next(step for step in steps if step.get("event") == "step" and "loss" in step)
    assert step["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert step["margin"] == pytest.approx(0, abs=1e-2)


def test_sampled_log_probabilities_are_those_of_scoring(generator):
    topics = pd.DataFrame({"qid": list(CHATS), "query": QUESTION, "prompt": list(CHATS.values())})
    drawn = generator.replace(num_candidates=2, temperature=0.7)(topics)
    assert drawn["logprob"].tolist() == pytest.approx(frame_logprobs(generator, drawn).tolist(), abs=1e-2)
    from_text = frame_logprobs(generator, drawn.drop(columns="token_ids"))
    same = [
        ids == generator.tokenizer(text, add_special_tokens=False)["input_ids"] + [2] * finished
        for ids, text, finished in zip(drawn["token_ids"], drawn["text"], drawn["finished"], strict=True)
    ]
    assert any(same)
    assert from_text[same].tolist() == pytest.approx(drawn["logprob"][same].tolist(), abs=1e-2)


def test_a_refusing_template_is_one_line_before_anything_is_sampled(
    smollm2, shared, tmp_path, capsys, generator
):
    """Gemma's template wants alternating roles."""
    tokenizer, folder = load_tokenizer("gemma3"), tmp_path / "model"
    generator.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    asked = str(shared / "cases" / "two_users.jsonl")
    lists = tmp_path / "lists.jsonl"
    rows = [json.loads(line) for line in (shared / "cases" / "two_users.jsonl").read_text().splitlines()]
    lists.write_text(
        "".join(
            json.dumps({"prompt": row["prompt"], "completions": ["4", "5"], "relevance": [1.0, 0.0]}) + "\n"
            for row in rows
        )
    )
    model = ["--generator.model", str(folder)]
    for arguments, place in (
        (["generate", *model, "--topics", asked, "--output", str(tmp_path / "r.jsonl")], "query b"),
        (
            [
                "align",
                *model,
                "--lists",
                str(lists),
                "--num_held_out",
                "1",
                "--align.output_dir",
                str(tmp_path / "run"),
            ],
            "query 1",
        ),
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
        (line,) = [
            line for line in capsys.readouterr().err.splitlines() if line.startswith(("error", "Traceback"))
        ]
        assert place in line
        assert "roles must alternate" in line
    assert not (tmp_path / "r.jsonl").exists()
    assert not (tmp_path / "run").exists()
