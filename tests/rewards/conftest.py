"""Frames, a tokenizer and tiny random-weight models; nothing is downloaded."""

import pandas as pd
import pytest

from larpo_ir.data.results import docno_of

CHAT_TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"


def make_results(query="2+2?", qid="q", **columns):
    """A results frame of one query, in order of retrieval."""
    frame = pd.DataFrame(columns)
    docnos = [docno_of(query, text) for text in frame["text"]]
    return frame.assign(
        qid=qid, query=query, docno=docnos, score=-frame.index.astype(float), rank=range(len(frame))
    )


def make_tokenizer(**options):
    """One token per byte; `bos=True` starts with <s>, like Llama's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<s>", "</s>", "<pad>", "<|user|>", "<|assistant|>"]
    vocabulary = {
        token: i for i, token in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])
    }
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    if options.pop("bos", False):
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    options = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", **options}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, additional_special_tokens=["<|user|>", "<|assistant|>"], **options
    )


SIZES = {
    "vocab_size": 261,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.5,
}
DECODER = {"num_key_value_heads": 1, "head_dim": 8, "bos_token_id": 0, "eos_token_id": 1}


def make_classifier(kind="llama", pad_token_id=None, num_labels=1):
    """A sequence classifier with random weights, large enough that its scores differ."""
    import torch
    import transformers as tr

    common = {"num_labels": num_labels, "pad_token_id": pad_token_id, **SIZES}
    torch.manual_seed(0)
    if kind == "bert":
        return tr.BertForSequenceClassification(tr.BertConfig(**{**common, "pad_token_id": 2}))
    if kind == "gpt2":
        config = tr.GPT2Config(
            vocab_size=261, n_embd=16, n_layer=2, n_head=2, n_positions=256, num_labels=num_labels,
            pad_token_id=pad_token_id, bos_token_id=0, eos_token_id=1, initializer_range=0.5,
        )  # fmt: skip
        return tr.GPT2ForSequenceClassification(config)
    name = {"llama": "Llama", "qwen": "Qwen2", "mistral": "Mistral"}[kind]
    config = getattr(tr, f"{name}Config")(**common, **DECODER)
    return getattr(tr, f"{name}ForSequenceClassification")(config)


# Test folders are not packages: the makers reach the tests as fixtures.


@pytest.fixture(scope="session", name="make_results")
def _results_maker():
    return make_results


@pytest.fixture(scope="session", name="make_tokenizer")
def _tokenizer_maker():
    return make_tokenizer


@pytest.fixture(scope="session", name="make_classifier")
def _classifier_maker():
    return make_classifier


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer(bos=True)


@pytest.fixture(scope="session")
def chat_tokenizer():
    return make_tokenizer(chat_template=CHAT_TEMPLATE)


@pytest.fixture
def causal_model():
    import torch
    import transformers as tr

    torch.manual_seed(0)
    return tr.LlamaForCausalLM(tr.LlamaConfig(**SIZES, **DECODER, pad_token_id=2))
