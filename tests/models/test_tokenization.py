"""How prompts and responses become tokens, and what does not fit."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trl.data_utils import apply_chat_template

from larpo_ir.models.scoring import list_logprobs
from larpo_ir.models.tokenization import render_prompt, tokenize_lists, tokenize_prompts
from tests.small_models import (
    CHAT_TEMPLATE,
    THINKING_TEMPLATE,
    make_model,
    make_sentencepiece_tokenizer,
    make_tokenizer,
    naive_logprob,
    naive_scores,
)


def tokens_of(tokenizer, lists: list) -> list[list[str]]:
    return [["".join(tokenizer.convert_ids_to_tokens(ids)) for ids in one.completion_ids] for one in lists]


# Tokens


@pytest.mark.parametrize(
    ("append_eos", "expected"),
    [
        (True, ["ab</s>", "ab</s>", "</s>", "</s>", "a</s>b</s>"]),
        (False, ["ab", "ab</s>", "", "</s>", "a</s>b"]),
        ([[False, True, True, False, False]], ["ab", "ab</s>", "</s>", "</s>", "a</s>b"]),
    ],
)
@pytest.mark.parametrize("added", [{}, {"bos": True}, {"eos": True}, {"bos": True, "eos": True}])
def test_eos_is_there_once_or_not_at_all(append_eos, expected, added):
    tokenizer = make_tokenizer(**added)
    lists = tokenize_lists(tokenizer, ["Q:"], [["ab", "ab</s>", "", "</s>", "a</s>b"]], append_eos=append_eos)
    assert tokens_of(tokenizer, lists) == [expected]
    assert tokenizer.convert_ids_to_tokens(lists[0].prompt_ids) == [*["<s>"] * ("bos" in added), "Q", ":"]


def test_prompts_that_end_with_eos_keep_it_once():
    for eos in (False, True):
        tokenizer = make_tokenizer(eos=eos)
        (ids,) = tokenize_prompts(tokenizer, ["Q</s>"])
        assert tokenizer.convert_ids_to_tokens(ids) == ["Q", "</s>"]


def test_empty_prompts_start_with_bos():
    assert tokenize_prompts(make_tokenizer(bos=True), [""]) == [[0]]
    assert tokenize_prompts(make_tokenizer(bos=True, eos=True), [""]) == [[0]]
    assert tokenize_prompts(make_tokenizer(bos_token="<s>"), ["", "Q"])[0] == [0]  # not added by itself
    same = make_tokenizer(bos_token="</s>")  # one token for both, as in GPT-2
    assert tokenize_prompts(same, [""]) == [[1]]
    with pytest.raises(ValueError, match="prompt 1 is empty and the tokenizer has no BOS token"):
        tokenize_lists(make_tokenizer(), ["Q", ""], [["a"], ["b"]])


def test_a_tokenizer_without_eos_can_only_leave_it_out():
    tokenizer, model = make_tokenizer(eos_token=None), make_model()
    with pytest.raises(ValueError, match=r"no EOS token to append: give it one or append_eos=False$"):
        list_logprobs(model, tokenizer, ["Q"], [["a"]])
    scores = list_logprobs(model, tokenizer, ["Q"], [["a", ""]], append_eos=False)
    flagged = list_logprobs(model, tokenizer, ["Q"], [["a", ""]], append_eos=[[False, False]])
    assert torch.equal(scores, flagged)


@pytest.mark.parametrize(
    ("prompt", "response", "tokens"),
    [
        ("the a", "b", ["b"]),  # "ab" is one token
        ("x1", "2", ["2"]),
        ("Q:", " the 4", ["Ġthe", "Ġ4"]),
        ("Q: ", "4", ["4"]),
        ("Q:\n", "\n\n", ["ĊĊ"]),  # in one text the first two line breaks are one token
        ("Q:", "</s>ab", ["</s>", "ab"]),
        ("<|user|>a<|assistant|>", "b", ["b"]),
    ],
)
def test_tokens_that_would_merge_across_the_border(prompt, response, tokens):
    tokenizer = make_tokenizer()
    (one,) = tokenize_lists(tokenizer, [prompt], [[response]], append_eos=False)
    assert one.prompt_ids == tokenizer(prompt)["input_ids"]  # what the generator reads
    assert tokenizer.convert_ids_to_tokens(one.completion_ids[0]) == tokens


@pytest.mark.parametrize("prepend", ["always", "first", "never"])
@pytest.mark.parametrize(
    ("prompt", "response", "tokens"),
    [
        ("Q:", "4", ["4"]),
        ("Q:", " 4", ["▁4"]),
        ("Q: ", "4", ["4"]),  # merges into ▁4; alone it would become ▁4 as well
        ("Q: ", "is x", ["is", "▁", "x"]),
        ("Q:\n", "x", ["x"]),
        ("Q:\n", "\nx", ["<0x0A>", "x"]),
        ("Q:é", "é", ["<0xC3>", "<0xA9>"]),
    ],
)
def test_no_tokenizer_puts_a_space_before_a_response(prepend, prompt, response, tokens):
    tokenizer = make_sentencepiece_tokenizer(prepend=prepend)
    (one,) = tokenize_lists(tokenizer, [prompt], [[response]])
    assert tokenizer.convert_ids_to_tokens(one.completion_ids[0]) == [*tokens, "</s>"]
    assert one.prompt_ids == tokenizer(prompt)["input_ids"]


TEXTS = st.text(alphabet="ab x124\nthéQ", max_size=6)
TOKENIZERS = [
    make_tokenizer(bos=True),
    make_tokenizer(bos=True, eos=True),
    *(make_sentencepiece_tokenizer(prepend=prepend) for prepend in ("always", "first", "never")),
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@settings(deadline=None, max_examples=60)
@given(prompt=TEXTS, responses=st.lists(TEXTS, min_size=1, max_size=3))
def test_prompt_and_response_read_as_one_text(tokenizer, prompt, responses):
    prompt = f"Q{prompt}"
    (one,) = tokenize_lists(tokenizer, [prompt], [responses], append_eos=False)
    assert tokenize_prompts(tokenizer, [prompt]) == [one.prompt_ids]
    for text, ids in zip(responses, one.completion_ids, strict=True):
        together = tokenizer.decode(tokenizer(prompt + text)["input_ids"]).removesuffix("</s>")
        assert tokenizer.decode(one.prompt_ids + ids) == together
        assert tokenizer.eos_token_id not in ids


# Chats

USER, TOOL = {"role": "user", "content": "ab the"}, {"role": "tool", "content": "12"}
ASSISTANT, SYSTEM = {"role": "assistant", "content": "xy"}, {"role": "system", "content": "4"}
CHATS = [[USER], [SYSTEM, USER], [USER, ASSISTANT, TOOL], [USER, ASSISTANT], [USER, ASSISTANT, USER]]


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("chat", CHATS)
def test_chats_are_rendered_by_trls_rules(chat, bos):
    tokenizer = make_tokenizer(chat_template=CHAT_TEMPLATE, bos=bos)
    text = apply_chat_template({"prompt": chat}, tokenizer)["prompt"]
    assert render_prompt(tokenizer, chat) == text
    assert text.endswith("<|assistant|>" if chat[-1]["role"] != "assistant" else "<|assistant|>xy")
    expected = tokenizer(text, add_special_tokens=False)["input_ids"]  # BOS is the template's business
    (one,) = tokenize_lists(tokenizer, [chat], [["z", ""]])
    assert one.prompt_ids == expected
    assert tokens_of(tokenizer, [one]) == [["z</s>", "</s>"]]
    assert tokenize_prompts(tokenizer, [chat, "Q", chat]) == [expected, tokenizer("Q")["input_ids"], expected]


@pytest.mark.parametrize("template", [CHAT_TEMPLATE, THINKING_TEMPLATE])
@pytest.mark.parametrize("chat", [[USER], [SYSTEM, USER], [USER, ASSISTANT, TOOL]])
def test_responses_as_messages(chat, template):
    tokenizer = make_tokenizer(chat_template=template)
    answers = [[{"role": "assistant", "content": text}] for text in ("xy", "", "a 4")]
    (one,) = tokenize_lists(tokenizer, [chat], [answers])
    for answer, ids in zip(answers, one.completion_ids, strict=True):
        theirs = apply_chat_template({"prompt": chat, "completion": answer}, tokenizer)
        assert tokenizer.decode(one.prompt_ids) == theirs["prompt"]
        assert tokenizer.decode(ids) == theirs["completion"] == answer[0]["content"] + "</s>"
    unmarked, _ = (
        tokenize_lists(tokenizer, [chat], [answers], append_eos=append_eos) for append_eos in (False, True)
    )
    assert unmarked == [one]  # the template ends messages, nobody else


def test_the_model_reads_what_the_template_wrote():
    tokenizer, model = make_tokenizer(chat_template=CHAT_TEMPLATE, bos=True), make_model()
    answer = [{"role": "assistant", "content": "xy"}]
    as_messages = list_logprobs(model, tokenizer, [[USER]], [[answer, answer]])
    as_text = list_logprobs(model, tokenizer, [[USER]], [["xy", "xy"]])
    assert torch.equal(as_messages, as_text)
    rendered = tokenizer("<|user|>ab the</s><|assistant|>xy</s>", add_special_tokens=False)["input_ids"]
    expected = naive_logprob(model, rendered[:-2], rendered[-2:])
    torch.testing.assert_close(as_text[0, 0].double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("prompts", "completions", "message"),
    [
        ([[USER, SYSTEM]], [["a"]], "must end with a user, tool or assistant message, not 'system'"),
        ([[]], [["a"]], "a prompt must be a string or a list of chat messages, got []"),
        ([None], [["a"]], "a prompt must be a string or a list of chat messages, got None"),
        (["Q", "Q"], [["a"]], "2 prompts but 1 lists of completions"),
        (["Q"], ["abc"], "completions of prompt 0 must be a list, of strings or of chats: got 'abc'"),
        (["Q", "Q"], [["a"], "b"], "completions of prompt 1 must be a list, of strings or of chats: got 'b'"),
        ([[USER]], [["a", [ASSISTANT]]], "completions of prompt 0 must be a list, of strings or of chats"),
        (["Q"], [[[ASSISTANT]]], "completions are chat messages but the prompt is a string"),
    ],
)
def test_bad_input_gets_one_line(prompts, completions, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        list_logprobs(make_model(), make_tokenizer(chat_template=CHAT_TEMPLATE), prompts, completions)
    assert "\n" not in str(error.value)


# What does not fit


@torch.no_grad()
def test_long_responses_are_cut_without_eos_and_counted():
    tokenizer, model = make_tokenizer(), make_model()
    completions = [["zzz", "zz", "zzzzz", ""], ["z"]]
    with pytest.warns(UserWarning, match="2 of 5 responses were cut to 6 tokens with their prompt") as caught:
        scores = list_logprobs(model, tokenizer, ["QQQ", "Q"], completions, max_length=6)
    assert len(caught) == 1
    lists = tokenize_lists(tokenizer, ["QQQ", "Q"], completions, max_length=6)
    assert tokens_of(tokenizer, lists) == [["zzz", "zz</s>", "zzz", "</s>"], ["z</s>"]]
    assert [one.num_truncated for one in lists] == [2, 0]
    torch.testing.assert_close(scores.double(), naive_scores(model, lists), rtol=1e-5, atol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list_logprobs(model, tokenizer, ["QQQ"], [["zz"]], max_length=6)  # fits exactly


@torch.no_grad()
def test_the_limit_is_the_models_context_by_default():
    tokenizer = make_tokenizer()
    with pytest.warns(UserWarning, match="1 of 1 responses were cut to 128 tokens"):
        list_logprobs(make_model(), tokenizer, ["Q"], [["z" * 200]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list_logprobs(make_model("bloom"), tokenizer, ["Q"], [["z" * 200]])


@pytest.mark.parametrize("length", [6, 7, 200])
def test_prompts_without_room_for_a_response(length):
    with pytest.raises(
        ValueError, match=f"^prompt 1 has {length} tokens and the limit is 6: shorten"
    ) as error:
        list_logprobs(make_model(), make_tokenizer(), ["Q", "Q" * length], [["a"], ["b"]], max_length=6)
    assert "\n" not in str(error.value)
