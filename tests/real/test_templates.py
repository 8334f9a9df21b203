"""Prompts and responses of four real models, with their own templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trl.data_utils import apply_chat_template

from larpo_ir.data.chats import with_response
from larpo_ir.data.lists import read_lists, to_pairs
from larpo_ir.models.templates import end_of_turn, is_templated
from larpo_ir.models.tokenization import render_prompt, tokenize_lists, tokenize_prompts
from tests.real.conftest import load_tokenizer

SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}
ASSISTANT, AGAIN = {"role": "assistant", "content": "4"}, {"role": "user", "content": "Sure?\n"}
CHATS = [[USER], [SYSTEM, USER], [SYSTEM, USER, ASSISTANT, AGAIN]]
BOS = {"llama3_1": "<|begin_of_text|>", "gemma3": "<bos>", "qwen3": "", "smollm2": ""}
END = {"llama3_1": "<|eot_id|>", "gemma3": "<end_of_turn>", "qwen3": "<|im_end|>", "smollm2": "<|im_end|>"}
ANSWERS = ["4", "", "It is 4.", "naïve café 日本 🙂", "a\n\nb  c\n    d", "<b>4</b> [x]"]


def name_of(tokenizer: Any) -> str:
    return Path(tokenizer.name_or_path).name


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize("chat", CHATS)
def test_prompts_are_what_transformers_makes_of_them(tokenizer, chat):
    (ids,) = tokenize_prompts(tokenizer, [chat])
    assert ids == list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))
    assert ids.count(tokenizer.convert_tokens_to_ids(BOS[name_of(tokenizer)] or "?!")) == bool(
        BOS[name_of(tokenizer)]
    )


@pytest.mark.parametrize("chat", CHATS)
def test_a_rendered_chat_is_the_chat(tokenizer, chat):
    text = render_prompt(tokenizer, chat)
    assert is_templated(tokenizer, text)
    without = text.removeprefix(BOS[name_of(tokenizer)])
    assert is_templated(tokenizer, without)
    expected, *others = tokenize_prompts(tokenizer, [chat, text, without])
    assert others == [expected, expected]
    (of_chat, of_text) = tokenize_lists(tokenizer, [chat, text], [ANSWERS, ANSWERS])
    assert of_text == of_chat


def test_prose_is_no_template(tokenizer):
    others = {name for name in BOS if END[name] != END[name_of(tokenizer)]}
    prose = [
        "What is 2+2?",
        "",
        f"{BOS[name_of(tokenizer)]}What is 2+2?",
        f"{tokenizer.bos_token or ''}What is 2+2?",
        "user: hi\nassistant: hello",
        "if a < b and b > c: print('[x]') # <|endoftext|> </s> [INST] <b>user</b>",
        *(render_prompt(load_tokenizer(name), [USER]) for name in sorted(others)),
    ]
    assert [is_templated(tokenizer, text) for text in prose] == [False] * len(prose)


def test_a_string_with_bos_gets_no_second_one(tokenizer):
    bos = BOS[name_of(tokenizer)]
    plain, marked = tokenize_prompts(tokenizer, ["What is 2+2?", f"{bos}What is 2+2?"])
    assert plain == marked
    assert tokenizer.decode(plain) == f"{bos}What is 2+2?"
    one, two = tokenize_lists(tokenizer, ["What is 2+2?", f"{bos}What is 2+2?"], [["4"], ["4"]])
    assert one == two


def test_the_end_of_turn_is_the_templates_whatever_eos_is(tokenizer):
    expected = tokenizer.convert_tokens_to_ids(END[name_of(tokenizer)])
    assert end_of_turn(tokenizer) == expected
    eos = tokenizer.eos_token
    tokenizer.eos_token = {"gemma3": "<eos>", "llama3_1": "<|end_of_text|>"}.get(
        name_of(tokenizer), "<|endoftext|>"
    )
    try:
        assert tokenizer.eos_token_id != expected
        assert end_of_turn(tokenizer) == expected
        (of_strings,) = tokenize_lists(tokenizer, [[USER]], [["4", f"4{tokenizer.eos_token}"]])
        assert [ids[-1] for ids in of_strings.completion_ids] == [expected, tokenizer.eos_token_id]
        (plain,) = tokenize_lists(tokenizer, ["2+2="], [["4"]])
        assert plain.completion_ids[0][-1] == tokenizer.eos_token_id
    finally:
        tokenizer.eos_token = eos


@pytest.mark.parametrize("chat", CHATS)
def test_strings_and_messages_are_the_same_tokens(tokenizer, chat):
    """For Qwen 3 both begin with the empty block of thoughts that its template writes."""
    strings, messages = tokenize_lists(tokenizer, [chat, chat], [ANSWERS, [said(text) for text in ANSWERS]])
    assert strings == messages
    assert [strings.prompt_ids] == tokenize_prompts(tokenizer, [chat])
    for text, ids in zip(ANSWERS, messages.completion_ids, strict=True):
        whole = tokenizer.apply_chat_template(with_response(chat, text), tokenize=False)
        assert tokenizer.decode(strings.prompt_ids + ids) == whole.rstrip("\n")
        assert ids.count(end_of_turn(tokenizer)) == 1
        theirs = apply_chat_template({"prompt": chat, "completion": said(text)}, tokenizer)
        assert tokenizer.decode(ids) == theirs["completion"].rstrip("\n")
    again, unfinished = tokenize_lists(
        tokenizer,
        [chat, chat],
        [[text + END[name_of(tokenizer)] for text in ANSWERS], ANSWERS],
        append_eos=[[True] * len(ANSWERS), [False] * len(ANSWERS)],
    )
    assert again == strings
    assert [tokenizer.decode(ids) for ids in unfinished.completion_ids] == ANSWERS


def test_answers_that_borders_and_white_space_touch(tokenizer):
    """The prompt stays what the generator read. Templates that trim a message do not trim a string."""
    texts = ["\n4", " 4", "4\n", " \n 4 \n"]
    (strings,) = tokenize_lists(tokenizer, [[USER]], [texts])
    assert [strings.prompt_ids] == tokenize_prompts(tokenizer, [[USER]])
    lead = "<think>\n\n</think>\n\n" if name_of(tokenizer) == "qwen3" else ""
    assert [tokenizer.decode(ids) for ids in strings.completion_ids] == [
        lead + text + END[name_of(tokenizer)] for text in texts
    ]
    (messages,) = tokenize_lists(tokenizer, [[USER]], [[said(text) for text in texts]])
    assert messages.prompt_ids == strings.prompt_ids
    if name_of(tokenizer) == "smollm2":  # it writes messages as they are
        assert messages == strings


def test_a_begun_answer_is_continued(tokenizer):
    chat = [USER, {"role": "assistant", "content": "2+2 is"}]
    strings, messages = tokenize_lists(tokenizer, [chat, chat], [[" 4", "."], [said(" 4"), said(".")]])
    assert strings == messages
    whole = tokenizer.apply_chat_template([USER, *said("2+2 is 4")], tokenize=False).rstrip("\n")
    assert tokenizer.decode(strings.prompt_ids + strings.completion_ids[0]) == whole


def test_qwen_thinks_once():
    tokenizer = load_tokenizer("qwen3")
    thought = "<think>\ntwo and two\n</think>\n\n4"
    strings, messages = tokenize_lists(tokenizer, [[USER]] * 2, [[thought], [said(thought)]])
    assert strings == messages
    assert tokenizer.decode(strings.completion_ids[0]) == f"{thought}<|im_end|>"
    history = [USER, *said(thought), AGAIN]  # the template drops what was thought in earlier turns
    (ids,) = tokenize_prompts(tokenizer, [history])
    assert "two and two" not in tokenizer.decode(ids)
    (one,) = tokenize_lists(tokenizer, [history], [[said("4"), said(thought)]])
    assert one.prompt_ids == ids


def test_what_a_template_refuses_is_one_line(tokenizer):
    first = [{"role": "user", "content": "hi"}]
    places, prompts = ["query a", "query b"], [first, [*first, USER]]
    if name_of(tokenizer) != "gemma3":
        assert len(tokenize_prompts(tokenizer, prompts, places=places)) == 2
        return
    refused = "^{}: the chat template refuses this chat: Conversation roles must alternate user/assistant"
    for given, place in ((places, "query b"), (None, "prompt 1")):
        with pytest.raises(ValueError, match=refused.format(place)) as caught:
            tokenize_prompts(tokenizer, prompts, places=given)
        assert "\n" not in str(caught.value)
        with pytest.raises(ValueError, match=refused.format(place)):
            tokenize_lists(tokenizer, prompts, [["4"], ["4"]], places=given)
    with pytest.raises(ValueError, match=refused.format("prompt 0")):
        tokenize_lists(tokenizer, [[USER]], [[[*said("4"), *said("5")]]])


@pytest.mark.parametrize("chat", CHATS)
def test_lists_pairs_and_trl_agree(tokenizer, chat):
    row = {"prompt": chat, "completions": [said("4"), said("5")], "relevance": [1.0, 0.0]}
    (pair,) = to_pairs(read_lists([row]))
    (back,) = read_lists([pair])
    (one,) = tokenize_lists(tokenizer, [back["prompt"]], [back["completions"]])
    theirs = apply_chat_template(pair, tokenizer)
    assert tokenizer.decode(one.prompt_ids) == theirs["prompt"]
    assert [tokenizer.decode(ids) for ids in one.completion_ids] == [
        theirs[name].rstrip("\n") for name in ("chosen", "rejected")
    ]
