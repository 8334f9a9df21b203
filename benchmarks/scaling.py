"""Time and memory of a full-size run, by formula, as the Markdown tables of docs/scaling.md.

    python -m benchmarks.scaling

These are models, not measurements: every input is in `INPUTS`, `GPUS`, `POLICIES` or `ENCODER`, with its source, and
every formula is one function. Change an input and print again.

Symbols: N parameters, P tokens of a prompt, R of a response, k candidates per prompt, m responses of a training list,
L layers, h hidden size, H attention heads, K key-value heads, d head size, f size of the feed-forward layer,
V vocabulary. GB are 10⁹ bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from larpo_ir.evaluation.tables import markdown_table

HOUR, GB = 3600.0, 1e9


# Inputs


@dataclass(frozen=True)
class Input:
    """One number, which was `assumed`, `measured`, `published` or printed on a `data sheet` (its `source`)."""

    value: float
    unit: str
    source: str
    note: str


INPUTS = {
    "prompts": Input(60_000, "prompts", "published", "UltraFeedback, binarised by HuggingFaceH4: 61 135 to train on"),
    "prompt_tokens": Input(180, "tokens", "assumed", "P: a prompt with its chat template"),
    "response_tokens": Input(300, "tokens", "assumed", "R: a response, mean"),
    "candidates": Input(10, "per prompt", "published", "k: LarPO's main table"),
    "list_size": Input(4, "per prompt", "published", "m: LarPO, top 2 with bottom 2"),
    "epochs": Input(2, "per iteration", "published", "LarPO's objective study"),
    "train_utilisation": Input(0.40, "of peak FLOP/s", "assumed", "training, sharded or not"),
    "forward_utilisation": Input(0.50, "of peak FLOP/s", "assumed", "prefill, scoring and large decoding batches"),
    "encode_utilisation": Input(0.30, "of peak FLOP/s", "assumed", "short passages through a small encoder"),
    "bandwidth_utilisation": Input(0.60, "of peak bandwidth", "assumed", "decoding"),
    "max_sequences": Input(256, "sequences", "assumed", "that a server decodes together, if memory allows"),
    "memory_utilisation": Input(0.90, "of GPU memory", "assumed", "for weights and KV cache together"),
    "head_chunk": Input(256, "tokens", "assumed", "whose logits exist at once when the head runs in chunks"),
    "adapter_rank": Input(16, "", "assumed", "LoRA on every linear layer but the head"),
    "passages": Input(21_015_324, "passages", "published", "Wikipedia in 100 words (DPR), Pyserini's index list"),
    "passage_tokens": Input(140, "tokens", "assumed", "100 words, title and special tokens"),
    "dimension": Input(768, "", "published", "of BERT-base encoders such as DPR's and E5-base"),
    "hnsw_links": Input(32, "per vector", "assumed", "HNSW32"),
    "ivf_lists": Input(65_536, "lists", "assumed", "IVF65536"),
    "pq_bytes": Input(96, "bytes", "assumed", "PQ96: one byte for 8 dimensions"),
    "bm25_with_text": Input(9_177_942_656, "bytes", "published", "Lucene, compressed: Pyserini's index list"),
    "bm25_without_text": Input(1_810_342_390, "bytes", "published", "the same without text, compressed"),
    "cpu_flops": Input(130e9, "FLOP/s", "measured", "one Xeon core: float32 product of matrices of 2048²"),
}  # fmt: skip


def value(name: str) -> float:
    return INPUTS[name].value


@dataclass(frozen=True)
class GPU:
    """Dense BF16 FLOP/s, bytes/s and bytes, from the data sheet (NVIDIA prints the H100's with sparsity: halved)."""

    name: str
    flops: float
    bandwidth: float
    memory: float


A100 = GPU("A100 SXM 80 GB", 312e12, 2.039e12, 80e9)
H100 = GPU("H100 SXM 80 GB", 989e12, 3.35e12, 80e9)
GPUS = (A100, H100)


@dataclass(frozen=True)
class Transformer:
    """A model's sizes, from its published configuration; `matrices`: of a feed-forward layer, 3 if it is gated."""

    name: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool = False
    matrices: int = 3

    @property
    def layer_parameters(self) -> int:
        """hd(2H + 2K) + 3hf: attention and feed-forward; norms and biases (about 0.01 %) are left out."""
        attention = self.hidden * self.head_size * 2 * (self.heads + self.kv_heads)
        return attention + self.matrices * self.hidden * self.feed_forward

    @property
    def stacked(self) -> int:
        """Parameters of all layers, without embedding and head."""
        return self.layers * self.layer_parameters

    @property
    def embedding_parameters(self) -> int:
        """Vh, twice unless head and embedding are one."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """N."""
        return self.stacked + self.embedding_parameters

    @property
    def multiplied(self) -> int:
        """Parameters that a token is multiplied with: all but the embedding, which is looked up."""
        return self.stacked + self.vocabulary * self.hidden


POLICIES = (
    Transformer("Gemma 2 2B", 26, 2304, 9216, 8, 4, 256, 256_000, tied=True),
    Transformer("Mistral 7B", 32, 4096, 14_336, 32, 8, 128, 32_000),
    Transformer("Llama 3.1 70B", 80, 8192, 28_672, 64, 8, 128, 128_256),
)
REWARD = Transformer("Llama 3 8B", 32, 4096, 14_336, 32, 8, 128, 128_256)  # FsfairX-LLaMA3-RM-v0.1
ENCODER = Transformer("BERT-base", 12, 768, 3072, 12, 12, 64, 30_522, tied=True, matrices=2)


# Formulas: tokens


def tokens_as_pairs(m: int, prompt: float, response: float) -> float:
    """2·C(m, 2)·(P + R): a list taken apart into all its pairs, as a DPO trainer reads them."""
    return m * (m - 1) * (prompt + response)


def tokens_plain(m: int, prompt: float, response: float) -> float:
    """m·(P + R): each response of the list once, with its own copy of the prompt."""
    return m * (prompt + response)


def tokens_shared(m: int, prompt: float, response: float) -> float:
    """P + m·R: the prompt once for all responses of the list."""
    return prompt + m * response


# Formulas: time and the memory of decoding


def weight_bytes(parameters: float, width: int = 2) -> float:
    """N·2 B in bfloat16."""
    return parameters * width


def forward_flops(parameters: float, tokens: float) -> float:
    """2·N·tokens: one multiplication and one addition per parameter and token. Attention is `attention_share`."""
    return 2 * parameters * tokens


def training_flops(parameters: float, tokens: float, checkpointing: bool = True) -> float:
    """6·N·tokens: forward, and twice as much backward; 8 when checkpointing runs the forward pass again."""
    return (8 if checkpointing else 6) * parameters * tokens


def attention_share(model: Transformer, length: float) -> float:
    """2·L·H·d·T² of scores and values (causal), relative to the 2·N·T of the weights: what the tables leave out."""
    return model.layers * model.heads * model.head_size * length / model.multiplied


def kv_cache_bytes(layers: int, kv_heads: int, head_size: int, width: int = 2) -> int:
    """2·L·K·d·2 B: keys and values of one token, all layers, in bfloat16."""
    return 2 * layers * kv_heads * head_size * width


def gpus_per_engine(model: Transformer, gpu: GPU) -> int:
    """GPUs that decode together: the least power of two on which bf16 weights fill at most half of the memory."""
    gpus = 1
    while weight_bytes(model.parameters) > gpus * gpu.memory / 2:
        gpus *= 2
    return gpus


def decoding_batch(model: Transformer, gpu: GPU, length: float) -> int:
    """Sequences decoded together: (memory − weights) / KV cache of a whole sequence, at most the server's limit."""
    room = value("memory_utilisation") * gpus_per_engine(model, gpu) * gpu.memory
    room -= weight_bytes(model.parameters)
    cache = kv_cache_bytes(model.layers, model.kv_heads, model.head_size) * length
    return int(min(room // cache, value("max_sequences")))


def decoding_step_seconds(model: Transformer, gpu: GPU, batch: int, context: float) -> float:
    """max((2·N + batch·context·KV) / bandwidth, 2·N·batch / peak), utilisations in: one token for each sequence."""
    gpus = gpus_per_engine(model, gpu)
    cache = kv_cache_bytes(model.layers, model.kv_heads, model.head_size) * batch * context
    reading = (weight_bytes(model.multiplied) + cache) / (
        gpus * gpu.bandwidth * value("bandwidth_utilisation")
    )
    multiplying = forward_flops(model.multiplied, batch) / (gpus * gpu.flops * value("forward_utilisation"))
    return max(reading, multiplying)


def gpu_seconds(flops: float, gpu: GPU, utilisation: float) -> float:
    """FLOPs / (peak · utilisation)."""
    return flops / (gpu.flops * utilisation)


def decoding_gpu_seconds(
    model: Transformer, gpu: GPU, sequences: float, prompt: float, response: float
) -> float:
    """sequences·R / batch steps, at a mean context of P + R/2. Finished sequences make room for others at once."""
    batch = decoding_batch(model, gpu, prompt + response)
    step = decoding_step_seconds(model, gpu, batch, prompt + response / 2)
    return sequences * response / batch * step * gpus_per_engine(model, gpu)


def iteration_gpu_hours(model: Transformer, gpu: GPU) -> dict[str, float]:
    """Per prompt: prefill 2·N·P once for its k samples, decoding, reward 2·N·k·(P + R), training 8·N·tokens·epochs.

    A reference pass, 2·N·m·(P + R), only where the log-probabilities of sampling were not kept.
    """
    prompts, k, m = value("prompts"), value("candidates"), int(value("list_size"))
    sizes = value("prompt_tokens"), value("response_tokens")
    forward, train = value("forward_utilisation"), value("train_utilisation")
    epochs = prompts * value("epochs")

    def scoring(parameters: float, tokens: float) -> float:
        return gpu_seconds(forward_flops(parameters, prompts * tokens), gpu, forward)

    def training(tokens: float) -> float:
        return gpu_seconds(training_flops(model.multiplied, epochs * tokens), gpu, train)

    seconds = {
        "prefill": scoring(model.multiplied, sizes[0]),
        "decoding": decoding_gpu_seconds(model, gpu, prompts * k, *sizes),
        "reward": scoring(REWARD.stacked, k * sum(sizes)),  # one number in place of a head
        "reference, if not kept": scoring(model.multiplied, tokens_plain(m, *sizes)),
        "training as pairs": training(tokens_as_pairs(m, *sizes)),
        "training, plain": training(tokens_plain(m, *sizes)),
        "training, shared prompt": training(tokens_shared(m, *sizes)),
    }
    return {stage: spent / HOUR for stage, spent in seconds.items()}


IN_TOTAL = ("prefill", "decoding", "reward", "training, plain")


# Formulas: memory

STATES = 16  # bytes per parameter: 4 weights, 4 gradients, 8 AdamW moments (ZeRO-3: 2 + 2 + 12)
DDP_WORKING = 6  # bytes per parameter: autocast's bf16 weights 2, buckets in which gradients are averaged 4


def working_bytes(model: Transformer, engine: str) -> float:
    """What is there beside the training states while a layer runs.

    DDP: 6·N. FSDP and ZeRO-3: 4 bytes per parameter of embedding and head, 6 per parameter of a layer: bf16 weights
    of two layers (one is fetched ahead) and bf16 gradients of one.
    """
    if engine == "DDP":
        return DDP_WORKING * model.parameters
    return 4 * model.embedding_parameters + 6 * model.layer_parameters


def activation_bytes(model: Transformer, tokens: float, checkpointing: bool = True) -> float:
    """Bytes kept for the backward pass: L·(26h + 4Hd + 4Kd + 8f + 4H) per token, under bf16 autocast.

    With checkpointing 4·L·h (every layer's input, float32) and one layer's whole. The factors were fitted to what
    transformers' Mistral saves. (Gemma 2 saves more: four norms, and scores where attention is eager.)
    """
    heads = (model.heads + model.kv_heads) * model.head_size
    layer = 26 * model.hidden + 4 * heads + 8 * model.feed_forward + 4 * model.heads
    per_token = 4 * model.layers * model.hidden + layer if checkpointing else model.layers * layer
    return per_token * tokens


def head_bytes(vocabulary: int, tokens: float) -> float:
    """10·V per token: bf16 logits 2, float32 copy 4, log-softmax 4. With chunks `tokens` is one chunk's."""
    return 10 * vocabulary * tokens


def adapter_parameters(model: Transformer, rank: float) -> float:
    """rank·(in + out), summed over the linear layers of all transformer layers."""
    query, key = model.heads * model.head_size, model.kv_heads * model.head_size
    ends = 2 * (model.hidden + query) + 2 * (model.hidden + key) + 3 * (model.hidden + model.feed_forward)
    return model.layers * rank * ends


def training_bytes(model: Transformer, engine: str, gpus: int) -> dict[str, float]:
    """States (16·N, shared out unless DDP; LoRA: 2·N and 16 per adapter parameter), working_bytes (LoRA: none),
    activation_bytes with checkpointing and head_bytes in one piece, for one list per GPU, each response with its
    own prompt."""
    m, prompt, response = int(value("list_size")), value("prompt_tokens"), value("response_tokens")
    if engine == "LoRA":  # frozen bf16 weights everywhere, states of the adapter alone
        states = weight_bytes(model.parameters) + STATES * adapter_parameters(model, value("adapter_rank"))
    else:
        states = STATES * model.parameters / (1 if engine == "DDP" else gpus)
    parts = {
        "states": states,
        "working": 0.0 if engine == "LoRA" else working_bytes(model, engine),
        "activations": activation_bytes(model, tokens_plain(m, prompt, response)),
        "head": head_bytes(model.vocabulary, m * response),
    }
    return {**parts, "total": sum(parts.values())}


# Formulas: retrieval


def flat_bytes(vectors: float, dimension: float) -> float:
    """4·D per vector: float32, exhaustive search."""
    return vectors * 4 * dimension


def hnsw_bytes(vectors: float, dimension: float, links: float) -> float:
    """4·D + 2·M·4 per vector: the vector and its links (FAISS, Guidelines to choose an index)."""
    return vectors * (4 * dimension + 2 * links * 4)


def ivf_pq_bytes(vectors: float, dimension: float, lists: float, code: float) -> float:
    """code + 8 per vector (an id), 4·D per list (its centroid), 4·256·D for the quantiser's codebooks."""
    return vectors * (code + 8) + 4 * dimension * lists + 4 * 256 * dimension


def encoding_flops() -> float:
    """2·N·tokens over the whole collection, N without the embedding (an encoder has no head)."""
    return forward_flops(ENCODER.stacked, value("passages") * value("passage_tokens"))


# Tables

INPUT_COLUMNS = ("unit", "source", "note")


def _number(amount: float) -> str:
    """Three significant digits, without exponents."""
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.3g}"


def _input(item: Input) -> str:
    return f"{item.value:.3g}" if item.value >= 1e10 or item.value < 1 else f"{item.value:,.0f}"


def input_rows() -> Iterator[dict[str, Any]]:
    for name, item in INPUTS.items():
        yield {"input": name, "value": _input(item), **{field: vars(item)[field] for field in INPUT_COLUMNS}}


def gpu_rows() -> Iterator[dict[str, Any]]:
    for gpu in GPUS:
        yield {
            "GPU": gpu.name,
            "dense BF16, TFLOP/s": f"{gpu.flops / 1e12:g}",
            "bandwidth, TB/s": f"{gpu.bandwidth / 1e12:g}",
            "memory, GB": f"{gpu.memory / GB:g}",
            "source": "NVIDIA's data sheet",
        }


def model_rows() -> Iterator[dict[str, Any]]:
    for model in (*POLICIES, REWARD, ENCODER):
        yield {
            "model": model.name,
            "L": model.layers,
            "h": model.hidden,
            "f": model.feed_forward,
            "H": model.heads,
            "K": model.kv_heads,
            "d": model.head_size,
            "V": model.vocabulary,
            "parameters": f"{model.parameters / 1e9:.2f} B",
            "source": "published configuration",
        }


def decoding_rows() -> Iterator[dict[str, Any]]:
    prompt, response = value("prompt_tokens"), value("response_tokens")
    for model in POLICIES:
        gpus, batch = gpus_per_engine(model, H100), decoding_batch(model, H100, prompt + response)
        step = decoding_step_seconds(model, H100, batch, prompt + response / 2)
        yield {
            "policy": model.name,
            "bf16 weights, GB": _number(weight_bytes(model.parameters) / GB),
            "KV cache, B/token": f"{kv_cache_bytes(model.layers, model.kv_heads, model.head_size):,}",
            "GPUs per engine": gpus,
            "sequences together": batch,
            "ms per step": _number(1000 * step),
            "tokens/s per GPU": _number(batch / step / gpus),
            "attention left out": f"{attention_share(model, prompt + response):.1%}",
        }


def layout_rows() -> Iterator[dict[str, Any]]:
    for prompt, response in ((value("prompt_tokens"), value("response_tokens")), (1500, 300)):
        for m in (2, 4, 8, 10):
            plain, shared = tokens_plain(m, prompt, response), tokens_shared(m, prompt, response)
            yield {
                "P": f"{prompt:g}",
                "R": f"{response:g}",
                "m": m,
                "as pairs": _number(tokens_as_pairs(m, prompt, response)),
                "plain": _number(plain),
                "shared prompt": _number(shared),
                "pairs / shared": f"{tokens_as_pairs(m, prompt, response) / shared:.2f}",
                "plain / shared": f"{plain / shared:.2f}",
            }


def gpus_to_train(model: Transformer, gpu: GPU) -> int:
    """Number of GPUs over which FSDP makes training fit: 1, 4 or 16 nodes of eight."""
    return next(n for n in (8, 32, 128) if training_bytes(model, "FSDP, ZeRO-3", n)["total"] <= gpu.memory)


def iteration_rows() -> Iterator[dict[str, Any]]:
    for model in POLICIES:
        for gpu in GPUS:
            hours, gpus = iteration_gpu_hours(model, gpu), gpus_to_train(model, gpu)
            total = sum(hours[stage] for stage in IN_TOTAL)
            row = {"policy": model.name, "GPU": gpu.name, **{stage: _number(hours[stage]) for stage in hours}}
            yield {**row, "total": _number(total), "hours on": f"{gpus} GPUs: {_number(total / gpus)}"}


def memory_rows() -> Iterator[dict[str, Any]]:
    for model in POLICIES:
        for engine, gpus in (("LoRA", 1), ("DDP", 8), ("FSDP, ZeRO-3", 8), ("FSDP, ZeRO-3", 32)):
            parts = training_bytes(model, engine, gpus)
            fits = "yes" if parts["total"] <= H100.memory else "no"
            row = {"policy": model.name, "engine": engine, "GPUs": gpus if engine != "DDP" else "any"}
            yield {**row, **{part: _number(size / GB) for part, size in parts.items()}, "fits 80 GB": fits}


def head_rows() -> Iterator[dict[str, Any]]:
    tokens, chunk = value("list_size") * value("response_tokens"), value("head_chunk")
    for model in POLICIES:
        yield {
            "policy": model.name,
            "vocabulary": f"{model.vocabulary:,}",
            f"{tokens:g} tokens at once, GB": _number(head_bytes(model.vocabulary, tokens) / GB),
            f"chunks of {chunk:g}, GB": _number(head_bytes(model.vocabulary, chunk) / GB),
        }


def index_rows() -> Iterator[dict[str, Any]]:
    n, dimension = value("passages"), value("dimension")
    links, lists, code = value("hnsw_links"), value("ivf_lists"), value("pq_bytes")
    sizes = {
        "Flat": flat_bytes(n, dimension),
        f"HNSW{links:g}": hnsw_bytes(n, dimension, links),
        f"IVF{lists:g},PQ{code:g}": ivf_pq_bytes(n, dimension, lists, code),
        "BM25, text stored (on disk, compressed)": value("bm25_with_text"),
        "BM25, without text (on disk, compressed)": value("bm25_without_text"),
    }
    for name, size in sizes.items():
        yield {"index": name, "GB": _number(size / GB), "bytes per passage": _number(size / n)}


def encoding_rows() -> Iterator[dict[str, Any]]:
    for gpu in GPUS:
        hours = gpu_seconds(encoding_flops(), gpu, value("encode_utilisation")) / HOUR
        yield {"device": f"one {gpu.name}", "hours": _number(hours)}
    yield {"device": "one CPU core", "hours": _number(encoding_flops() / value("cpu_flops") / HOUR)}


def formula_rows() -> Iterator[dict[str, Any]]:
    for formula in FORMULAS:
        yield {"formula": formula.__name__, "what it is": " ".join((formula.__doc__ or "").split())}


FORMULAS = (
    tokens_as_pairs, tokens_plain, tokens_shared, weight_bytes, forward_flops, training_flops, attention_share,
    kv_cache_bytes, gpus_per_engine, decoding_batch, decoding_step_seconds, decoding_gpu_seconds, gpu_seconds,
    iteration_gpu_hours, working_bytes, activation_bytes, head_bytes, adapter_parameters, training_bytes, flat_bytes,
    hnsw_bytes, ivf_pq_bytes, encoding_flops,
)  # fmt: skip

TABLES = {
    "Inputs": input_rows,
    "GPUs": gpu_rows,
    "Models": model_rows,
    "Formulas": formula_rows,
    "Tokens of one training list": layout_rows,
    "Decoding, H100": decoding_rows,
    "One iteration, GPU-hours": iteration_rows,
    "Training memory per GPU, GB": memory_rows,
    "Log-probabilities: memory of the head": head_rows,
    "Indexes of 21 M passages": index_rows,
    "Encoding 21 M passages": encoding_rows,
}


def report() -> str:
    """All tables as Markdown."""
    parts = [f"### {title}\n\n{markdown_table(pd.DataFrame(rows()))}" for title, rows in TABLES.items()]
    return "\n".join(parts)


if __name__ == "__main__":
    print(report(), end="")
