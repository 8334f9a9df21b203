"""Every causal language model of the installed transformers that can be built small: scores are its own.

Slow: a few minutes. What cannot be built from a handful of sizes is reported as skipped, with the reason.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from larpo_ir.models.scoring import choose_way, score_lists
from larpo_ir.models.tokenization import TokenizedList
from tests.small_models import naive_scores

LISTS = [
    TokenizedList([7, 8, 9], [[10, 11, 12, 1], [13], [5, 6]]),
    TokenizedList(list(range(30, 50)), [list(range(60, 80)), [5, 1, 5, 1], [99]]),
]
SIZES: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "n_embd": 32, "n_layer": 2, "n_head": 4,
    "n_positions": 128, "d_model": 32, "n_layers": 2, "n_heads": 4, "ffn_dim": 64, "d_ff": 64, "sliding_window": 8,
    "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "num_layers": 2,
    "num_heads": 4, "ffn_hidden_size": 64, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8, "v_head_dim": 8, "n_routed_experts": 4, "n_group": 1, "topk_group": 1,
    "first_k_dense_replace": 1, "initializer_range": 0.3, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
# Encoders with a head, whose positions depend on where padding stands, and a model that takes no mask.
OTHERWISE = {
    "camembert", "cpmant", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"
}  # fmt: skip
NAMES = {
    kind: name if isinstance(name, str) else name[0]
    for kind, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()
    if kind not in OTHERWISE
}


def build(name: str) -> Any:
    model_class = getattr(transformers, name)
    config_class = model_class.config_class
    uses_windows = bool(getattr(config_class(), "sliding_window", None))
    config = config_class(**{k: v for k, v in SIZES.items() if k != "sliding_window" or uses_windows})
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in model_class(config).parameters())
    if size > 20_000_000:
        raise ValueError(f"{size:,} parameters are not small")
    torch.manual_seed(0)
    return model_class(config).eval()


@pytest.mark.slow
@pytest.mark.parametrize("kind", NAMES)
@torch.no_grad()
def test_scores_are_the_models_own(kind):
    try:
        model = build(NAMES[kind])
        expected = naive_scores(model, LISTS)
    except Exception as error:
        pytest.skip(f"cannot be built from these sizes: {str(error).splitlines()[0][:80]}")
    if not torch.isfinite(expected).all():
        pytest.skip("its log-probabilities are not finite with these sizes")
    scores = score_lists(model, LISTS)
    torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=2e-4)
    print(kind, choose_way(model))
