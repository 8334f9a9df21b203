"""Training a dense retriever with the ranking losses of `larpo_ir`: the same loss objects, on s = sim/τ.

A retriever's training lists are ranked lists (`larpo_ir.data.lists`): `prompt` is the query, `completions` are
passages, `relevance` is their grades. There are two ways to score the passages:

    s(d) = sim(q, d) / τ                                          without a reference: the usual retriever
    γ(d) = β · log p_θ(d|q) / p_ref(d|q)                          with one: LarPO's implicit reward
    p(d|q) = exp(s(d)) / Σ_{d' in the list} exp(s(d'))

Source: Jin et al., *LLM Alignment as Retriever Optimization*, ICML 2025, arXiv:2502.03699, read from right to left:
p, the retriever's distribution over the candidate list, takes the place of the policy's distribution over responses.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
from torch import Tensor, nn

from larpo_ir.data.lists import check_lists, read_lists
from larpo_ir.losses import RankingLoss, get_loss
from larpo_ir.models.scoring import list_mask
from retrieval_bridge.retrieval.encoders import Encoder, EncoderLike
from retrieval_bridge.training.arguments import check_arguments

DEFAULTS: dict[str, Any] = {
    "num_train_epochs": 1, "learning_rate": 2e-5, "per_device_train_batch_size": 32, "report_to": "none",
    "save_strategy": "no", "logging_steps": 50, "warmup_steps": 0.1, "seed": 0,
}  # fmt: skip
OWN = {"remove_unused_columns", "prompts"}  # arguments that lists decide on


def log_retrieval_distribution(similarities: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """log p(d|q) over each list, [batch, list] -> [batch, list]; 0 where there is no passage.

    >>> log_retrieval_distribution(torch.tensor([[0.5, 0.5, 9.0]]), torch.tensor([[True, True, False]]), 0.05).exp()
    tensor([[0.5000, 0.5000, 1.0000]])
    """
    logps = torch.log_softmax((similarities / temperature).masked_fill(~mask, -math.inf), dim=-1)
    return torch.where(mask, logps, torch.zeros_like(logps))


class RetrieverLoss(nn.Module):
    """A ranking loss of `larpo_ir` as a loss of sentence-transformers.

    Args:
        encoder: the encoder that is trained.
        loss: a name that `larpo_ir.losses.get_loss` knows, or a loss object, used as it is.
        temperature: τ, which divides similarities.
        beta: β, which multiplies log-ratios; used where the lists carry `ref_logps`.

    The trainer calls it with the features of queries and of the batch's distinct passages, and with the `label` that
    `Collator` makes: `places` (of each list's passages among the distinct ones), `relevance`, `mask` and maybe
    `ref_logps`, all [batch, list].
    """

    def __init__(
        self, encoder: Encoder, loss: str | RankingLoss, temperature: float = 0.05, beta: float = 1.0
    ) -> None:
        super().__init__()
        for name, value in (("temperature", temperature), ("beta", beta)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}; it must be a positive number")
        self.model, self.normalise = encoder.model, encoder.normalise
        self.loss, self.temperature, self.beta = get_loss(loss), temperature, beta

    def forward(self, features: Sequence[dict[str, Tensor]], labels: dict[str, Tensor]) -> Tensor:
        queries, passages = (self.model(part)["sentence_embedding"] for part in features)
        if self.normalise:
            queries, passages = nn.functional.normalize(queries), nn.functional.normalize(passages)
        similarities = (queries @ passages.T).gather(1, labels["places"])
        return self.loss(self.scores(similarities, labels), labels["relevance"], labels["mask"])

    def scores(self, similarities: Tensor, labels: dict[str, Tensor]) -> Tensor:
        """[batch, list]: the scores by which the loss ranks, s = sim/τ or γ."""
        if "ref_logps" not in labels:
            return similarities / self.temperature
        logps = log_retrieval_distribution(similarities, labels["mask"], self.temperature)
        return self.beta * (logps - labels["ref_logps"])


class Collator(SentenceTransformerDataCollator):
    """Ranked lists -> tokens of queries and of distinct passages, and the lists as `label`.

    With `in_batch`, every list goes on with the passages of the batch's other lists, as relevant as its own worst (or
    1 less, where its own are all alike): lower, they would teach to rank its hard negatives above them.
    """

    def __init__(self, encoder: Encoder, in_batch: bool = False) -> None:
        super().__init__(preprocess_fn=encoder.model.preprocess)
        self.encoder, self.in_batch = encoder, in_batch

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        place_of: dict[str, int] = {}
        for example in examples:
            for passage in example["completions"]:
                place_of.setdefault(passage, len(place_of))
        rows = [self._row(example, place_of) for example in examples]
        mask = list_mask([places for places, _ in rows])
        label = {
            "places": _padded([places for places, _ in rows], mask, torch.int64),
            "relevance": _padded([relevance for _, relevance in rows], mask, torch.float32),
            "mask": mask,
        }
        if "ref_logps" in examples[0]:
            label["ref_logps"] = _padded([example["ref_logps"] for example in examples], mask, torch.float32)
        batch: dict[str, Any] = {"label": label}
        texts = {"query": [example["prompt"] for example in examples], "passage": list(place_of)}
        prefixes = {"query": self.encoder.query_prefix, "passage": self.encoder.passage_prefix}
        for name, part in texts.items():
            tokens = self.encoder.model.preprocess(part, prompt=prefixes[name] or None)
            batch |= {f"{name}_{key}": value for key, value in tokens.items()}
        return batch

    def _row(self, example: dict[str, Any], place_of: dict[str, int]) -> tuple[list[int], list[float]]:
        places, relevance = [place_of[text] for text in example["completions"]], list(example["relevance"])
        if self.in_batch:
            others = [place for place in place_of.values() if place not in set(places)]
            best, worst = max(relevance), min(relevance)
            places, relevance = (
                places + others,
                relevance + [worst if worst < best else worst - 1.0] * len(others),
            )
        return places, relevance


def _padded(rows: list[list[Any]], mask: Tensor, dtype: torch.dtype) -> Tensor:
    flat = torch.tensor([value for row in rows for value in row], dtype=dtype)
    return torch.zeros(mask.shape, dtype=dtype).masked_scatter(mask, flat)


class ListTrainer(SentenceTransformerTrainer):
    """`SentenceTransformerTrainer` on ranked lists, which it takes as they are: prefixes are `Collator`'s affair."""

    def preprocess_dataset(self, dataset: Any = None, *_: Any, **__: Any) -> Any:
        return dataset

    def add_model_card_callback(self, *_: Any, **__: Any) -> None:
        """None: it would describe pairs and triplets, which lists are not."""


def train_retriever(
    encoder: EncoderLike,
    lists: Dataset,
    loss: str | RankingLoss = "contrastive",
    temperature: float = 0.05,
    reference: EncoderLike | None = None,
    *,
    beta: float = 1.0,
    in_batch: bool = False,
    output_dir: str | os.PathLike[str] | None = None,
    **training: Any,
) -> Any:
    """Train a copy of an encoder on ranked lists, through `SentenceTransformerTrainer`.

    Args:
        encoder: anything that `Encoder` takes. It stays as it is; the trained one is of the same kind (an `Encoder`
            for a name or a folder).
        lists: ranked lists, or anything that `larpo_ir.read_lists` reads: `prompt` (query), `completions` (passages),
            `relevance` (higher is better) and maybe `ref_logps`; `larpo_ir.sample_lists` makes them.
        loss: any loss of `larpo_ir.losses`, by name or as an object.
        temperature: τ in s = sim/τ.
        reference: train γ = β · log p_θ/p_ref against this encoder instead of s (`"start"`: `encoder` itself).
        beta: β in γ.
        in_batch: the passages of the batch's other lists are negatives too, as relevant as the list's worst; not with
            a reference. A passage that lies in the list itself is none.
        output_dir: folder of the trainer's files, with save_strategy="epoch" checkpoints; None keeps nothing.
        training: arguments of `SentenceTransformerTrainingArguments`, such as learning_rate=2e-3,
            num_train_epochs=5, per_device_train_batch_size=32, seed=1; `DEFAULTS` holds the defaults that differ from
            its own.

    Raises `ValueError` for lists of another layout, no lists, an unknown loss, or in_batch with a reference.
    """
    lists = lists if isinstance(lists, Dataset) else read_lists(lists)
    if not len(lists):
        raise ValueError("there are no training lists: nothing to learn from")
    check_lists(lists)
    start = Encoder(encoder)
    if reference is not None:
        ends = start if isinstance(reference, str) and reference == "start" else Encoder(reference)
        lists = with_reference(lists, ends, temperature)
    columns = [
        name for name in ("prompt", "completions", "relevance", "ref_logps") if name in lists.column_names
    ]
    if in_batch and "ref_logps" in columns:
        raise ValueError(
            "in_batch and a reference do not go together: a reference is known for a list's own passages"
        )
    trained = start.copy()
    objective = RetrieverLoss(trained, loss, temperature, beta)
    with tempfile.TemporaryDirectory() as scratch:
        check_arguments(SentenceTransformerTrainingArguments, training, decided=OWN)
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(output_dir or scratch), remove_unused_columns=False, **{**DEFAULTS, **training}
        )
        ListTrainer(
            model=trained.model,
            args=arguments,
            train_dataset=lists.select_columns(columns),
            loss=objective,
            data_collator=Collator(trained, in_batch),
        ).train()
    trained.model.eval()
    return trained.model if isinstance(encoder, SentenceTransformer) else trained


def with_reference(lists: Dataset, reference: EncoderLike, temperature: float) -> Dataset:
    """The lists with `ref_logps`: log p_ref(d|q) over each list at that temperature.

    Queries and passages are encoded once each; the reference does not sit in memory while the retriever trains.
    """
    encoder = Encoder(reference)
    queries, passages = (
        list(dict.fromkeys(texts)) for texts in (lists["prompt"], _flat(lists["completions"]))
    )
    query_vectors = dict(zip(queries, torch.from_numpy(encoder.encode_queries(queries)), strict=True))
    vectors = dict(zip(passages, torch.from_numpy(encoder.encode_passages(passages)), strict=True))

    def logps(row: dict[str, Any]) -> list[float]:
        passage_vectors = torch.stack([vectors[text] for text in row["completions"]])
        similarities = passage_vectors @ query_vectors[row["prompt"]]
        mask = torch.ones_like(similarities, dtype=torch.bool)
        return log_retrieval_distribution(similarities, mask, temperature).tolist()

    # computed here, not by `map`, whose cache would hash and store every vector
    bare = lists.remove_columns("ref_logps") if "ref_logps" in lists.column_names else lists
    return bare.add_column("ref_logps", [logps(row) for row in lists])


def _flat(rows: Sequence[Sequence[str]]) -> list[str]:
    return [text for row in rows for text in row]
