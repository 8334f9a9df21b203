"""log π(y|x) in every layout against one sequence at a time."""

from __future__ import annotations

import logging

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import nn

from larpo_ir.models import scoring
from larpo_ir.models.layouts import cost
from larpo_ir.models.scoring import choose_way, list_logprobs, list_mask, score_lists
from larpo_ir.models.tokenization import TokenizedList, pad_token_of, tokenize_lists
from larpo_ir.models.wrappers import context_length, unwrap
from larpo_ir.objectives import get_objective
from larpo_ir.training.trainer import disable_dropout
from tests.small_models import ARCHITECTURES, make_model, make_tokenizer, naive_logprob, naive_scores

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)

# Ragged, longer than the sliding windows, with responses of no token, of one, and of padding and EOS tokens.
LISTS = [
    TokenizedList([7, 8, 9], [[10, 11, 12, 1], [13], []]),
    TokenizedList([20], [[2, 2, 21], [1]]),
    TokenizedList(list(range(30, 50)), [list(range(60, 80)), [5, 1, 5, 1], [99], [1, 1]]),
]
SERVED = ["llama", "mistral", "gemma2", "qwen2", "qwen3", "gpt2", "gpt_neox", "opt"]  # with a shared prompt


def gradients(model: nn.Module, value: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    value.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(found, expected, tolerance: float) -> None:
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            found[name], expected[name], rtol=0, atol=tolerance * largest, msg=lambda m, n=name: f"{n}: {m}"
        )


# Exactness


@every_architecture
@pytest.mark.parametrize("max_tokens", [1, 30, 8192])
@pytest.mark.parametrize("layout", ["auto", "plain"])
@torch.no_grad()
def test_scores_are_those_of_one_sequence_at_a_time(architecture, max_tokens, layout):
    model = make_model(architecture)
    scores = score_lists(model, LISTS, pad_token_id=2, max_tokens=max_tokens, layout=layout)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), naive_scores(model, LISTS), rtol=1e-5, atol=1e-5)
    assert scores[0, 2] == 0  # no token
    assert scores[~list_mask([tokens.completion_ids for tokens in LISTS])].tolist() == [0.0] * 3


@every_architecture
@pytest.mark.parametrize("layout", ["auto", "plain"])
def test_gradients_are_those_of_one_sequence_at_a_time(architecture, layout):
    model = make_model(architecture)
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    expected = gradients(model, (naive_scores(model, LISTS) * weights).sum())
    for max_tokens in (2, 8192):
        scores = score_lists(model, LISTS, max_tokens=max_tokens, layout=layout)
        assert_same_gradients(gradients(model, (scores * weights).sum()), expected, 1e-5)


@pytest.mark.parametrize("architecture", SERVED)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("checkpointing", [False, "reentrant", "not reentrant"])
@pytest.mark.parametrize("chunked", [False, True])
def test_shared_is_plain_for_loss_and_every_gradient(
    architecture, attention, checkpointing, chunked, monkeypatch
):
    if architecture == "gemma2" and attention == "sdpa":
        attention = "eager"  # transformers has no soft-capping in sdpa
    if chunked:
        monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", 300 * 7)  # of 36 tokens: six chunks
    model = make_model(architecture).train()
    disable_dropout(model)
    model.set_attn_implementation(attention)
    objective, rewards = (
        get_objective("larpo_lambdarank"),
        torch.tensor([[1.0, 0, 2, 0], [0, 1, 0, 0], [3, 1, 2, 0]]),
    )
    mask = list_mask([tokens.completion_ids for tokens in LISTS])

    def loss(layout):
        logps = score_lists(model, LISTS, layout=layout)
        return objective(logps, rewards, mask, ref_logps=logps.detach() * 0.9).loss

    plain = loss("plain")
    expected = gradients(model, plain)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": checkpointing == "reentrant"})
        if checkpointing == "reentrant":
            model.enable_input_require_grads()
    shared = loss("shared")
    torch.testing.assert_close(shared, plain, rtol=1e-5, atol=1e-5)
    assert_same_gradients(gradients(model, shared), expected, 1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "qwen2", "mistral"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_shared_is_plain_with_adapters(architecture, checkpointing):
    lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj", "lm_head"], init_lora_weights=False)
    model = get_peft_model(make_model(architecture), lora).train()
    model.requires_grad_(True)
    if checkpointing:
        model.enable_input_require_grads()
    expected = gradients(model, score_lists(model, LISTS, layout="plain").sum())
    if checkpointing:
        model.base_model.gradient_checkpointing_enable({"use_reentrant": False})
    scores = score_lists(model, LISTS, layout="shared")
    assert_same_gradients(gradients(model, scores.sum()), expected, 1e-5)
    torch.testing.assert_close(scores.double(), naive_scores(model, LISTS), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_flex_attention_is_plain():
    """Forward only, and not compiled: its kernels have no backward pass on a CPU."""
    for architecture in ("llama", "mistral", "gemma2"):
        model = make_model(architecture)
        expected = naive_scores(model, LISTS)
        model.set_attn_implementation("flex_attention")
        with torch.compiler.set_stance("force_eager"):
            scores = score_lists(model, LISTS, layout="shared")
        torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=1e-5)


def test_attention_knows_nothing_of_a_packing_in_other_calls():
    model = make_model()
    ids = torch.arange(10, 20)[None]
    before = model(ids).logits
    score_lists(model, LISTS, layout="shared")
    assert torch.equal(model(ids).logits, before)
    assert model.config._attn_implementation == "sdpa"
    assert "forward" not in vars(model)


@pytest.mark.parametrize("after", [{"final_logit_softcapping": 5.0}, {"final_logit_softcapping": None}])
@torch.no_grad()
def test_what_models_do_to_their_logits(after):
    model = make_model("gemma2", **after)
    scores = score_lists(model, LISTS)
    torch.testing.assert_close(scores.double(), naive_scores(model, LISTS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_picked_log_probabilities_are_those_of_cross_entropy(dtype):
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 7, generator=draw).to(dtype).requires_grad_()
    targets, weights = torch.tensor([0, 6, 3, 3, 1]), torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    found = scoring._pick(logits, targets)
    expected = -nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
    (ours,) = torch.autograd.grad((found * weights).sum(), logits)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), logits)
    torch.testing.assert_close(ours, theirs)


# Cost


@pytest.mark.parametrize("architecture", SERVED)
@torch.no_grad()
def test_a_prompt_is_paid_for_once(architecture):
    model, seen = make_model(architecture), []
    choose_way(model)
    model.base_model.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    score_lists(model, LISTS)
    assert seen == [(1, 60)]
    assert sum(cost(tokens, "shared") for tokens in LISTS) == (3 + 5) + (1 + 4) + (20 + 27) == 60


@torch.no_grad()
def test_lists_are_cut_to_the_token_budget():
    model, seen = make_model(), []
    choose_way(model)
    model.model.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    scores = score_lists(model, LISTS, max_tokens=30)
    # 20 + 20 alone exceed it; the others of that list share its prompt once more; the two short lists fit together
    assert seen == [40, 27, 13]
    torch.testing.assert_close(scores, score_lists(model, LISTS), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_sequences_of_similar_length_share_a_batch_in_the_plain_layout():
    model, shapes = make_model(), []
    choose_way(model, "plain")
    model.model.register_forward_pre_hook(
        lambda m, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    score_lists(model, LISTS, max_tokens=100, layout="plain")
    assert shapes == [(2, 40), (4, 22), (3, 4)]  # nine sequences, padded to at most 100 tokens; longest first


@pytest.mark.parametrize("architecture", SERVED)
def test_only_positions_that_predict_a_response_reach_the_head(architecture, monkeypatch):
    model, shapes = make_model(architecture), []
    choose_way(model)
    model.get_output_embeddings().register_forward_hook(lambda m, i, output: shapes.append(output.shape))
    whole = score_lists(model, LISTS)
    tokens = sum(len(ids) for one in LISTS for ids in one.completion_ids)
    assert shapes == [(tokens, 300)]
    for at_once, sizes, in_backward in ((10, [10, 10, 10, 6], 0), (7, [7, 7, 7, 7, 7, 1], 6)):
        monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", 300 * at_once)
        shapes.clear()
        in_chunks = score_lists(model, LISTS)
        assert [shape[0] for shape in shapes] == sizes
        in_chunks.sum().backward()
        assert (
            len(shapes) == len(sizes) + in_backward
        )  # of more than four chunks none is kept: computed again
        torch.testing.assert_close(in_chunks, whole, rtol=1e-6, atol=1e-6)


# The way that a model is scored


@pytest.mark.parametrize("architecture", SERVED)
def test_these_architectures_share_prompts(architecture, caplog):
    with caplog.at_level(logging.INFO, "larpo_ir"):
        way = choose_way(make_model(architecture))
    assert (way.layout, way.own_logits, way.reason) == ("shared", False, "")
    assert not caplog.records


def make_stateful():
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.MambaForCausalLM(
            transformers.MambaConfig(vocab_size=300, hidden_size=16, num_hidden_layers=2, state_size=4)
        ).eval()


class OnlyIds(nn.Module):
    """A model whose forward takes ids and mask, and nothing else."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model

    def forward(self, input_ids, attention_mask=None):
        return self.inner(input_ids=input_ids, attention_mask=attention_mask)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: make_model("bloom"), "does not take the inputs"),
        (make_stateful, "carries a state from token to token"),
        (lambda: OnlyIds(make_model()), "more than a backbone and a head"),
        (lambda: torch.compile(make_model()), "is compiled"),
        (
            lambda: get_peft_model(
                make_model(), PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
            ),
            "more than a backbone and a head",
        ),
    ],
)
def test_others_are_scored_the_plain_way_and_the_log_says_why(make, reason, caplog):
    model = make().eval()
    with caplog.at_level(logging.INFO, "larpo_ir"), torch.no_grad():
        scores = score_lists(model, LISTS)
        score_lists(model, LISTS)
    (record,) = [record for record in caplog.records if record.name == "larpo_ir"]  # once
    assert "is scored with the plain layout" in record.message
    assert reason in record.message
    with torch.no_grad():
        torch.testing.assert_close(scores.double(), naive_scores(model, LISTS), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=rf"cannot share prompts: .*{reason}.*; use layout='auto'"):
        score_lists(model, LISTS, layout="shared")


def test_a_model_that_ignores_the_packing_is_found_out():
    """What a future architecture may do: its attention takes no notice of the arguments for it."""
    model = make_model()
    for layer in model.model.layers:
        layer.self_attn.register_forward_pre_hook(
            lambda m, args, kwargs: (args, {k: v for k, v in kwargs.items() if k != "packing"}),
            with_kwargs=True,
        )
    way = choose_way(model)
    assert way.layout == "plain"
    assert "log-probabilities would be off by" in way.reason


def test_a_window_that_does_not_reach_the_attention_is_found_out():
    model = make_model("mistral", sliding_window=5000)  # no trial is as long
    assert choose_way(model).layout == "shared"
    model = make_model("llama")
    model.config.sliding_window = 5000
    assert "windows {5000} do not reach their attention ({None})" in choose_way(model).reason


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_window_that_the_model_does_not_use_is_found_out(attention):
    model = make_model("llama")
    model.set_attn_implementation(attention)
    model.config.sliding_window = 8  # a trial is longer
    assert choose_way(model).layout == "plain"
    with torch.no_grad():
        scores = score_lists(model, LISTS)
        torch.testing.assert_close(scores.double(), naive_scores(model, LISTS), rtol=1e-5, atol=1e-5)


def test_unknown_layouts_list_the_choices():
    with pytest.raises(ValueError, match=r"unknown layout 'fast'; choose one of auto, shared, plain"):
        list_logprobs(make_model(), make_tokenizer(), ["Q"], [["a"]], layout="fast")


# Whatever the layout


@every_architecture
@torch.no_grad()
def test_what_is_in_the_padding_does_not_matter(architecture):
    model = make_model(architecture)
    torch.testing.assert_close(
        score_lists(model, LISTS, pad_token_id=2, layout="plain"),
        score_lists(model, LISTS, pad_token_id=55, layout="plain"),
    )


def test_modes_and_gradients_are_the_callers():
    tokenizer = make_tokenizer()
    for training in (True, False):
        model = make_model().train(training)
        assert list_logprobs(model, tokenizer, ["a"], [["b", "c"]]).requires_grad
        with torch.no_grad():
            assert not list_logprobs(model, tokenizer, ["a"], [["b", "c"]]).requires_grad
        assert model.training is training


@torch.no_grad()
def test_half_precision_gives_single_precision_scores():
    model = make_model(initializer_range=0.1)
    exact = score_lists(model, LISTS)
    scores = score_lists(model.bfloat16(), LISTS)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, exact, rtol=0.02, atol=0.2)


@pytest.mark.parametrize("lists", [[], [TokenizedList([3], []), TokenizedList([4], [])]])
@pytest.mark.parametrize("layout", ["auto", "plain"])
def test_nothing_to_score(lists, layout):
    assert score_lists(make_model(), lists, layout=layout).shape == (len(lists), 0)


@pytest.mark.parametrize("layout", ["auto", "plain"])
def test_responses_without_tokens_score_zero(layout):
    model, tokenizer = make_model(), make_tokenizer()
    scores = list_logprobs(model, tokenizer, ["a", "b"], [["", ""], [""]], append_eos=False, layout=layout)
    assert scores.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    first = list_logprobs(model, tokenizer, ["a"], [[""]], layout=layout)
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
        for max_tokens in (1, 20):
            again = list_logprobs(
                model, tokenizer, prompts, completions, layout=layout, max_tokens=max_tokens
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
    tokenizer, plain = make_tokenizer(), make_model()
    model = get_peft_model(make_model(), LoraConfig(r=2, target_modules=["q_proj", "v_proj"])).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    assert choose_way(model).layout == "shared"  # the wrapper hides nothing
    prompts, completions = ["ab the 4"], [["xy", "z"]]
    scores = list_logprobs(model, tokenizer, prompts, completions)
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
