"""How what is asked becomes a prompt, and what a generator does with it: chats, examples, stop strings, warnings."""

from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest

from larpo_ir import (
    AlignConfig,
    CandidatePool,
    Generator,
    LarPOConfig,
    LarPOTrainer,
    RewardModel,
    VerifiableReward,
    align,
    read_lists,
)
from larpo_ir.data.chats import looks_templated
from larpo_ir.data.negatives import BestWorst, sample_lists
from larpo_ir.data.prompts import asked_in
from larpo_ir.data.topics import read_examples, read_topics
from larpo_ir.models.generators import Drawn, ResponseGenerator
from larpo_ir.models.prompting import Prompting, prompting_for
from larpo_ir.training.collation import tokenize_dataset
from larpo_ir.training.reference import frame_logprobs
from tests.small_models import CHAT_TEMPLATE, make_model, make_reward_model, make_tokenizer

USER = {"role": "user", "content": "2+2?"}
SYSTEM = {"role": "system", "content": "Be brief."}
SHOWN = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]
EXAMPLES = (("1+1?", "2"),)
TOPICS = pd.DataFrame({"qid": ["a", "b"], "query": ["2+2?", "xy"]})


def chat_tokenizer():
    return make_tokenizer(bos=True, chat_template=CHAT_TEMPLATE)


def make_generator(tokenizer=None, **options) -> Generator:
    return Generator(
        make_model(), tokenizer or chat_tokenizer(), **{"max_new_tokens": 6, "num_candidates": 3, **options}
    )


@pytest.mark.parametrize(
    ("options", "asked", "expected"),
    [
        ({"chat": True}, "2+2?", [USER]),
        ({"chat": False}, "2+2?", "2+2?"),
        ({"chat": True, "system": "Be brief."}, "2+2?", [SYSTEM, USER]),
        ({"chat": True, "few_shot": EXAMPLES}, "2+2?", [*SHOWN, USER]),
        ({"chat": True, "few_shot": EXAMPLES, "system": "Be brief."}, [USER], [SYSTEM, *SHOWN, USER]),
        ({"chat": True, "system": "Be long."}, [SYSTEM, USER], [SYSTEM, USER]),
        ({"chat": False, "system": "Be brief."}, "2+2?", "Be brief.\n\n2+2?"),
        (
            {"chat": False, "few_shot": EXAMPLES, "prompt_format": "Q: {query}\nA:"},
            "2+2?",
            "Q: 1+1?\nA: 2\n\nQ: 2+2?\nA:",
        ),
        ({"chat": True, "prompt_format": "Solve: {query}"}, "2+2?", [{"role": "user", "content": "Solve: 2+2?"}]),
        ({"chat": True, "few_shot": EXAMPLES}, "1+1?", [{"role": "user", "content": "1+1?"}]),  # would give it away
        ({"chat": False, "few_shot": (*EXAMPLES, ("2+2?", "4"))}, "1+1?", "2+2? 4\n\n1+1?"),
        (
            {"chat": False, "few_shot": EXAMPLES, "system": "Be.", "prompt_format": "Q: {query}\n"},
            "1+1?",
            "Be.\n\nQ: 1+1?\n",
        ),
        (
            {"chat": True, "few_shot": EXAMPLES},
            [SHOWN[0], {"role": "assistant", "content": "It is"}],
            [SHOWN[0], {"role": "assistant", "content": "It is"}],
        ),
        ({"chat": True}, "<s>2+2?", "<s>2+2?"),  # brings its BOS token along
        ({"chat": True, "system": "Be brief."}, "<|user|>2+2?</s><|assistant|>", "<|user|>2+2?</s><|assistant|>"),
    ],
)  # fmt: skip
def test_prompts_and_that_asking_again_changes_nothing(options, asked, expected):
    ask = prompting_for(chat_tokenizer(), **options)
    assert ask(asked) == expected
    assert ask(expected) == expected


def test_without_a_template_a_chat_of_one_message_is_its_text():
    ask = prompting_for(make_tokenizer())
    assert ask([USER]) == "2+2?"
    assert ask([SYSTEM, USER]) == [SYSTEM, USER]  # which the tokenizer then refuses
    with pytest.raises(ValueError, match="query b: the tokenizer has no chat template"):
        make_generator(make_tokenizer(bos=True))(TOPICS.assign(prompt=[None, [SYSTEM, USER]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt_format": "no field"}, "prompt_format must have the field"),
        ({"prompt_format": "{query} {query}"}, "prompt_format must have the field"),
        ({"prompt_format": "{question}"}, "prompt_format must have the field"),
        ({"prompt_format": "{query"}, "prompt_format"),
        ({"few_shot": ["ab"]}, "few_shot must be pairs"),
        ({"few_shot": [("a", "b", "c")]}, "few_shot must be pairs"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        Prompting(**options)
    with pytest.raises(ValueError, match=message):
        make_generator(**options)


def test_what_is_asked_in_a_frame():
    frame = pd.DataFrame({"query": ["a", "b", "c"], "prompt": [None, np.nan, np.array([USER], dtype=object)]})
    assert asked_in(frame) == ["a", "b", [USER]]
    assert asked_in(frame[["query"]]) == ["a", "b", "c"]


def test_templated_strings_where_there_is_no_tokenizer():
    assert looks_templated("<bos><start_of_turn>user\n2+2?")
    assert not looks_templated("What does <|im_start|> mean?")


def test_a_template_is_used_unless_it_is_said_not_to(caplog):
    with caplog.at_level(logging.INFO, logger="larpo_ir"):
        results = make_generator()(TOPICS)
    assert results["prompt"].tolist() == [
        [{"role": "user", "content": q}] for q in TOPICS["query"] for _ in range(3)
    ]
    (said,) = [message for message in caplog.messages if "the prompt of query a is a chat" in message]
    assert "<|user|>2+2?</s><|assistant|>" in said
    plain = make_generator(chat=False)(TOPICS)
    assert plain["prompt"].tolist() == [query for query in TOPICS["query"] for _ in range(3)]
    base = make_generator(make_tokenizer(bos=True))(TOPICS)
    assert base["prompt"].tolist() == plain["prompt"].tolist()
    assert base["token_ids"].tolist() == plain["token_ids"].tolist()


def test_a_prompt_is_shown_once(caplog):
    generator = make_generator()
    with caplog.at_level(logging.INFO, logger="larpo_ir"):
        generator(TOPICS)
        generator.replace(temperature=0)(TOPICS)
    assert sum("the prompt of query" in message for message in caplog.messages) == 1


def test_mostly_empty_responses_are_a_warning(recwarn):
    class Silent(ResponseGenerator):
        def respond(self, topics):
            return [Drawn(text, None, None, True, None) for text in ["", " ", "4"][: len(topics)]]

    silent = Silent(num_candidates=1)
    with pytest.warns(
        UserWarning, match="2 of 3 responses are empty; look at the prompt as the model reads it"
    ):
        silent(pd.DataFrame({"qid": list("abc"), "query": list("xyz")}))
    recwarn.clear()
    make_generator(num_candidates=1)(TOPICS)
    assert not [warning for warning in recwarn if "are empty" in str(warning.message)]


def test_stop_strings_end_a_response():
    generator = make_generator(num_candidates=40, max_new_tokens=12, seed=1)
    free = generator(TOPICS)
    letter = max("abcdefghijklmnopqrstuvwxyz", key=lambda c: free["text"].str.contains(c).sum())
    stopped = generator.replace(stop=[letter])(TOPICS)
    hit = free["text"].str.contains(letter)
    assert hit.any()
    assert stopped["text"].tolist() == [text.split(letter)[0] for text in free["text"]]
    assert stopped.loc[hit, "finished"].all()
    assert stopped.loc[~hit, "token_ids"].tolist() == free.loc[~hit, "token_ids"].tolist()
    for ids, whole in zip(stopped["token_ids"], free["token_ids"], strict=True):
        assert ids == whole[: len(ids)]
    # what was sampled, the stop string with it, is what is scored
    np.testing.assert_allclose(stopped["logprob"], frame_logprobs(generator, stopped), atol=1e-3)


def test_several_ends_all_end_a_response():
    """The model's EOS tokens, the tokenizer's and the template's end of turn; the one emitted is the one scored."""
    model = make_model()
    model.generation_config.eos_token_id = [40, 41]
    generator = Generator(model, chat_tokenizer(), num_candidates=60, max_new_tokens=8)
    drawn = generator(TOPICS)
    ends = {1, 40, 41}
    for ids, finished in zip(drawn["token_ids"], drawn["finished"], strict=True):
        assert not ends & set(ids[:-1])
        assert finished == (ids[-1] in ends)
    assert {ids[-1] for ids in drawn["token_ids"]} & {40, 41}
    np.testing.assert_allclose(drawn["logprob"], frame_logprobs(generator, drawn), atol=1e-3)


def test_the_trainer_and_the_reward_read_strings_as_the_generator_does(tmp_path, caplog):
    rows = [{"prompt": "2+2?", "completions": ["4", "5"], "relevance": [1.0, 0.0]}]
    generator = make_generator()
    asked = generator.tokens_of(TOPICS[:1])[0]
    for chat, expected in ((None, asked), (False, generator.replace(chat=False).tokens_of(TOPICS[:1])[0])):
        with caplog.at_level(logging.INFO, logger="larpo_ir"):
            trainer = LarPOTrainer(
                make_model(),
                args=LarPOConfig(str(tmp_path), report_to="none", use_cpu=True, chat=chat),
                train_dataset=read_lists(rows),
                processing_class=chat_tokenizer(),
            )
        assert trainer.train_dataset[0]["prompt_ids"] == expected
    assert any("the first prompt as the model reads it" in message for message in caplog.messages)
    reward = RewardModel(make_reward_model(), chat_tokenizer())
    templated = "<|system|>Be brief.</s><|user|>2+2?</s><|assistant|>"
    as_chat = reward.scorer.encode([reward.input_of([SYSTEM, USER], "4")])
    assert reward.scorer.encode([reward.input_of(templated, "4")]) == as_chat
    assert reward.input_of("2+2?", "4") == [USER, {"role": "assistant", "content": "4"}]
    goes_on = [USER, {"role": "assistant", "content": "It is"}]
    assert reward.input_of(goes_on, " 4")[-1] == {"role": "assistant", "content": "It is 4"}


# Topics and examples from files


def write(path, *lines: str):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_topics_with_chats_strings_and_queries(tmp_path):
    path = write(
        tmp_path / "t.jsonl",
        '{"qid": "a", "query": "short", "prompt": [{"role": "user", "content": "long"}]}',
        '{"qid": "b", "prompt": "2+2?", "gold": "4"}',
        '{"qid": "c", "question": "why?"}',
        '{"qid": "d", "messages": [{"role": "user", "content": "m"}]}',
        '{"qid": "e", "query": "short", "prompt": "<|user|>long</s>"}',
    )
    topics = read_topics(path)
    assert topics["query"].tolist() == ["short", "2+2?", "why?", "m", "short"]
    assert topics["prompt"].tolist() == [
        [{"role": "user", "content": "long"}], None, None, [{"role": "user", "content": "m"}], "<|user|>long</s>",
    ]  # fmt: skip
    assert "prompt" not in read_topics(write(tmp_path / "s.jsonl", '{"qid": "b", "prompt": "2+2?"}'))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": 5}', "t.jsonl:1: prompt is 5, neither a string nor a chat"),
        ('{"prompt": [{"role": "user"}]}', r"t.jsonl:1: prompt\[0\] has no content"),
        ('{"prompt": []}', "t.jsonl:1"),
        ('{"query": [{"role": "user", "content": "x"}]}', "t.jsonl:1: the query is .* which is no text"),
        ('{"qid": [1], "query": "x"}', r"t.jsonl:1: qid is \[1\]; an id is a string or a whole number"),
        ('{"gold": 1}', "t.jsonl:1: no query; a topic needs one of"),
        ('{"query": "   "}', "t.jsonl:1: prompt is empty"),
        (
            '{"qid": 1, "query": "x"}\n{"qid": "1", "query": "y"}',
            "t.jsonl:2: the id '1' has another prompt above",
        ),
    ],
)
def test_topics_that_are_refused(tmp_path, line, message):
    with pytest.raises(ValueError, match=message) as error:
        read_topics(write(tmp_path / "t.jsonl", line))
    assert "\n" not in str(error.value)


def test_examples(tmp_path):
    path = write(
        tmp_path / "e.jsonl", '{"question": "1+1?", "answer": "2"}', '{"query": "2+2?", "response": "4"}'
    )
    assert read_examples(path, 2) == [("1+1?", "2"), ("2+2?", "4")]
    assert read_examples(path, 1) == [("1+1?", "2")]
    with pytest.raises(ValueError, match="has 2 worked examples, fewer than the 3"):
        read_examples(path, 3)
    with pytest.raises(ValueError, match=r"e\.jsonl:1: no worked example"):
        read_examples(write(path, '{"question": "1+1?", "gold": 2}'), 1)


def test_a_system_column_is_the_first_message(tmp_path):
    path = write(
        tmp_path / "t.jsonl",
        '{"qid": "a", "prompt": "2+2?", "system": "Be brief."}',
        '{"qid": "b", "question": "why?", "system_prompt": null}',
    )
    topics = read_topics(path)
    assert topics["prompt"].tolist() == [[SYSTEM, USER], None]
    assert topics.columns.tolist() == ["qid", "query", "prompt"]
    with pytest.raises(ValueError, match=r"t\.jsonl:1: tools is a part of the prompt that is not supported"):
        read_topics(write(path, '{"qid": "a", "prompt": "2+2?", "tools": [{"name": "add"}]}'))


def test_a_response_that_was_cut_gets_no_end(tmp_path):
    """A response cut at max_new_tokens, known by its text alone, was trained on as if it had ended there."""
    pool = CandidatePool()
    rows = {"qid": "a", "query": "2+2?", "docno": ["x", "y"], "text": ["4", "5 because"], "score": [1.0, 0.0]}
    pool.add(pd.DataFrame({**rows, "finished": [True, False]}))
    lists = sample_lists(pool.view(), BestWorst())
    assert lists["finished"] == [[True, False]]
    (tokens,) = tokenize_dataset(lists, chat_tokenizer(), max_length=None)["completion_ids"]
    assert [ids[-1] == 1 for ids in tokens] == [True, False]
    config = AlignConfig(
        str(tmp_path / "run"),
        "dpo",
        iterations=1,
        eval_samples=1,
        training={"use_cpu": True, "logging_steps": 1},
    )
    align(make_generator(), None, TOPICS[:1], config, candidates=pool)
    steps = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert next(step["margin"] for step in steps if "margin" in step) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    "options", [{"chat": False}, {"chat": False, "system": "Be.", "prompt_format": "Q: {query}\nA:"}]
)
def test_a_prompt_that_is_an_example_too_is_made_once(tmp_path, options):
    """The generator made it twice, gave the answer away, and trained on something else."""
    generator = make_generator(few_shot=(("2+2?", "4"), ("xy", "z")), **options)
    results = generator(TOPICS)
    np.testing.assert_allclose(results["logprob"], frame_logprobs(generator, results), atol=1e-3)
    assert not results["prompt"].str.contains("2\\+2\\? 4")[results["qid"] == "a"].any()
    config = AlignConfig(
        str(tmp_path / "run"), "dpo", iterations=1, num_candidates=4, training={"use_cpu": True}
    )
    align(generator, VerifiableReward(len), TOPICS, config)
    steps = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert next(step["margin"] for step in steps if "margin" in step) == pytest.approx(0, abs=1e-5)


def test_a_length_limit_with_recorded_lists(tmp_path):
    pool = CandidatePool.from_ranked(
        [{"id": "a", "prompt": "2+2?", "completions": ["4", "5"], "relevance": [1, 0]}]
    )
    config = AlignConfig(
        str(tmp_path / "run"), "dpo", iterations=1, training={"use_cpu": True, "max_length": 100}
    )
    result = align(make_generator(), None, TOPICS[:1], config, candidates=pool)
    assert len(result.summary["iterations"]) == 2


def test_a_completion_of_several_turns_is_no_candidate():
    """All but its last message were thrown away."""
    turns = [{"role": "assistant", "content": "hi"}, USER, {"role": "assistant", "content": "4"}]
    rows = [{"prompt": [USER], "completions": [turns, [turns[0]]], "relevance": [1, 0]}]
    with pytest.raises(ValueError, match="has a completion of 3 messages, and a candidate is one response"):
        CandidatePool.from_ranked(rows)


@pytest.mark.parametrize("value", ["x", {}, [1]])
def test_objective_parameters_of_the_wrong_kind(value):
    with pytest.raises(ValueError, match=r"objective_parameters\.beta must be a number, got"):
        AlignConfig(objective="dpo", objective_parameters={"beta": value})
