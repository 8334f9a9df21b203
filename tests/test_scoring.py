"""log π(y|x) against one sequence at a time, and how prompts and responses become tokens."""

from __future__ import annotations

import inspect
import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from trl.data_utils import apply_chat_template

from larpo_ir.scoring import (
    TokenizedList,
    context_length,
    list_logprobs,
    list_mask,
    pad_rows,
    pad_token_of,
    render_prompt,
    score_lists,
    sequence_logprobs,
    tokenize_lists,
    tokenize_prompts,
    unwrap,
)
from tests.models import (
    ARCHITECTURES,
    CHAT_TEMPLATE,
    THINKING_TEMPLATE,
    make_model,
    make_sentencepiece_tokenizer,
    make_tokenizer,
)

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)

# Ragged, longer than the sliding windows, with responses of no token, of one, and of padding and EOS tokens.
LISTS = [
    TokenizedList([7, 8, 9], [[10, 11, 12, 1], [13], []]),
    TokenizedList([20], [[2, 2, 21], [1]]),
    TokenizedList(list(range(30, 50)), [list(range(60, 80)), [5, 1, 5, 1], [99], [1, 1]]),
]


def naive_logprob(model: nn.Module, prompt: list[int], response: list[int]) -> torch.Tensor:
    """One sequence, no padding, no mask, softmax over all positions in float64."""
    ids = torch.tensor([prompt + response])
    logprobs = model(ids).logits[0].double().log_softmax(-1)
    places = range(len(prompt), ids.shape[1])
    return sum((logprobs[place - 1, ids[0, place]] for place in places), start=torch.zeros(()).double())


def naive_scores(model: nn.Module, lists: list[TokenizedList]) -> torch.Tensor:
    rows = [
        [naive_logprob(model, tokens.prompt_ids, ids) for ids in tokens.completion_ids] for tokens in lists
    ]
    width = max(map(len, rows))
    return torch.stack(
        [torch.stack([*row, *[torch.zeros(()).double()] * (width - len(row))]) for row in rows]
    )


def tokens_of(tokenizer, lists: list[TokenizedList]) -> list[list[str]]:
    return [["".join(tokenizer.convert_ids_to_tokens(ids)) for ids in one.completion_ids] for one in lists]


def left_padded(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    shifts = batch["input_ids"].shape[1] - batch["attention_mask"].sum(-1)
    return {
        name: torch.stack([row.roll(int(shift)) for row, shift in zip(x, shifts, strict=True)])
        for name, x in batch.items()
    }


# Scores


@every_architecture
@pytest.mark.parametrize("batch_size", [1, 2, 100])
@torch.no_grad()
def test_scores_are_those_of_one_sequence_at_a_time(architecture, batch_size):
    model = make_model(architecture)
    scores = score_lists(model, LISTS, pad_token_id=2, batch_size=batch_size)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), naive_scores(model, LISTS), rtol=1e-5, atol=1e-4)
    assert scores[0, 2] == 0  # no token
    assert scores[~list_mask([tokens.completion_ids for tokens in LISTS])].tolist() == [0.0] * 3


@every_architecture
def test_gradients_are_those_of_one_sequence_at_a_time(architecture):
    model = make_model(architecture)
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))

    def gradients(scores):
        model.zero_grad()
        (scores * weights).sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected = gradients(naive_scores(model, LISTS))
    largest = max(gradient.abs().max() for gradient in expected.values())
    for batch_size in (2, 100):
        found = gradients(score_lists(model, LISTS, batch_size=batch_size))
        assert found.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5 * largest, msg=name)


@every_architecture
def test_padding_on_either_side(architecture):
    model = make_model(architecture)
    rows = [(tokens.prompt_ids, ids) for tokens in LISTS for ids in tokens.completion_ids]
    right = pad_rows(rows, pad_token_id=2)
    left = left_padded(right)
    assert left["attention_mask"][0, 0] == 0  # there is padding, and on the left
    scores, gradients = [], []
    for batch in (right, left):
        model.zero_grad()
        scores.append(sequence_logprobs(model, **batch))
        scores[-1].sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-5 * float(gradients[0].abs().max()))


@every_architecture
@torch.no_grad()
def test_what_is_in_the_padding_does_not_matter(architecture):
    model = make_model(architecture)
    torch.testing.assert_close(
        score_lists(model, LISTS, pad_token_id=2), score_lists(model, LISTS, pad_token_id=55)
    )


class WithoutOptions(nn.Module):
    """A model whose forward takes ids and mask, and nothing else."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model
        self.shapes: list[torch.Size] = []

    def forward(self, input_ids, attention_mask):
        return self.inner(input_ids=input_ids, attention_mask=attention_mask)


@every_architecture
@torch.no_grad()
def test_only_needed_positions_reach_the_head_and_the_result_is_that_of_all(architecture):
    model = make_model(architecture)
    shapes = []
    model.get_output_embeddings().register_forward_hook(lambda m, i, output: shapes.append(output.shape[1]))
    lists = [TokenizedList(list(range(10, 30)), [[5, 6], [7, 8, 1]])]
    scores = score_lists(model, lists)
    everything = score_lists(WithoutOptions(model), lists)
    torch.testing.assert_close(scores, everything, rtol=1e-5, atol=1e-5)
    assert shapes == [4, 23]  # three response tokens and the one before them; all of them


def test_modes_and_gradients_are_the_callers():
    tokenizer = make_tokenizer()
    for training in (True, False):
        model = make_model().train(training)
        assert list_logprobs(model, tokenizer, ["a"], [["b", "c"]]).requires_grad
        with torch.no_grad():
            assert not list_logprobs(model, tokenizer, ["a"], [["b", "c"]]).requires_grad
        assert model.training is training


@torch.no_grad()
def test_sequences_of_similar_length_share_a_batch():
    model, shapes = make_model(), []
    model.model.register_forward_pre_hook(
        lambda m, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    score_lists(model, LISTS, batch_size=4)
    assert shapes == [(4, 40), (4, 7), (1, 2)]  # nine sequences; longest first


@torch.no_grad()
def test_half_precision_gives_single_precision_scores():
    model = make_model(initializer_range=0.1)
    exact = score_lists(model, LISTS)
    scores = score_lists(model.bfloat16(), LISTS)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, exact, rtol=0.02, atol=0.2)


@pytest.mark.parametrize("lists", [[], [TokenizedList([3], []), TokenizedList([4], [])]])
def test_nothing_to_score(lists):
    assert score_lists(make_model(), lists).shape == (len(lists), 0)


def test_responses_without_tokens_score_zero():
    model, tokenizer = make_model(), make_tokenizer()
    scores = list_logprobs(model, tokenizer, ["a", "b"], [["", ""], [""]], append_eos=False)
    assert scores.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    first = list_logprobs(model, tokenizer, ["a"], [[""]])
    expected = naive_logprob(model, tokenizer("a")["input_ids"], [tokenizer.eos_token_id])
    torch.testing.assert_close(first[0, 0].double(), expected, rtol=1e-5, atol=1e-5)


@every_architecture
@torch.no_grad()
def test_texts_end_to_end(architecture):
    model, tokenizer = make_model(architecture), make_tokenizer(bos=True)
    prompts, completions = ["ab the", "12"], [[" 4", "xy\n\n", ""], ["a<|user|>b"]]
    expected = [
        [
            naive_logprob(
                model,
                tokenizer(prompt)["input_ids"],
                tokenizer(f"{text}</s>", add_special_tokens=False)["input_ids"],
            )
            for text in texts
        ]
        for prompt, texts in zip(prompts, completions, strict=True)
    ]
    scores = list_logprobs(model, tokenizer, prompts, completions)
    assert scores.shape == (2, 3)
    torch.testing.assert_close(scores[0].double(), torch.stack(expected[0]), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(scores[1, :1].double(), torch.stack(expected[1]), rtol=1e-5, atol=1e-4)
    assert scores[1, 1:].tolist() == [0.0, 0.0]
    for layout in ("plain", "auto"):
        for batch_size in (1, 3):
            again = list_logprobs(
                model, tokenizer, prompts, completions, layout=layout, batch_size=batch_size
            )
            torch.testing.assert_close(again, scores, rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_the_tokenizers_padding_side_has_no_influence():
    model, scores = make_model(), []
    for side in ("left", "right"):
        tokenizer = make_tokenizer(padding_side=side, truncation_side=side)
        with pytest.warns(UserWarning, match="cut"):
            scores.append(
                list_logprobs(
                    model, tokenizer, ["a", "the 4 4 4"], [["b", "xyxy 12 12 12"], [""]], max_length=8
                )
            )
    assert torch.equal(*scores)


@torch.no_grad()
def test_a_tokenizer_without_a_padding_token_will_do():
    tokenizer = make_tokenizer(pad_token=None)
    assert pad_token_of(tokenizer) == tokenizer.eos_token_id
    with_padding = list_logprobs(make_model(), make_tokenizer(), ["a"], [["b", "xyz"]])
    assert torch.equal(list_logprobs(make_model(), tokenizer, ["a"], [["b", "xyz"]]), with_padding)
    assert pad_token_of(make_tokenizer(pad_token=None, eos_token=None)) == 0


def test_adapters():
    from peft import LoraConfig, get_peft_model

    tokenizer, plain = make_tokenizer(), make_model()
    model = get_peft_model(make_model(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"])).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    shapes = []
    unwrap(model).lm_head.register_forward_hook(lambda m, i, output: shapes.append(output.shape[1]))
    prompts, completions = ["ab the 4"], [["xy", "z"]]
    scores = list_logprobs(model, tokenizer, prompts, completions)
    assert shapes == [3]  # not all positions: the wrapper hides no options
    assert context_length(model) == context_length(plain) == 128
    (tokens,) = tokenize_lists(tokenizer, prompts, completions)
    expected = torch.stack([naive_logprob(model, tokens.prompt_ids, ids) for ids in tokens.completion_ids])
    torch.testing.assert_close(scores[0].double(), expected, rtol=1e-5, atol=1e-4)
    with model.disable_adapter():
        reference = list_logprobs(model, tokenizer, prompts, completions)
    torch.testing.assert_close(reference, list_logprobs(plain, tokenizer, prompts, completions))
    assert not torch.allclose(reference, scores, atol=0.1)
    scores.sum().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert trained
    assert all("lora" in name for name in trained)


def test_unwrap_finds_the_model_inside_its_wrappers():
    model = make_model()
    assert unwrap(model) is model
    assert unwrap(torch.compile(model)) is model
    assert unwrap(nn.DataParallel(model)) is model
    assert context_length(make_model("bloom")) is None  # no limit
    layer = nn.DataParallel(model.model.layers[0])  # stands for a layer sharded by itself
    model.model.layers[0] = layer
    unwrap(model)
    assert model.model.layers[0] is layer


def test_list_mask_of_nothing():
    assert list_mask([]).shape == (0, 0)
    assert list_mask([[], []]).shape == (2, 0)
    assert list_mask([[], ["a"]]).tolist() == [[False], [True]]


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


def test_unknown_layouts_list_the_choices():
    with pytest.raises(ValueError, match=r"unknown layout 'fast'; choose one of auto, .*plain"):
        list_logprobs(make_model(), make_tokenizer(), ["Q"], [["a"]], layout="fast")


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


def test_nothing_about_the_models_signature_is_assumed():
    accepted = {name: inspect.signature(make_model(name).forward).parameters for name in ("llama", "bloom")}
    assert "position_ids" in accepted["llama"]
    assert "position_ids" not in accepted["bloom"]  # so that both ways are tested here
