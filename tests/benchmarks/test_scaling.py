"""The scaling formulas, against arithmetic by hand and against torch, transformers, peft and FAISS at small size."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
import transformers as tr
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import scaling
from benchmarks.scaling import A100, H100, POLICIES, Transformer

ROOT = Path(__file__).parents[2]
GEMMA, MISTRAL, LLAMA = POLICIES
SMALL = Transformer(
    "small", layers=3, hidden=64, feed_forward=224, heads=4, kv_heads=2, head_size=16, vocabulary=96
)


def small_model(**options):
    config = tr.MistralConfig(
        num_hidden_layers=SMALL.layers, hidden_size=SMALL.hidden, intermediate_size=SMALL.feed_forward,
        num_attention_heads=SMALL.heads, num_key_value_heads=SMALL.kv_heads, head_dim=SMALL.head_size,
        vocab_size=SMALL.vocabulary, max_position_embeddings=512, sliding_window=None, **options,
    )  # fmt: skip
    return tr.MistralForCausalLM(config)


def ids(batch=2, tokens=64):
    return torch.randint(3, SMALL.vocabulary, (batch, tokens))


# By hand


def test_tokens_of_a_list():
    # P = 180, R = 300: a list of 4 has 6 pairs, each two responses with their prompts
    assert scaling.tokens_as_pairs(4, 180, 300) == 6 * 2 * (180 + 300) == 5760
    assert scaling.tokens_plain(4, 180, 300) == 4 * 480 == 1920
    assert scaling.tokens_shared(4, 180, 300) == 180 + 4 * 300 == 1380
    assert scaling.tokens_as_pairs(2, 180, 300) == scaling.tokens_plain(
        2, 180, 300
    )  # one pair is a list of two
    for m, prompt, response in itertools.product(range(2, 9), (0, 10, 1000), (1, 300)):
        pairs = [(i, j) for i in range(m) for j in range(i)]
        assert scaling.tokens_as_pairs(m, prompt, response) == len(pairs) * 2 * (prompt + response)
        assert scaling.tokens_shared(m, prompt, response) <= scaling.tokens_plain(m, prompt, response)


def test_weights_and_cache():
    assert scaling.weight_bytes(7e9) == 14e9
    # Llama 2 7B: keys and values, 32 layers, 32 heads of 128, 2 bytes: half a MiB per token
    assert scaling.kv_cache_bytes(32, 32, 128) == 2 * 32 * 4096 * 2 == 524_288
    assert (
        scaling.kv_cache_bytes(MISTRAL.layers, MISTRAL.kv_heads, MISTRAL.head_size) == 524_288 / 4
    )  # 8 heads of 32


def test_flops_and_seconds():
    assert scaling.forward_flops(7e9, 1000) == 14e12
    assert scaling.training_flops(7e9, 1000, checkpointing=False) == 42e12
    assert scaling.training_flops(7e9, 1000) == 56e12
    assert scaling.gpu_seconds(56e12, A100, 0.4) == pytest.approx(56 / 124.8)
    # 2 · L · H · d · T² = 2 · 32 · 4096 · 480² = 6.04e10 beside 2 · 7.11e9 · 480 = 6.83e12
    assert scaling.attention_share(MISTRAL, 480) == pytest.approx(6.04e10 / 6.83e12, rel=1e-3)


def test_decoding_is_bound_by_bandwidth_then_by_arithmetic():
    few = scaling.decoding_step_seconds(MISTRAL, H100, batch=1, context=0)
    assert few == pytest.approx(2 * 7.11e9 / (3.35e12 * 0.6), rel=1e-3)  # the weights are read once
    assert scaling.decoding_step_seconds(MISTRAL, H100, batch=2, context=0) == few
    many = scaling.decoding_step_seconds(MISTRAL, H100, batch=4096, context=0)
    assert many == pytest.approx(2 * 7.11e9 * 4096 / (989e12 * 0.5), rel=1e-3)
    # a cache of 131 072 B for each of 256 · 330 tokens adds 11.07 GB to read
    step = scaling.decoding_step_seconds(MISTRAL, H100, batch=256, context=330)
    assert step - few == pytest.approx(11.07e9 / (3.35e12 * 0.6), rel=1e-3)


def test_engines_and_batches():
    # 141 GB of weights: four GPUs of 80 GB are the first power of two of which they fill at most half
    assert [scaling.gpus_per_engine(model, H100) for model in POLICIES] == [1, 1, 4]
    # 0.9 · 80 − 14.48 = 57.5 GB, at 131 072 B · 32 768 = 4.295 GB a sequence
    assert scaling.decoding_batch(MISTRAL, H100, length=32_768) == int(57.5 / 4.295) == 13
    assert scaling.decoding_batch(MISTRAL, H100, length=480) == 256  # the server's limit


def test_one_iteration_of_mistral_on_h100():
    hours = scaling.iteration_gpu_hours(MISTRAL, H100)
    weights = 7.1106e9  # without the embedding
    assert hours["prefill"] == pytest.approx(2 * weights * 60_000 * 180 / (989e12 * 0.5) / 3600, rel=1e-3)
    assert hours["training, plain"] == pytest.approx(
        8 * weights * 60_000 * 2 * 4 * 480 / (989e12 * 0.4) / 3600, rel=1e-3
    )
    assert hours["training as pairs"] / hours["training, plain"] == pytest.approx(3)
    assert hours["training, plain"] / hours["training, shared prompt"] == pytest.approx(1920 / 1380)
    assert hours["reference, if not kept"] == pytest.approx(
        2 * weights * 60_000 * 4 * 480 / (989e12 * 0.5) / 3600, rel=1e-3
    )
    # 180 M tokens at 256 per step
    step = scaling.decoding_step_seconds(MISTRAL, H100, 256, 180 + 150)
    assert hours["decoding"] == pytest.approx(60_000 * 10 * 300 / 256 * step / 3600)
    assert set(scaling.IN_TOTAL) < set(hours)


def test_training_memory():
    # 16 B a parameter: 7.24 B · 16 = 115.9 GB, and an eighth of it
    assert scaling.training_bytes(MISTRAL, "DDP", 8)["states"] == pytest.approx(115.9e9, rel=1e-3)
    assert scaling.training_bytes(MISTRAL, "FSDP, ZeRO-3", 8)["states"] == pytest.approx(14.48e9, rel=1e-3)
    assert scaling.working_bytes(MISTRAL, "DDP") == pytest.approx(43.45e9, rel=1e-3)  # 6 B a parameter
    # embedding and head 2 · 32 000 · 4096, a layer 218.1 M
    assert scaling.working_bytes(MISTRAL, "FSDP, ZeRO-3") == pytest.approx(
        4 * 262.1e6 + 6 * 218.1e6, rel=1e-3
    )
    assert scaling.head_bytes(32_000, 256) == 10 * 32_000 * 256
    parts = scaling.training_bytes(LLAMA, "FSDP, ZeRO-3", 32)
    assert parts["total"] == sum(size for name, size in parts.items() if name != "total")


def test_what_the_configurations_say_about_sizes_is_what_fits():
    def fits(model, engine, gpus):
        return scaling.training_bytes(model, engine, gpus)["total"] <= H100.memory

    assert fits(GEMMA, "DDP", 8)  # one_gpu.yaml, one_node_8_gpus_ddp.yaml: to about 3 B
    assert not fits(MISTRAL, "DDP", 8)
    assert fits(MISTRAL, "LoRA", 1)
    assert fits(
        MISTRAL, "FSDP, ZeRO-3", 8
    )  # one_node_8_gpus_fsdp.yaml, ..._deepspeed_zero3.yaml: from about 7 B
    assert not fits(LLAMA, "FSDP, ZeRO-3", 8)
    assert fits(LLAMA, "FSDP, ZeRO-3", 32)  # four_nodes_fsdp.yaml
    thirteen = Transformer("13 B", 40, 5120, 13_824, 40, 40, 128, 32_000)  # Llama 2's
    assert fits(thirteen, "LoRA", 1)
    assert not fits(thirteen, "DDP", 8)
    thirty = Transformer(
        "33 B", 60, 6656, 17_920, 52, 52, 128, 32_000
    )  # the largest but one of the first Llamas
    assert fits(thirty, "FSDP, ZeRO-3", 8)
    assert [scaling.gpus_to_train(model, H100) for model in POLICIES] == [8, 8, 32]


def test_indexes():
    assert scaling.flat_bytes(21e6, 768) == pytest.approx(64.5e9, rel=1e-3)
    assert scaling.hnsw_bytes(1, 768, 32) == 3072 + 256
    assert scaling.ivf_pq_bytes(21e6, 768, 65_536, 96) == 21e6 * 104 + 65_536 * 3072 + 256 * 3072
    # 21 015 324 passages of 140 tokens through 12 layers of 7.08 M
    assert scaling.encoding_flops() == pytest.approx(2 * 12 * 7.078e6 * 140 * 21_015_324, rel=1e-3)


# Against the libraries


@pytest.mark.parametrize(
    ("model", "config", "parameters"),
    [
        (GEMMA, tr.Gemma2Config(), None),
        (MISTRAL, tr.MistralConfig(sliding_window=None), 7_241_732_096),  # as published
        (scaling.REWARD, None, 8_030_261_248),
        (LLAMA, None, 70_553_706_496),
    ],
    ids=lambda item: getattr(item, "name", None),
)
def test_parameters_are_those_of_transformers_models(model, config, parameters):
    options = {
        "num_hidden_layers": model.layers, "hidden_size": model.hidden, "intermediate_size": model.feed_forward,
        "num_attention_heads": model.heads, "num_key_value_heads": model.kv_heads, "head_dim": model.head_size,
        "vocab_size": model.vocabulary, "tie_word_embeddings": model.tied,
    }  # fmt: skip
    if config is None:
        config = tr.LlamaConfig(**options)
    assert {name: getattr(config, name) for name in options} == options
    with torch.device("meta"):
        real = tr.AutoModelForCausalLM.from_config(config)
    exact = sum(parameter.numel() for parameter in real.parameters())
    assert exact == parameters or parameters is None
    assert model.parameters == pytest.approx(exact, rel=2e-4)  # norms are left out


def test_the_encoder_is_bert_base():
    with torch.device("meta"):
        encoder = tr.BertModel(tr.BertConfig()).encoder
    exact = sum(parameter.numel() for parameter in encoder.parameters())
    assert scaling.ENCODER.stacked == pytest.approx(exact, rel=2e-3)  # norms and biases are left out


def test_flops_are_those_torch_counts():
    model, tokens = small_model(attn_implementation="eager"), ids()
    with FlopCounterMode(display=False) as forward:
        loss = model(tokens, use_cache=False).logits.sum()
    counted = forward.get_flop_counts()["Global"]
    products = {operation: flops for operation, flops in counted.items() if "bmm" not in str(operation)}
    assert sum(products.values()) == scaling.forward_flops(SMALL.multiplied, tokens.numel())
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    counted = backward.get_flop_counts()["Global"]
    products |= {f"backward {name}": flops for name, flops in counted.items() if "bmm" not in str(name)}
    expected = scaling.training_flops(SMALL.multiplied, tokens.numel(), checkpointing=False)
    assert sum(products.values()) == expected


def test_the_cache_is_as_large_as_transformers_is():
    with torch.no_grad():
        cache = small_model().to(torch.bfloat16)(ids(1, 50), use_cache=True).past_key_values
    held = sum(tensor.numel() * 2 for layer in cache.layers for tensor in (layer.keys, layer.values))
    assert held == 50 * scaling.kv_cache_bytes(SMALL.layers, SMALL.kv_heads, SMALL.head_size)


def saved_bytes(model, tokens):
    """Bytes kept for the backward pass under bf16 autocast, parameters left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved, alive = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or its address would be used again
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", torch.bfloat16):
        model.model(tokens, use_cache=False)
    return sum(saved.values())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_those_that_are_saved(checkpointing):
    model, tokens = small_model().train(), ids(4, 128)
    deep, shallow = small_model().train(), small_model().train()
    shallow.model.layers = shallow.model.layers[:1]
    if checkpointing:
        for model in (deep, shallow):
            model.gradient_checkpointing_enable()
    measured = saved_bytes(deep, tokens) - saved_bytes(shallow, tokens)  # of two layers
    if checkpointing:
        assert measured == 2 * 4 * SMALL.hidden * tokens.numel()
    else:
        measured -= 2 * 2 * SMALL.layer_parameters  # autocast's bf16 weights, which DDP_WORKING counts
        expected = scaling.activation_bytes(SMALL, tokens.numel(), checkpointing=False) * 2 / 3
        assert measured == pytest.approx(expected, rel=0.01)


def test_adamw_keeps_sixteen_bytes_a_parameter():
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters())
    model(ids()).logits.sum().backward()
    optimizer.step()
    tensors = [tensor for parameter in model.parameters() for tensor in (parameter, parameter.grad)]
    tensors += [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert size == scaling.STATES * sum(parameter.numel() for parameter in model.parameters())


def test_adapters_are_as_large_as_peft_makes_them():
    model = get_peft_model(small_model(), LoraConfig(r=5, target_modules="all-linear", task_type="CAUSAL_LM"))
    trainable, _ = model.get_nb_trainable_parameters()
    assert trainable == scaling.adapter_parameters(SMALL, 5)


@pytest.mark.parametrize(
    ("factory", "formula"),
    [
        ("Flat", lambda n, d: scaling.flat_bytes(n, d)),
        ("HNSW32", lambda n, d: scaling.hnsw_bytes(n, d, 32)),
        ("IVF8,PQ96", lambda n, d: scaling.ivf_pq_bytes(n, d, 8, 96)),
    ],
)
def test_indexes_are_as_large_as_faiss_makes_them(factory, formula):
    vectors = np.random.default_rng(0).standard_normal((1000, 768), dtype=np.float32)
    index = faiss.index_factory(768, factory)
    if not index.is_trained:
        index.pq.cp.niter, index.do_polysemous_training = 1, False  # neither changes the size
        index.train(vectors)
    index.add(vectors)
    assert len(faiss.serialize_index(index)) == pytest.approx(formula(1000, 768), rel=0.01)


# The page


def test_the_page_holds_what_the_command_prints():
    command = [sys.executable, "-m", "benchmarks.scaling"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == scaling.report()
    assert printed in (ROOT / "docs" / "scaling.md").read_text()


def test_every_input_says_where_it_is_from():
    assert {item.source for item in scaling.INPUTS.values()} <= {
        "assumed",
        "measured",
        "published",
        "data sheet",
    }
    text = scaling.report()
    for name in scaling.INPUTS:
        assert f"| {name} |" in text
