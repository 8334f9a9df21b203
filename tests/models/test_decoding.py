"""Decoding: greedy is `generate`'s, sampling is the inverse of the distribution, and a batch changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as tr
from transformers.cache_utils import DynamicLayer

from larpo_ir.models import contexts, decoding
from larpo_ir.models.decoding import decode
from tests.small_models import ARCHITECTURES, TOKENS, make_model, make_stopping_model

PROMPTS = [
    [5, 6, 7],
    [9, 8, 9, 8, 9, 8, 9, 8, 9, 8, 9, 8],
    [20, 21],
    [30, 31, 32, 33, 34, 35, 36, 37, 38],
    [44],
]
EOS = 1
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
}
# Models whose memory is not, or not only, keys and values.
STATEFUL = {
    "Mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "initializer_range": 0.4},
    "Lfm2": {**SMALL, "layer_types": ["conv", "full_attention"] * 2},
    "FalconH1": {**SMALL, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8},
    "RecurrentGemma": {**SMALL, "lru_width": 32, "attention_window_size": 8, "w_init_variance_scale": 1.0},
    "OpenAIGPT": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128, "initializer_range": 0.4},
}


def make_stateful_model(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(tr, f"{name}Config")(**TOKENS, **STATEFUL[name])
        return tr.AutoModelForCausalLM.from_config(config).eval()


def make_uniforms(size, max_new_tokens, seed=0):
    return np.random.default_rng(seed).random((size, max_new_tokens))


def greedy(model, prompts, max_new_tokens=25, **options):
    responses = decode(
        model, prompts, [0.0] * len(prompts), np.zeros((len(prompts), max_new_tokens)), eos_token_ids=[EOS], **options
    )  # fmt: skip
    return [response.token_ids for response in responses]


def generate(model, prompt, max_new_tokens=25):
    ids = torch.tensor([prompt])
    sequence = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=max_new_tokens,
        pad_token_id=2,
    )  # fmt: skip
    return sequence[0, len(prompt) :].tolist()


@pytest.fixture
def shapes(monkeypatch):
    """Shapes of the `input_ids` of all forward passes of a model, as they come."""

    def watch(model):
        seen = []
        model.register_forward_pre_hook(
            lambda module, args, inputs: seen.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
        )
        return seen

    return watch


# Against generate


@pytest.mark.parametrize("prefill_tokens", [10**6, 24, 1])  # all prompts in one pass, two, one
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_is_that_of_generate(architecture, prefill_tokens, monkeypatch):
    monkeypatch.setattr(contexts, "PREFILL_TOKENS", prefill_tokens)
    model = make_stopping_model(architecture)
    expected = [generate(model, prompt) for prompt in PROMPTS]
    assert len({tuple(ids) for ids in expected}) > 1
    order = [0, 3, 1, 1, 4, 2, 0, 1]
    assert greedy(model, [PROMPTS[i] for i in order]) == [expected[i] for i in order]


@pytest.mark.parametrize("name", STATEFUL)
def test_greedy_of_models_with_states(name):
    model = make_stateful_model(name)
    expected = [
        generate(model, prompt, 12) for prompt in PROMPTS[:4]
    ]  # (one token, some take for a later step)
    order = [0, 3, 1, 1, 2, 0, 1]
    assert greedy(model, [PROMPTS[i] for i in order], 12) == [expected[i] for i in order]


@pytest.mark.parametrize("kind", ["PromptTuningConfig", "PrefixTuningConfig"])
@pytest.mark.filterwarnings("ignore:Position ids are not supported")
def test_greedy_with_learned_prompts(kind):
    import peft

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=3)
        model = peft.get_peft_model(make_model(), config).eval()
    responses = greedy(model, PROMPTS, 8)
    assert responses == [generate(model, prompt, 8) for prompt in PROMPTS]
    assert responses != [generate(make_model(), prompt, 8) for prompt in PROMPTS]


# What a response depends on


# Finished rows stay, leave when they are many, leave at once.
@pytest.mark.parametrize("share", [0.0, 0.75, 0.99])
@pytest.mark.parametrize("architecture", ["llama", "mistral", "gemma2", "gpt2", "bloom"])
def test_a_response_does_not_depend_on_its_batch(architecture, share, monkeypatch):
    monkeypatch.setattr(decoding, "ALIVE_SHARE", share)
    model = make_stopping_model(architecture)
    prompts = [PROMPTS[i % 5] for i in range(20)]
    temperatures = [[1.0, 0.0, 0.6, 2.0][i % 4] for i in range(20)]
    uniforms, options = make_uniforms(20, 70), {"eos_token_ids": [EOS]}  # a cache's first room is for 64
    together = decode(model, prompts, temperatures, uniforms, **options)
    assert 5 < sum(response.finished for response in together) < 20
    assert any(len(response.token_ids) == 70 for response in together)
    for i in range(20):
        (alone,) = decode(model, [prompts[i]], [temperatures[i]], uniforms[i : i + 1], **options)
        assert alone.token_ids == together[i].token_ids
        assert alone.finished is together[i].finished is (alone.token_ids[-1] == EOS)
        assert alone.logprob == pytest.approx(together[i].logprob, rel=1e-5, abs=2e-4)


def test_stateful_models_sample_likewise():
    model = make_stateful_model("Mamba")
    prompts, uniforms = [PROMPTS[i % 5] for i in range(10)], make_uniforms(10, 8)
    together = decode(model, prompts, [1.0] * 10, uniforms, eos_token_ids=list(range(60)))
    assert len({len(response.token_ids) for response in together}) > 2
    for i in range(10):
        (alone,) = decode(
            model, prompts[i : i + 1], [1.0], uniforms[i : i + 1], eos_token_ids=list(range(60))
        )
        assert alone.token_ids == together[i].token_ids
        ids = torch.tensor([[*prompts[i], *alone.token_ids]])
        with torch.no_grad():
            steps = model(ids).logits.log_softmax(-1)[0, len(prompts[i]) - 1 : -1]
        expected = steps.gather(-1, ids[0, len(prompts[i]) :, None]).sum().item()
        assert together[i].logprob == pytest.approx(expected, rel=1e-5, abs=2e-4)


# What is drawn


class Fixed(torch.nn.Module):
    """A causal language model without a cache, whose next token has the same logits everywhere."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, input_ids, attention_mask):
        return tr.modeling_outputs.CausalLMOutput(logits=self.logits.expand(*input_ids.shape, -1))


def draw(probabilities, temperature, uniforms, **options):
    model = Fixed(np.log(np.array(probabilities, dtype=np.float32) + 0.0))
    uniforms = np.array(uniforms, dtype=float).reshape(-1, 1)
    options = {"eos_token_ids": [], **options}
    return decode(model, [[0]] * len(uniforms), [temperature] * len(uniforms), uniforms, **options)


BELOW_ONE = 1 - 2**-53


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_tokens_are_the_inverse_of_the_cumulative_distribution():
    uniforms = [0.0, 0.25, 0.49, 0.5, 0.74, 0.75, 0.99, BELOW_ONE]
    responses = draw([0.5, 0.0, 0.25, 0.25, 0.0], 1.0, uniforms)
    assert [response.token_ids for response in responses] == [[0], [0], [0], [2], [2], [3], [3], [3]]
    probs = [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert [response.logprob for response in responses] == pytest.approx(np.log(probs), abs=1e-6)
    # π ∝ p^(1/T) at T = 1/2: 4/6, 1/6, 1/6; log-probabilities stay those of T = 1.
    responses = draw([0.5, 0.0, 0.25, 0.25, 0.0], 0.5, [0.66, 0.67, 0.83, 0.84])
    assert [response.token_ids for response in responses] == [[0], [2], [2], [3]]
    assert responses[1].logprob == pytest.approx(np.log(0.25), abs=1e-6)


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_impossible_tokens_are_never_drawn():
    edges = [0.0, 2**-60, 0.5, BELOW_ONE]
    for probabilities in ([0.0, 1.0, 0.0], [0.0, 0.3, 0.0, 0.7, 0.0], [0.0, *[1 / 7] * 7, 0.0, 0.0]):
        for temperature in (1.0, 0.3, 1e-4, 1e-40, 7.0, 0.0):
            for response in draw(probabilities, temperature, edges):
                assert probabilities[response.token_ids[0]] > 0


@pytest.mark.parametrize("temperature", [1.0, 0.6, 3.0])
def test_each_token_gets_its_share_of_the_uniform_numbers(temperature):
    size = 2000
    logits = np.random.default_rng(0).normal(size=40) * 2
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    responses = draw(np.exp(logits), temperature, (np.arange(size) + 0.5) / size)
    counts = np.bincount([response.token_ids[0] for response in responses], minlength=40)
    assert (
        np.abs(counts - size * expected).max() <= 1.001
    )  # each interval holds its length's share, but for its ends
    assert counts.max() < 0.8 * size


def test_the_first_of_the_likeliest_is_taken_at_temperature_zero():
    (response,) = draw([0.2, 0.4, 0.4], 0.0, [BELOW_ONE])
    assert response.token_ids == [1]
    assert response.logprob == pytest.approx(np.log(0.4), abs=1e-6)


def test_half_precision_is_summed_in_single():
    model = make_model().bfloat16()
    (response,) = decode(model, [PROMPTS[0]], [1.0], make_uniforms(1, 1), eos_token_ids=[])
    with torch.no_grad():
        logits = model(torch.tensor([PROMPTS[0]])).logits[0, -1].float()
    assert response.logprob == pytest.approx(logits.log_softmax(-1)[response.token_ids[0]].item(), abs=1e-5)


def test_logits_that_are_not_numbers_are_refused():
    model = make_model()
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    for temperature in (1.0, 0.5, 0.0):
        with pytest.raises(ValueError, match="the model's logits are not numbers"):
            decode(model, PROMPTS, [temperature] * 5, make_uniforms(5, 2), eos_token_ids=[EOS])


def test_nothing_to_decode():
    assert decode(make_model(), [], [], np.zeros((0, 4)), eos_token_ids=[EOS]) == []


# What makes it fast


def test_a_prompt_is_read_once_and_finished_rows_leave(shapes):
    model = make_stopping_model()
    seen = shapes(model)
    prompts = [PROMPTS[0]] * 8 + [PROMPTS[1]] * 8
    ends = list(range(1, 80))
    responses = decode(model, prompts, [1.0] * 16, make_uniforms(16, 40), eos_token_ids=ends)
    lengths = sorted(len(response.token_ids) for response in responses)
    assert seen[0] == (2, 12)  # 16 responses, two prompts, the longer of 12 tokens
    assert seen[1] == (sum(length > 1 for length in lengths) if lengths[3] == 1 else 16, 1)
    assert len(seen) == lengths[-1] < 40  # ends with the last response
    alive = [sum(length > step for length in lengths) for step in range(1, lengths[-1])]
    for (rows, columns), left in zip(seen[1:], alive, strict=True):
        assert columns == 1
        assert 0.75 * rows < left <= rows


def test_prompts_are_read_within_a_budget(shapes, monkeypatch):
    monkeypatch.setattr(contexts, "PREFILL_TOKENS", 30)
    model = make_model()
    seen = shapes(model)
    greedy(model, PROMPTS * 2, 2)
    assert seen == [(2, 12), (2, 12), (1, 12), (10, 1)]


def test_the_cache_grows_in_place():
    states = torch.randn(2, 3, 200, 4, 5)  # keys and values, rows, columns, heads, width
    keys, values = states.transpose(2, 3)
    ours, theirs = contexts.RoomyLayer(keys[:, :, :7], values[:, :, :7]), DynamicLayer()
    theirs.update(keys[:, :, :7], values[:, :, :7])
    places = set()
    for column in range(7, 200):
        step = keys[:, :, column : column + 1], values[:, :, column : column + 1]
        for mine, expected in zip(ours.update(*step), theirs.update(*step), strict=True):
            assert torch.equal(mine, expected)
        assert ours.get_seq_length() == column + 1
        assert ours.get_mask_sizes(1) == theirs.get_mask_sizes(1)
        places.add(ours.keys.data_ptr())
    assert len(places) <= 4  # moved a few times, not at each of 193 steps
