"""Cross-encoders, which read a query and a passage together: the reward models of retrieval."""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder
from torch import nn
from tqdm.auto import tqdm

from larpo_ir.rewards.reranker import Reranker, describe
from retrieval_bridge.retrieval.encoders import minilm_folder, not_loaded, tokens_of
from retrieval_bridge.retrieval.results import full_texts

Model: TypeAlias = str | os.PathLike[str] | CrossEncoder
BATCHES_AT_ONCE = 16  # sorted by length together


class CrossEncoderReranker(Reranker):
    """Reranker that reads query and passage together: `score := model(query, "title text")`.

    Args:
        model: a `CrossEncoder`, a folder, a name on the hub, or `"minilm"`: all-MiniLM-L6-v2 with a new head, from
            which to train.
        batch_size: pairs that are read at once.
        max_length: tokens to which pairs are cut, from now on; None leaves the model's own.
        bf16: compute in bfloat16, but for the head: on a CPU with AMX 3 times as fast, for nearly the same ranking.
        name: in tables of results.

    Scores are logits, whatever activation the model was saved with: a sigmoid makes ties of logits far from 0. A pair
    that occurs several times is scored once. Raises `ValueError` for a model with more than one label, and where
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
        # part of a run's identity (`larpo_ir.provenance.identity`), beside the weights
        self.tokens, self.max_length = tokens_of(self.model), self.model.max_seq_length
        if bf16:
            # Logits of 8 bits would tie.
            self.model.set_keep_in_fp32_modules(
                [n for n, m in self.model.named_modules() if isinstance(m, nn.Linear) and m.out_features == 1]
            )

    def score(self, results: pd.DataFrame) -> NDArray[np.float64]:
        """Logit of each row's (query, passage)."""
        pairs = list(zip(results["query"], full_texts(results), strict=True))
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
    loaded: CrossEncoder = model if isinstance(model, CrossEncoder) else _load(str(model))
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
    loaded: CrossEncoder
    if name == "minilm":
        loaded = CrossEncoder(str(minilm_folder()), num_labels=1)
        return loaded
    try:
        loaded = CrossEncoder(name)
        return loaded
    except (OSError, ValueError) as error:
        raise ValueError(not_loaded("cross-encoder", name, error, ["minilm"])) from None
