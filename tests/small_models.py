"""Tiny random-weight models of several architectures, and tokenizers, all made here: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tr
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

SPECIALS = ["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>", "<|system|>", "<|tool|>"]
MERGES = [("Ġ", "t"), ("Ġt", "h"), ("Ġth", "e"), ("a", "b"), ("Ġ", "4"), ("1", "2"), ("Ċ", "Ċ"), ("x", "y")]
VOCAB_SIZE = 300  # tokens beyond the tokenizer's are there to be sampled, as models' padded vocabularies are
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Writes more before an answer that is asked for than before one that is there, as some reasoning models' do.
THINKING_TEMPLATE = CHAT_TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|>think:{% endif %}")

# In the styles of published models: what stands around messages, what is refused, what is trimmed.
_REFUSE_UNLESS_ALTERNATING = (
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
)
_CHATML_TURN = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
STYLES: dict[str, dict[str, Any]] = {
    "chatml": {
        "eos_token": "<|im_end|>",
        "bos_token": "<|im_start|>",
        "chat_template": "{% for m in messages %}" + _CHATML_TURN + "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    },
    "thinks": {  # an answer begins with what was thought, even where nothing was
        "eos_token": "<|im_end|>",
        "chat_template": "{% for m in messages %}{% if loop.last and m['role'] == 'assistant' %}"
        "{{ '<|im_start|>assistant\n' }}{% if '</think>' not in m['content'] %}{{ '<think>\n\n</think>\n\n' }}"
        "{% endif %}{{ m['content'] + '<|im_end|>\n' }}{% else %}" + _CHATML_TURN + "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    },
    "gemma": {
        "bos": True,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "chat_template": "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
        + _REFUSE_UNLESS_ALTERNATING
        + "{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n'"
        " + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    },
    "llama3": {
        "bos": True,
        "bos_token": "<s>",
        "eos_token": "</s>",  # as early files of Llama 3 have it
        "chat_template": "{% for m in messages %}{{ (bos_token if loop.first else '') + '<|start_header_id|>'"
        " + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    },
    "llama2": {
        "bos": True,
        "chat_template": "{% for m in messages %}"
        + _REFUSE_UNLESS_ALTERNATING
        + "{{ bos_token + '[INST] ' + m['content'] | trim + ' [/INST]' if m['role'] == 'user' else"
        " ' ' + m['content'] | trim + ' ' + eos_token }}{% endfor %}",
    },
    "mistral": {
        "bos": True,
        "chat_template": "{{ bos_token }}{% for m in messages %}"
        + _REFUSE_UNLESS_ALTERNATING
        + "{{ '[INST] ' + m['content'] + ' [/INST]' if m['role'] == 'user' else"
        " ' ' + m['content'] + eos_token }}{% endfor %}",
    },
    "phi": {  # what stands behind the last turn is not what stands behind the others
        "chat_template": "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    },
    "glm": {  # nothing ends a turn
        "chat_template": "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    },
    "vicuna": {  # its marks are words
        "bos": True,
        "chat_template": "{{ bos_token + 'A chat. ' }}{% for m in messages %}{{ 'USER: ' + m['content'] + ' '"
        " if m['role'] == 'user' else 'ASSISTANT: ' + m['content'] + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    },
    "words": {  # what ends its turns is no token
        "chat_template": "{% for m in messages %}{{ '[' + m['role'] + ']: ' + m['content'] + '###\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '[assistant]: ' }}{% endif %}",
    },
    "thinking": {  # the prompt has begun to think
        "eos_token": "<|im_end|>",
        "chat_template": "{% for m in messages %}{% if loop.last and m['role'] == 'assistant' %}"
        "{{ '<|im_start|>assistant\n<think>\n' }}{% if '</think>' not in m['content'] %}{{ '\n</think>\n\n' }}"
        "{% endif %}{{ m['content'] + '<|im_end|>\n' }}{% else %}" + _CHATML_TURN + "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}",
    },
    "channels": {  # other turns end otherwise than the last
        "chat_template": "{% for m in messages %}{{ '<|' + m['role'] + '|>'"
        " + ('<|final|>' if m['role'] == 'assistant' else '') + m['content']"
        " + ('<|return|>' if loop.last and m['role'] == 'assistant' else '<|end|>') }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
    },
    "bare": {"chat_template": "{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}"},
}
STYLE_SPECIALS = [
    *("<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end|>", "<think>", "</think>"),
    *("<|final|>", "<|return|>"),
]


def make_styled_tokenizer(style: str, **options: Any):
    """A tokenizer whose chat template and special tokens are in the style of a published family of models."""
    settings = {"extra_specials": STYLE_SPECIALS, **STYLES[style], **options}
    return make_tokenizer(**settings)


def make_tokenizer(
    *,
    bos: bool = False,
    eos: bool = False,
    chat_template: str | None = None,
    extra_specials: list[str] | None = None,
    **options: Any,
):
    """Byte-level BPE with a few merges. `bos`, `eos`: what it puts around plain text by itself."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*SPECIALS, *alphabet, *(a + b for a, b in MERGES)]
    backend = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True) for token in extra_specials or ()])
    return _wrap(backend, bos, eos, chat_template=chat_template, **options)


def make_sentencepiece_tokenizer(*, bos: bool = True, prepend: str = "always", **options: Any):
    """Like Llama 2's: words start with ▁, one is put before the text, unknown characters become bytes."""
    characters = ["▁", *(chr(i) for i in range(33, 127)), "▁4", "▁is", "is"]
    words = [*SPECIALS, "<unk>", *(f"<0x{i:02X}>" for i in range(256)), *characters]
    merges = [("▁", "4"), ("i", "s"), ("▁", "is")]
    backend = Tokenizer(
        models.BPE({word: i for i, word in enumerate(words)}, merges, unk_token="<unk>", byte_fallback=True)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _wrap(backend, bos, False, **options)


def _wrap(backend: Tokenizer, bos: bool, eos: bool, **options: Any):
    backend.add_special_tokens([AddedToken(token, special=True) for token in SPECIALS])
    if bos or eos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{'<s> ' * bos}$A{' </s>' * eos}", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    options = {"bos_token": "<s>" if bos else None, "eos_token": "</s>", "pad_token": "<pad>", **options}
    return tr.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        additional_special_tokens=[token for token in SPECIALS if token not in options.values()],
        **options,
    )


TOKENS = {"vocab_size": VOCAB_SIZE, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.4,  # large, so that the distributions are far from flat
}
GROUPED = {**LLAMA, "num_key_value_heads": 1, "head_dim": 8}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", GROUPED),
    "mistral": ("Mistral", {**GROUPED, "sliding_window": 8}),
    "gemma2": ("Gemma2", {**GROUPED, "sliding_window": 8, "query_pre_attn_scalar": 8}),
    "qwen2": ("Qwen2", {**LLAMA, "num_key_value_heads": 1}),
    "qwen3": ("Qwen3", GROUPED),
    "gpt2": ("GPT2", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 128, "initializer_range": 0.4}),
    "gpt_neox": ("GPTNeoX", LLAMA),
    "bloom": ("Bloom", {"hidden_size": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.4}),
    "opt": (
        "OPT",
        {
            "hidden_size": 16,
            "word_embed_proj_dim": 16,
            "ffn_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 128,
            "init_std": 0.4,
        },
    ),
}


def make_model(architecture: str = "llama", seed: int = 0, **options: Any) -> Any:
    """A causal language model in evaluation mode; equal seeds give equal weights."""
    name, sizes = ARCHITECTURES[architecture]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = getattr(tr, f"{name}Config")(**{**TOKENS, **sizes, **options})
        return tr.AutoModelForCausalLM.from_config(config).eval()


def make_stopping_model(architecture: str = "llama", seed: int = 0) -> Any:
    """A model that emits EOS soon after some prefixes and not after others."""
    model = make_model(architecture, seed)
    with torch.no_grad():
        model.get_output_embeddings().weight[1] *= 3
    return model


def make_reward_model(seed: int = 0, **options: Any) -> Any:
    """A sequence classifier with one label."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = tr.LlamaConfig(**{**TOKENS, **GROUPED, "num_labels": 1, **options})
        return tr.LlamaForSequenceClassification(config).eval()


def naive_logprob(model: Any, prompt: list[int], response: list[int]) -> torch.Tensor:
    """One sequence, no padding, no mask, softmax over all positions in float64."""
    ids = torch.tensor([prompt + response])
    logprobs = model(ids).logits[0, -ids.shape[1] :].double().log_softmax(-1)
    places = range(len(prompt), ids.shape[1])
    return sum((logprobs[place - 1, ids[0, place]] for place in places), start=torch.zeros(()).double())


def naive_scores(model: Any, lists: list[Any]) -> torch.Tensor:
    """[batch, list] log-probabilities of tokenised lists, one sequence at a time, 0 where there is none."""
    rows = [
        [naive_logprob(model, tokens.prompt_ids, ids) for ids in tokens.completion_ids] for tokens in lists
    ]
    width = max(map(len, rows))
    return torch.stack(
        [torch.stack([*row, *[torch.zeros(()).double()] * (width - len(row))]) for row in rows]
    )
