"""What chat templates write, in the styles of published models, and how prompts and responses follow it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trl
from hypothesis import given, settings
from hypothesis import strategies as st
from trl.data_utils import apply_chat_template

from larpo_ir.models.templates import end_of_turn, is_templated, template_of
from larpo_ir.models.tokenization import render_prompt, tokenize_lists, tokenize_prompts
from tests.small_models import (
    CHAT_TEMPLATE,
    SPECIALS,
    STYLES,
    THINKING_TEMPLATE,
    make_sentencepiece_tokenizer,
    make_styled_tokenizer,
    make_tokenizer,
)

SYSTEM, USER = {"role": "system", "content": "xy"}, {"role": "user", "content": "ab the"}
ASSISTANT, AGAIN = {"role": "assistant", "content": "4"}, {"role": "user", "content": "Q"}
THOUGHT = "<think>\nx\n</think>\n\n4"
SAMPLED = [
    ("thinks", THOUGHT),
    ("thinking", "x\n</think>\n\n4"),
    ("channels", "x<|end|><|assistant|><|final|>4"),
    ("mistral", " 4"),
    ("mistral", "\n4"),
    ("llama2", " 4 "),
    ("vicuna", " 4"),
]
ANSWERS = ["4", "", "x y", "a\n\nb"]

# What an answer ends with, the token of it, and what stands before an answer.
ENDS = {
    "chatml": ("<|im_end|>", "<|im_end|>", ""),
    "thinks": ("<|im_end|>", "<|im_end|>", "<think>\n\n</think>\n\n"),
    "gemma": ("<end_of_turn>", "<end_of_turn>", ""),
    "llama3": ("<|eot_id|>", "<|eot_id|>", ""),
    "llama2": (" </s>", "</s>", " "),
    "mistral": ("</s>", "</s>", " "),
    "phi": ("<|end|>", "<|end|>", ""),
    "glm": ("</s>", None, ""),
    "vicuna": ("</s>", "</s>", " "),
    "words": ("###</s>", None, ""),
    "thinking": ("<|im_end|>", "<|im_end|>", "\n</think>\n\n"),
    "channels": ("<|return|>", "<|return|>", "<|final|>"),
    "bare": ("</s>", None, ""),
}


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.fixture(params=STYLES)
def style(request):
    return request.param


@pytest.fixture
def tokenizer(style):
    return make_styled_tokenizer(style)


def test_the_end_of_turn_is_what_the_template_writes(tokenizer, style):
    token = ENDS[style][1]
    assert end_of_turn(tokenizer) == (None if token is None else tokenizer.convert_tokens_to_ids(token))


def test_without_a_template_nothing_ends_a_turn_and_nothing_is_templated():
    tokenizer = make_tokenizer()
    assert end_of_turn(tokenizer) is None
    assert not is_templated(tokenizer, "<|user|>ab</s><|assistant|>")


def test_strings_end_and_begin_as_messages_do(tokenizer, style):
    chats = [[USER], [USER, ASSISTANT, AGAIN]]
    ending, _, lead = ENDS[style]
    for chat in chats:
        strings, messages = tokenize_lists(tokenizer, [chat] * 2, [ANSWERS, [said(text) for text in ANSWERS]])
        assert strings == messages
        assert [strings.prompt_ids] == tokenize_prompts(tokenizer, [chat])
        assert [tokenizer.decode(ids) for ids in strings.completion_ids] == [
            lead + text + ending for text in ANSWERS
        ]


STYLED = {style: make_styled_tokenizer(style) for style in STYLES}
TRIMMED = ("gemma", "llama3", "llama2")


@pytest.mark.parametrize("style", STYLES)
@settings(deadline=None, max_examples=30)
@given(texts=st.lists(st.text(alphabet="ab x12\nthé.", max_size=6), min_size=1, max_size=3))
def test_any_string_and_its_message_are_the_same_tokens(style, texts):
    tokenizer, chat = STYLED[style], [USER, ASSISTANT, AGAIN]
    if style in TRIMMED:
        texts = [text.strip() for text in texts]
    if ENDS[style][2] == " ":  # a string that begins with white space shows that its model wrote it
        texts = [text.lstrip() for text in texts]
    strings, messages = tokenize_lists(tokenizer, [chat] * 2, [texts, [said(text) for text in texts]])
    assert [strings.prompt_ids] == tokenize_prompts(tokenizer, [chat])
    assert strings == messages
    for text, ids in zip(texts, strings.completion_ids, strict=True):
        whole = tokenizer.apply_chat_template([*chat, *said(text)], tokenize=False)
        learned = tokenizer.decode(strings.prompt_ids + ids)
        assert learned == whole.removesuffix(template_of(tokenizer).behind) + "</s>" * (
            ENDS[style][1] is None
        )


def test_a_response_that_has_ended_gets_no_second_end(tokenizer, style):
    ending, token, lead = ENDS[style]
    eos = tokenizer.eos_token
    texts = ["4" + ending, f"4{ending}\n", f"4{eos}"]
    for append_eos in (True, False):
        (one,) = tokenize_lists(tokenizer, [[USER]], [texts], append_eos=append_eos)
        decoded = [tokenizer.decode(ids) for ids in one.completion_ids]
        assert decoded[0] == f"{lead}4{ending}"
        assert one.completion_ids[0][-1] == (
            tokenizer.eos_token_id if token is None else tokenizer.convert_tokens_to_ids(token)
        )
        assert decoded[1] in (decoded[0], f"{decoded[0]}\n")
        assert decoded[2] == f"{lead}4{eos}"
        if token is not None:
            assert decoded[1] == decoded[0]


def test_unfinished_strings_do_not_end(tokenizer, style):
    (one,) = tokenize_lists(tokenizer, [[USER]], [["4", "4"]], append_eos=[[False, True]])
    unfinished, finished = (tokenizer.decode(ids) for ids in one.completion_ids)
    assert unfinished == "4"  # cut while it was sampled: nothing is written before it
    assert finished == ENDS[style][2] + unfinished + ENDS[style][0]


def test_what_was_sampled_stays_as_it_was():
    for style, sampled in SAMPLED:
        (one,) = tokenize_lists(make_styled_tokenizer(style), [[USER]], [[sampled]])
        text = make_styled_tokenizer(style).decode(one.completion_ids[0])
        assert text == sampled + ENDS[style][0].lstrip()


@pytest.mark.parametrize("chat", [[USER], [USER, ASSISTANT, AGAIN]])
def test_a_rendered_chat_is_the_chat(tokenizer, style, chat):
    text = render_prompt(tokenizer, chat)
    assert is_templated(tokenizer, text) == (style != "bare")
    if style == "bare":
        return
    bos = template_of(tokenizer).start
    prompts = [chat, text, text.removeprefix(bos)]
    expected, *others = tokenize_prompts(tokenizer, prompts)
    assert others == [expected, expected]
    assert expected == tokenizer(text, add_special_tokens=False)["input_ids"]
    of_chat, *of_texts = tokenize_lists(tokenizer, prompts, [ANSWERS] * 3)
    assert of_texts == [of_chat, of_chat]


def test_a_template_without_bos_is_read_without_bos_as_a_string_too():
    tokenizer = make_tokenizer(bos=True, chat_template=CHAT_TEMPLATE)
    text = "<|user|>ab the</s><|assistant|>"
    of_chat, of_text, plain = tokenize_prompts(tokenizer, [[USER], text, "ab"])
    assert of_chat == of_text
    assert of_chat[0] != tokenizer.bos_token_id == plain[0]


def test_a_rendered_chat_may_be_of_a_begun_answer(tokenizer, style):
    if style in (
        "bare",
        "vicuna",
        "words",
        "thinks",
        "thinking",
    ):  # it has no mark, or closes what was thought
        return
    chat = [USER, {"role": "assistant", "content": "x"}]
    text = render_prompt(tokenizer, chat)
    of_chat, of_text, of_message = tokenize_lists(tokenizer, [chat, text, chat], [["y"], ["y"], [said("y")]])
    assert of_chat == of_text == of_message
    assert tokenizer.decode(of_chat.completion_ids[0]) == "y" + ENDS[style][0]


@pytest.mark.parametrize("style", [style for style in STYLES if STYLES[style].get("bos")])
def test_a_string_with_bos_gets_no_second_one(style):
    for eos in (False, True):
        tokenizer = make_styled_tokenizer(style, eos=eos)
        plain, marked = tokenize_lists(tokenizer, ["ab", "<s>ab"], [["x"], ["x"]])
        assert plain == marked
        assert tokenizer.decode(plain.prompt_ids) == "<s>ab"


def test_bos_of_a_tokenizer_without_a_template():
    for tokenizer in (make_tokenizer(bos=True), make_sentencepiece_tokenizer()):
        (ids,) = tokenize_prompts(tokenizer, ["<s>Q"])
        assert ids.count(0) == 1
    tokenizer = make_tokenizer(bos_token="<s>")  # one that it does not put there by itself
    assert tokenize_prompts(tokenizer, ["<s>Q", "Q"]) == [
        [0, *tokenizer("Q")["input_ids"]],
        tokenizer("Q")["input_ids"],
    ]


PROSE = [
    "",
    "What is 2+2?",
    "<s>What is 2+2?",
    "<|im_start|>What is 2+2?",
    "ab</s>",
    "if a < b and b > c: print([x])",
    "user: hi\nassistant: hello",
    "USER: hi",
    "The ASSISTANT: is a word",
    "<b>user</b> [sic]",
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_is_not_templated(tokenizer, text):
    assert not is_templated(tokenizer, text)


def test_words_and_white_space_that_were_added_to_a_vocabulary_are_no_marks():
    tokenizer = make_styled_tokenizer("vicuna")
    tokenizer.add_tokens(["USER", "chat"])
    assert is_templated(tokenizer, "A chat. USER: hi ASSISTANT:")
    assert not is_templated(tokenizer, "The USER: is always right in a chat.")
    tokenizer = make_styled_tokenizer("words")
    tokenizer.chat_template = tokenizer.chat_template.replace("###", "\n<|end|>")
    tokenizer.add_tokens(["\n"])
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids("<|end|>")
    strings, messages = tokenize_lists(tokenizer, [[USER]] * 2, [["4"], [said("4")]])
    assert strings == messages
    assert tokenizer.decode(strings.completion_ids[0]) == "4\n<|end|>"


def test_a_template_may_change_letters():
    tokenizer = make_styled_tokenizer("chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace("m['content']", "m['content'] | upper")
    assert render_prompt(tokenizer, [USER]) == "<|im_start|>user\nAB THE<|im_end|>\n<|im_start|>assistant\n"
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_other_models_marks_are_prose(style):
    other = {"gemma": "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"}.get(
        style, "<start_of_turn>user\nab<end_of_turn>\n<start_of_turn>model\n"
    )
    assert not is_templated(make_styled_tokenizer(style), other)


TRLS = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))


@pytest.mark.parametrize("path", TRLS, ids=lambda path: path.stem)
def test_templates_that_trl_ships(path):
    """What must hold of any template. The special tokens are those that the template's text names."""
    text = path.read_text(encoding="utf-8")
    tags = set(re.findall(r"<\|[^|<>]+\|>|<｜[^｜]+｜>|</?[a-z_]+>|<\|[a-z]+>|<[a-z]+\|>", text)) - set(
        SPECIALS
    )
    tokenizer = make_tokenizer(bos=True, chat_template=text, extra_specials=sorted(tags))
    if path.stem.removesuffix("_training") in ("idefics3", "llava_next", "smolvlm"):  # they want parts
        with pytest.raises(
            ValueError, match=r"^the chat template (leaves out what a message of the role 'user'|refuses)"
        ):
            render_prompt(tokenizer, [USER])
        return
    rendered = render_prompt(tokenizer, [USER])
    assert is_templated(tokenizer, rendered)
    assert not any(is_templated(tokenizer, prose) for prose in PROSE)
    of_chat, of_text = tokenize_lists(tokenizer, [[USER], rendered], [["4", "x y"]] * 2)
    assert of_chat == of_text
    (of_messages,) = tokenize_lists(tokenizer, [[USER]], [[said("4"), said("x y")]])
    if of_messages.prompt_ids == of_chat.prompt_ids:  # it renders the prompt alike before an answer
        assert of_messages == of_chat
    whole = tokenizer.apply_chat_template([USER, *said("4")], tokenize=False)
    learned = tokenizer.decode(of_messages.prompt_ids + of_messages.completion_ids[0])
    assert whole.startswith(learned.removesuffix("</s>"))
    end = end_of_turn(tokenizer)
    assert {ids[-1] for ids in of_chat.completion_ids} == {tokenizer.eos_token_id if end is None else end}


def test_a_changed_template_is_read_again():
    tokenizer = make_styled_tokenizer("gemma")
    assert is_templated(tokenizer, "<start_of_turn>user\n")
    tokenizer.chat_template = STYLES["chatml"]["chat_template"]
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert not is_templated(tokenizer, "<start_of_turn>user\n")
    assert is_templated(tokenizer, "<|im_start|>user\nhi")
    assert not is_templated(tokenizer, "What does <|im_start|>user\n mean?")
    assert is_templated(tokenizer, "x<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")


def test_a_prompt_rendered_differently_before_an_answer_is_cut_as_trl_cuts_it():
    tokenizer = make_tokenizer(chat_template=THINKING_TEMPLATE)
    (messages,) = tokenize_lists(tokenizer, [[USER]], [[said("xy"), said("")]])
    theirs = apply_chat_template({"prompt": [USER], "completion": said("xy")}, tokenizer)
    assert tokenizer.decode(messages.prompt_ids) == theirs["prompt"] == "<|user|>ab the</s><|assistant|>"
    assert [tokenizer.decode(ids) for ids in messages.completion_ids] == ["xy</s>", "</s>"]
    (strings,) = tokenize_lists(tokenizer, [[USER]], [["xy"]])  # behind what the generator read
    assert tokenizer.decode(strings.prompt_ids) == "<|user|>ab the</s><|assistant|>think:"


def test_the_border_of_a_message_keeps_the_prompt():
    """In one text the template's line break and the answer's are one token."""
    tokenizer = make_styled_tokenizer("chatml")
    strings, messages = tokenize_lists(tokenizer, [[USER]] * 2, [["\nx"], [said("\nx")]])
    assert strings == messages
    assert [strings.prompt_ids] == tokenize_prompts(tokenizer, [[USER]])
    assert tokenizer.decode(strings.completion_ids[0]) == "\nx<|im_end|>"


def test_completions_of_several_turns():
    tokenizer = make_styled_tokenizer("chatml")
    (one,) = tokenize_lists(tokenizer, [[USER]], [[[ASSISTANT, AGAIN, *said("x")]]])
    assert tokenizer.decode(one.completion_ids[0]) == (
        "4<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nx<|im_end|>"
    )


def test_a_message_that_a_template_leaves_out_is_refused():
    tokenizer = make_tokenizer(
        chat_template="{% for m in messages %}{% if m['role'] in ('user', 'assistant') %}<|{{ m['role'] }}|>"
        "{{ m['content'] }}{% endif %}{% endfor %}"
    )
    assert render_prompt(tokenizer, [USER]) == render_prompt(tokenizer, [{**SYSTEM, "content": " "}, USER])
    for role in ("system", "developer", "tool"):
        with pytest.raises(
            ValueError, match=rf"^query b: the chat template leaves out what a message of the role '{role}'"
        ):
            tokenize_prompts(tokenizer, [[{**SYSTEM, "role": role}, USER]], places=["query b"])
    for style in STYLES:
        assert not template_of(make_styled_tokenizer(style)).lost


def test_null_keys_are_as_absent():
    tokenizer = make_tokenizer(
        chat_template="{% for m in messages %}{{ m.role }}{{ m['name'] if 'name' in m }}:{{ m.content }}{% endfor %}"
    )
    filled = [{**USER, "name": None}]
    assert tokenize_prompts(tokenizer, [filled]) == tokenize_prompts(tokenizer, [[USER]])
    assert render_prompt(tokenizer, [{**USER, "name": "A"}]) == "userA:ab the"


REFUSED = {
    "system": ("gemma", [SYSTEM, USER], "the chat template refuses this chat: System role not supported"),
    "roles": (
        "gemma",
        [USER, USER],
        "the chat template refuses this chat: Conversation roles must alternate",
    ),
    "syntax": ("{% for %}", [USER], "the chat template refuses this chat: TemplateSyntaxError: "),
    "type": (
        "{{ 'a' + 5 }}",
        [USER],
        "the chat template refuses this chat: TypeError: can only concatenate str",
    ),
    "undefined": (
        "{{ a.b.c }}",
        [USER],
        "the chat template refuses this chat: UndefinedError: 'a' is undefined",
    ),
    "lines": ("{{ raise_exception('no\\n  way') }}", [USER], "the chat template refuses this chat: no way"),
    "silent": (
        "{{ raise_exception('') }}",
        [USER],
        "the chat template refuses this chat: it gives no reason",
    ),
    "dropped": (
        "x",
        [USER, ASSISTANT],
        "the chat template leaves out what a message of the role 'user' says",
    ),
    "trimmed": (
        "{{ messages[0].content }}{% if messages[1:] %}{{ messages[1].content[:20] }}{% endif %}",
        [USER, {**ASSISTANT, "content": "x" * 30}],
        "the chat template refuses this chat: ValueError: ",
    ),
    "none": (None, [USER], "the tokenizer has no chat template, so it cannot read a chat"),
    "content": ("gemma", [{"role": "user"}], "prompt[0] has no content"),
    "null": ("gemma", [{"role": "user", "content": None}], "prompt[0] has no content"),
    "parts": (
        "gemma",
        [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
        "prompt[0] has content in parts",
    ),
    "calls": ("gemma", [{**ASSISTANT, "tool_calls": [{}]}], "prompt[0] has tool_calls"),
    "number": ("gemma", 5, "a prompt must be a string or a list of chat messages, got 5"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_template_refuses_is_one_line_that_names_the_prompt(name):
    template, chat, message = REFUSED[name]
    made = make_styled_tokenizer(template) if template in STYLES else make_tokenizer(chat_template=template)
    for places, place in ((None, "prompt 1"), (["query a", "query b"], "query b")):
        for tokenize in (
            lambda prompts, places: tokenize_prompts(made, prompts, places=places),
            lambda prompts, places: tokenize_lists(made, prompts, [["4"], ["4"]], places=places),
        ):
            with pytest.raises(ValueError, match=rf"^{place}: {re.escape(message)}") as caught:
                tokenize(["ab", chat], places)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 400


def test_completions_that_are_refused_name_their_prompt():
    tokenizer = make_styled_tokenizer("gemma")
    with pytest.raises(
        ValueError, match=r"^query b: the chat template refuses this chat: Conversation roles"
    ):
        tokenize_lists(tokenizer, [[USER]], [[[*said("4"), *said("5")]]], places=["query b"])
    with pytest.raises(
        ValueError, match=r"^prompt 0: completion must end with an assistant message, not 'user'"
    ):
        tokenize_lists(tokenizer, [[USER]], [[[ASSISTANT, USER]]])
    with pytest.raises(ValueError, match=r"^prompt 0: completion\[0\] has no content"):
        tokenize_lists(tokenizer, [[USER]], [[[{"role": "assistant"}]]])
    with pytest.raises(ValueError, match="2 prompts but 1 places"):
        tokenize_prompts(tokenizer, ["a", "b"], places=["query a"])
    with pytest.raises(ValueError, match=r"^query c has 4 tokens and the limit is 3: shorten"):
        tokenize_lists(tokenizer, ["Qxx"], [["a"]], max_length=3, places=["query c"])
