"""Training a cross-encoder on ranked lists."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments, losses
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from larpo_ir.data.chats import completion_text, prompt_text
from larpo_ir.data.lists import check_lists
from larpo_ir.losses import RankingLoss, available_losses, get_loss
from retrieval_bridge.retrieval.reranker import Model, load_cross_encoder
from retrieval_bridge.training.arguments import check_arguments

if TYPE_CHECKING:
    from datasets import Dataset

ScoreLoss: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]

# sentence-transformers' own losses over lists, by the names of their classes.
LISTWISE: dict[str, Callable[[CrossEncoder], nn.Module]] = {
    kind.__name__: kind
    for kind in (
        losses.LambdaLoss, losses.ListMLELoss, losses.ListNetLoss, losses.PListMLELoss, losses.RankNetLoss,
    )
}  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "report_to": "none", "save_strategy": "no", "logging_steps": 20, "warmup_steps": 0.1, "weight_decay": 0.01,
}  # fmt: skip


class ListLoss(nn.Module):
    """A loss on a cross-encoder's scores [batch, list], as sentence-transformers' trainer calls it.

    Lists may differ in length: a mask hides the places that a shorter one does not fill.
    """

    def __init__(self, model: CrossEncoder, loss: ScoreLoss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(
        self, inputs: list[Any], labels: list[Tensor], prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        """Loss of a batch of queries, each with its passages and their relevance."""
        queries, lists = inputs
        pairs = [(query, text) for query, texts in zip(queries, lists, strict=True) for text in texts]
        features = batch_to_device(self.model.preprocess(pairs, prompt=prompt, task=task), self.model.device)
        logits = self.model(features)["scores"].view(-1).float()
        lengths = torch.tensor([len(texts) for texts in lists], device=logits.device)
        scores = pad_sequence(list(logits.split(lengths.tolist())), batch_first=True)
        relevance = pad_sequence([label.to(scores) for label in labels], batch_first=True)
        mask = torch.arange(scores.shape[1], device=scores.device) < lengths[:, None]
        return self.loss(scores, relevance, mask)


def binary(scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
    """Mean binary cross-entropy of all passages of a batch: relevance, from 0 to 1, is a probability.

    >>> round(binary(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([[True, True]])).item(), 4)  # log 2
    0.6931
    """
    return nn.functional.binary_cross_entropy_with_logits(scores[mask], relevance[mask])


def train_cross_encoder(
    model: Model,
    lists: Dataset,
    *,
    loss: str | RankingLoss = "binary",
    epochs: float = 1,
    learning_rate: float = 2e-4,
    batch_size: int = 8,
    max_length: int | None = 128,
    seed: int = 0,
    output_dir: str | os.PathLike[str] | None = None,
    **training: Any,
) -> CrossEncoder:
    """Train a copy of a cross-encoder on ranked lists, through `CrossEncoderTrainer`.

    Args:
        model: anything that `CrossEncoderReranker` takes; `"minilm"` starts from all-MiniLM-L6-v2 with a new head.
        lists: ranked lists: `prompt` (query), `completions` (passages), `relevance` (higher is better).
        loss: `"binary"` (relevance from 0 to 1); any loss of `larpo_ir.losses`, by name or as an object; or a
            listwise loss of sentence-transformers by the name of its class (`LISTWISE`).
        epochs, learning_rate, seed: of the training; the seed also draws a new head. The learning rate is MiniLM's:
            larger models want a smaller one.
        batch_size: lists in a step.
        max_length: tokens to which pairs are cut, also afterwards; None leaves the model's own.
        output_dir: checkpoints and logs; None keeps none. The model is the caller's to save (`save_pretrained`).
        training: further arguments of `CrossEncoderTrainingArguments`, such as bf16=True or
            learning_rate_mapping={"classifier": 1e-3} for the head.

    Raises `ValueError` for lists of another layout, no lists, an unknown loss or argument, relevance that is no
    probability with `binary`, and a model with more than one label.
    """
    if not len(lists):
        raise ValueError("there are no training lists: nothing to learn from")
    check_lists(lists)
    check_arguments(CrossEncoderTrainingArguments, training)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trained = load_cross_encoder(copy.deepcopy(model), max_length)
    with tempfile.TemporaryDirectory() as scratch:
        ours = {
            "output_dir": str(output_dir or scratch), "num_train_epochs": epochs, "learning_rate": learning_rate,
            "per_device_train_batch_size": batch_size, "seed": seed, "use_cpu": not torch.accelerator.is_available(),
        }  # fmt: skip
        arguments = CrossEncoderTrainingArguments(**{**DEFAULTS, **ours, **training})
        CrossEncoderTrainer(
            model=trained, args=arguments, train_dataset=_as_columns(lists), loss=_loss(trained, loss, lists)
        ).train()
    trained.eval()
    return trained


def _as_columns(lists: Dataset) -> Dataset:
    """The columns that sentence-transformers' listwise losses read, in their order."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "query": [prompt_text(prompt) for prompt in lists["prompt"]],
            "docs": [[completion_text(text) for text in texts] for texts in lists["completions"]],
            "labels": [[float(grade) for grade in relevance] for relevance in lists["relevance"]],
        }
    )


def _loss(model: CrossEncoder, loss: str | RankingLoss, lists: Dataset) -> nn.Module:
    if isinstance(loss, str) and loss in LISTWISE:
        return LISTWISE[loss](model)
    if loss == "binary":
        grades = (grade for relevance in lists["relevance"] for grade in relevance)
        outside = next((grade for grade in grades if not 0 <= grade <= 1), None)
        if outside is not None:
            raise ValueError(
                f"loss 'binary' needs relevance from 0 to 1, found {outside}; use a ranking loss"
            )
        return ListLoss(model, binary)
    if isinstance(loss, str) and loss not in available_losses():
        choices = ("binary", *available_losses(), *LISTWISE)
        raise ValueError(f"unknown loss {loss!r}; choose one of {', '.join(choices)}")
    return ListLoss(model, get_loss(loss))
