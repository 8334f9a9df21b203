"""Models and lists to time: random weights and random words, of chosen sizes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.speed.measure import device

VOCABULARY = 32_000
SPECIALS = ["<pad>", "<s>", "</s>"]


def make_model(vocabulary: int = VOCABULARY, hidden: int = 256, layers: int = 6) -> LlamaForCausalLM:
    """A small Llama: 6 layers of width 256, grouped-query attention; bf16 on a GPU, float32 on a CPU."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=8192,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config)
    model.to(device())
    return cast("LlamaForCausalLM", model.bfloat16() if device().type == "cuda" else model)


def make_tokenizer(vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A tokenizer that makes one token of each word, so that lengths are exact."""
    words = [*SPECIALS, *(f"w{i}" for i in range(len(SPECIALS), vocabulary))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def make_lists(
    number: int,
    size: int,
    prompt: int = 160,
    response: int = 160,
    vocabulary: int = VOCABULARY,
    seed: int = 0,
) -> Dataset:
    """Ranked lists of exactly so many tokens, EOS included, every response with a reward of its own."""
    rng = np.random.default_rng(seed)

    def text(length: int) -> str:
        return " ".join(f"w{i}" for i in rng.integers(len(SPECIALS), vocabulary, length))

    return Dataset.from_list(
        [
            {
                "prompt": text(prompt),
                "completions": [f" {text(response - 1)}" for _ in range(size)],
                "relevance": rng.permutation(size).astype(float).tolist(),
            }
            for _ in range(number)
        ]
    )


def training_arguments(directory: str, **options: Any) -> dict[str, Any]:
    """Arguments that both trainers get."""
    return {
        "output_dir": directory, "num_train_epochs": 1, "learning_rate": 1e-6, "logging_strategy": "no",
        "save_strategy": "no", "report_to": "none", "disable_tqdm": True, "lr_scheduler_type": "constant",
        "optim": "adamw_torch", "bf16": False, "gradient_checkpointing": False,
        "use_cpu": device().type == "cpu", "dataloader_pin_memory": device().type == "cuda", **options,
    }  # fmt: skip
