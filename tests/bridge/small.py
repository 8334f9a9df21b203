"""Small real parts: encoders and a collection that a reader can check by eye."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.retrieval.encoders import Encoder

TEXT = "[UNK] red green blue apple pear plum sky sea grass what is where the a of"
WORDS = TEXT.split()
PASSAGES = [
    {"docno": "p0", "title": "", "text": "the apple is red"},
    {"docno": "p1", "title": "Pear", "text": "a green pear"},
    {"docno": "p2", "title": "", "text": "plum blue plum"},
    {"docno": "p3", "title": "", "text": "the sky is blue"},
    {"docno": "p4", "title": "Sea", "text": "the sea of blue"},
    {"docno": "p5", "title": "", "text": "grass is green"},
]
TOPICS = pd.DataFrame(
    {
        "qid": ["q0", "q1", "q2"],
        "query": ["what is red", "where is the pear", "blue sky"],
        "answers": [["apple"], ["pear"], ["sky", "sea"]],
    }
)
QRELS = pd.DataFrame({"qid": ["q0", "q1", "q2"], "docno": ["p0", "p1", "p3"], "label": [1, 1, 1]})


def make_static(dimension: int = 8, seed: int = 0) -> SentenceTransformer:
    """Random word vectors, averaged."""
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = torch.randn(len(WORDS), dimension, generator=torch.Generator().manual_seed(seed))
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")


def make_encoder(dimension: int = 8, seed: int = 0, **options) -> Encoder:
    return Encoder(make_static(dimension, seed), **options)


def make_cross_encoder(folder: Path, num_labels: int = 1) -> str:
    """A BERT of one layer whose words are those of the small collection, in a folder."""
    words = ["[PAD]", "[CLS]", "[SEP]", *WORDS]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "unk")}
    PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=64, model_input_names=["input_ids", "token_type_ids",
        "attention_mask"], **special,
    ).save_pretrained(folder)  # fmt: skip
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, num_labels=num_labels, initializer_range=0.3, hidden_dropout_prob=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


class SmallCollection(Collection):
    """The passages above; `train` has all topics, `dev` the last."""

    def __init__(self, name: str = "small") -> None:
        self.name, self.splits = name, ["train", "dev"]

    def corpus(self):
        return iter(PASSAGES)

    def _topics(self, split: str) -> pd.DataFrame:
        return TOPICS if split == "train" else TOPICS[2:].reset_index(drop=True)

    def _qrels(self, split: str) -> pd.DataFrame:
        return QRELS if split == "train" else QRELS[2:].reset_index(drop=True)


def write_beir(folder: Path) -> Path:
    """The same as a folder in BEIR's layout; here `dev` has all topics, too."""
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": row["docno"], "title": row["title"], "text": row["text"]} for row in PASSAGES]
    queries = [
        {"_id": row.qid, "text": row.query, "metadata": {"answers": row.answers}}
        for row in TOPICS.itertuples()
    ]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for split in ("train", "dev"):
        lines = [f"{row.qid}\t{row.docno}\t{row.label}\n" for row in QRELS.itertuples()]
        (folder / "qrels" / f"{split}.tsv").write_text("".join(["query-id\tcorpus-id\tscore\n", *lines]))
    return folder
