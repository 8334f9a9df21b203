"""Cross-encoders: models that read a query and a passage together. The reward models of retrieval."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments, losses
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from larpo_ir.data.lists import check_lists, completion_text, prompt_text
from larpo_ir.losses import RankingLoss, available_losses, get_loss
from larpo_ir.rewards.reranker import Reranker, describe
from retrieval_bridge.retrieval.encoders import minilm_folder, not_loaded, tokens_of
from retrieval_bridge.retrieval.passages import full_text

if TYPE_CHECKING:
    from datasets import Dataset

Model = str | os.PathLike[str] | CrossEncoder
ScoreLoss = Callable[[Tensor, Tensor, Tensor], Tensor]

# sentence-transformers' own losses over lists, by the names of their classes.
LISTWISE: dict[str, Callable[[CrossEncoder], nn.Module]] = {
    kind.__name__: kind
    for kind in (
        losses.LambdaLoss, losses.ListMLELoss, losses.ListNetLoss, losses.PListMLELoss, losses.RankNetLoss,
    )
}  # fmt: skip
BATCHES_AT_ONCE = 16  # sorted by length together
DEFAULTS: dict[str, Any] = {
    "report_to": "none", "save_strategy": "no", "logging_steps": 20, "warmup_steps": 0.1, "weight_decay": 0.01,
}  # fmt: skip


class CrossEncoderReranker(Reranker):
    """Reranker that reads query and passage together: `score := model(query, "title text")`.

    Args:
        model: a `CrossEncoder`, a folder, a name on the hub, or `"minilm"`: all-MiniLM-L6-v2 with a new head, from
            which to train.
        batch_size: pairs that are read at once.
        max_length: tokens to which pairs are cut, from now on; None is what the model says.
        bf16: compute in bfloat16, but for the head: on a CPU with AMX 3 times as fast, for nearly the same ranking.
        name: in tables of results.

    Scores are logits, whatever activation the model was saved with: a sigmoid makes ties of what is far from 0. A
    pair that occurs several times is scored once. Raises `ValueError` for a model with more than one label, and where
    it cannot be loaded.
    """

    def __init__(
        self,
        model: Model,
        *,
        batch_size: int = 32,
        max_length: int | None = None,
        bf16: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name or f"CrossEncoderReranker({describe(model)})")
        if batch_size < 1:
            raise ValueError(f"{self.name}: batch_size is {batch_size}; it must be at least 1")
        self.model = load_cross_encoder(model, max_length)
        self.batch_size, self.bf16 = batch_size, bf16
        # beside the weights, what a run's identity (`larpo_ir.provenance.identity`) needs to know of the model
        self.tokens, self.max_length = tokens_of(self.model), self.model.max_seq_length
        if bf16:
            # Logits of 8 bits would tie.
            self.model.set_keep_in_fp32_modules(
                [n for n, m in self.model.named_modules() if isinstance(m, nn.Linear) and m.out_features == 1]
            )

    def score(self, results: pd.DataFrame) -> NDArray[np.float64]:
        """Logit of each row's (query, passage)."""
        titles = results["title"] if "title" in results.columns else [""] * len(results)
        texts = [full_text(title, text) for title, text in zip(titles, results["text"], strict=True)]
        pairs = list(zip(results["query"], texts, strict=True))
        distinct = list(dict.fromkeys(pairs))
        step, logits = self.batch_size * BATCHES_AT_ONCE, dict[tuple[str, str], float]()
        starts = range(0, len(distinct), step)
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16):
            for start in tqdm(starts, desc=self.name, unit="batch", delay=2, leave=False, disable=None):
                part = distinct[start : start + step]
                of_part = self.model.predict(
                    part, batch_size=self.batch_size, activation_fn=nn.Identity(), show_progress_bar=False
                )
                logits.update(zip(part, np.asarray(of_part, dtype=float).reshape(-1).tolist(), strict=True))
        return np.array([logits[pair] for pair in pairs])


def load_cross_encoder(model: Model, max_length: int | None = None) -> CrossEncoder:
    """A cross-encoder with one label. Raises `ValueError` for another, and where it cannot be loaded."""
    loaded = model if isinstance(model, CrossEncoder) else _load(str(model))
    if loaded.num_labels != 1:
        raise ValueError(
            f"a reranker needs a cross-encoder with one label, {describe(model)} has {loaded.num_labels}"
        )
    if max_length is not None:
        if max_length < 1:
            raise ValueError(f"max_length is {max_length}; it must be at least 1")
        loaded.max_seq_length = max_length
    return loaded


def _load(name: str) -> CrossEncoder:
    if name == "minilm":
        return CrossEncoder(str(minilm_folder()), num_labels=1)
    try:
        return CrossEncoder(name)
    except (OSError, ValueError) as error:
        raise ValueError(not_loaded("cross-encoder", name, error, ["minilm"])) from None


class ListLoss(nn.Module):
    """A loss on a cross-encoder's scores [batch, list], as sentence-transformers' trainer calls it.

    Lists may differ in length: what a shorter one lacks is masked.
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
        model: what `CrossEncoderReranker` takes; `"minilm"` starts from all-MiniLM-L6-v2 with a new head.
        lists: ranked lists: `prompt` (query), `completions` (passages), `scores` (relevance, higher is better).
        loss: `"binary"` (relevance from 0 to 1); any loss of `larpo_ir.losses`, by name or as an object; or a
            listwise loss of sentence-transformers by the name of its class (`LISTWISE`).
        epochs, learning_rate, seed: of the training; the seed also draws a new head. The learning rate is MiniLM's:
            larger models want a smaller one.
        batch_size: lists in a step.
        max_length: tokens to which pairs are cut, also afterwards; None is what the model says.
        output_dir: checkpoints and logs; None keeps none. The model is the caller's to save (`save_pretrained`).
        training: further arguments of `CrossEncoderTrainingArguments`, such as bf16=True or
            learning_rate_mapping={"classifier": 1e-3} for the head.

    Raises `ValueError` for lists of another layout, no lists, an unknown loss or argument, relevance that is no
    probability with `binary`, and a model with more than one label.
    """
    if not len(lists):
        raise ValueError("there are no training lists: nothing to learn from")
    check_lists(lists)
    unknown = set(training) - set(CrossEncoderTrainingArguments.__dataclass_fields__)
    if unknown:
        raise ValueError(
            f"unknown training argument {', '.join(sorted(unknown))}; the choices are those of "
            "sentence_transformers.CrossEncoderTrainingArguments"
        )
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
            "labels": [[float(score) for score in scores] for scores in lists["relevance"]],
        }
    )


def _loss(model: CrossEncoder, loss: str | RankingLoss, lists: Dataset) -> nn.Module:
    if isinstance(loss, str) and loss in LISTWISE:
        return LISTWISE[loss](model)
    if loss == "binary":
        outside = next((s for scores in lists["relevance"] for s in scores if not 0 <= s <= 1), None)
        if outside is not None:
            raise ValueError(f"loss 'binary' needs scores from 0 to 1, found {outside}; use a ranking loss")
        return ListLoss(model, binary)
    if isinstance(loss, str) and loss not in available_losses():
        choices = ("binary", *available_losses(), *LISTWISE)
        raise ValueError(f"unknown loss {loss!r}; choose one of {', '.join(choices)}")
    return ListLoss(model, get_loss(loss))
