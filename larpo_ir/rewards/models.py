"""Reward models: sequence classifiers with one label that read a prompt, the whole conversation, and a response."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from larpo_ir.data.chats import Messages, as_text, with_response
from larpo_ir.data.prompts import asked_in, key_of
from larpo_ir.models.checkpoints import load
from larpo_ir.models.prompting import prompting_for
from larpo_ir.models.template_reading import start_text
from larpo_ir.models.templates import render, template_of
from larpo_ir.models.wrappers import evaluating
from larpo_ir.rewards.reranker import Reranker, describe


class SequenceScorer:
    """Logit of a one-label sequence classifier for each of many inputs, texts or chats.

    Inputs are batched by length, padded on the right with the token the model itself looks for, and scored in eval
    mode without gradients, so that a score depends on its own input alone. A model whose config names no padding
    token gets the tokenizer's, or else its EOS: TRL's `RewardTrainer` does the same, and Llama-like classifiers read
    the reward at the last token that is not padding, so the choice has to be the one they were trained with.

    Inputs longer than `max_length` (default: what tokenizer and model allow) lose tokens at the start, after the
    leading special tokens. The end must stay: a reward is a judgement of a finished response, read at its last token.
    One warning per call counts such inputs.
    """

    INDIFFERENT: ClassVar[frozenset[str]] = frozenset({"who", "batch_size"})

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        batch_size: int = 16,
        max_length: int | None = None,
        device: Any = None,
        who: str = "RewardModel",
    ) -> None:
        if batch_size < 1 or (max_length is not None and max_length < 1):
            raise ValueError(
                f"{who}: batch_size and max_length must be at least 1, got {batch_size} and {max_length}"
            )
        self.who, self.batch_size = who, batch_size
        self.model, self.tokenizer = load(model, tokenizer, "AutoModelForSequenceClassification", who)
        if device is None and isinstance(model, str | os.PathLike):
            device = _first_device()
        if device is not None:
            self.model.to(device)
        if self.model.config.num_labels != 1:
            raise ValueError(
                f"{who} needs a classifier with one label, {describe(model)} has {self.model.config.num_labels};"
                " train or load it with num_labels=1"
            )
        config = self.model.config.get_text_config()
        config.pad_token_id = _padding_of(config, self.tokenizer)
        if config.pad_token_id is None:
            raise ValueError(f"{who}: {describe(model)} has no padding token; set tokenizer.pad_token")
        self.pad_token_id = config.pad_token_id
        limits = [
            max_length,
            self.tokenizer.model_max_length,
            getattr(config, "max_position_embeddings", None),
        ]
        self.max_length: int = min(limit for limit in limits if limit is not None)

    def __call__(
        self, inputs: Sequence[str | Messages], places: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """One logit per input. `places` name the inputs in errors."""
        import torch
        from tqdm import tqdm

        tokens = self.encode(inputs, places)
        order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))  # longest first: memory fails early
        scores = np.empty(len(tokens))
        device = next(self.model.parameters()).device
        with evaluating(self.model), torch.inference_mode():
            starts = range(0, len(order), self.batch_size)
            for start in tqdm(starts, desc=self.who, unit="batch", delay=2, leave=False, disable=None):
                batch = order[start : start + self.batch_size]
                input_ids = torch.full((len(batch), len(tokens[batch[0]])), self.pad_token_id)
                attention_mask = torch.zeros_like(input_ids)
                for row, i in enumerate(batch):
                    input_ids[row, : len(tokens[i])] = torch.tensor(tokens[i])
                    attention_mask[row, : len(tokens[i])] = 1
                logits = self.model(
                    input_ids=input_ids.to(device), attention_mask=attention_mask.to(device)
                ).logits
                scores[batch] = logits[:, 0].float().cpu().numpy()
        return scores

    def encode(
        self, inputs: Sequence[str | Messages], places: Sequence[str] | None = None
    ) -> list[list[int]]:
        """Token ids of each input, at most `max_length`: longer ones lose their start, and a warning counts them."""
        places = [f"input {number}" for number in range(len(inputs))] if places is None else places
        tokens = [
            self._tokenise(item, where) or [self.pad_token_id]
            for item, where in zip(inputs, places, strict=True)
        ]
        too_long = sum(len(ids) > self.max_length for ids in tokens)
        if too_long:
            warnings.warn(
                f"{self.who}: {too_long} of {len(tokens)} inputs are longer than {self.max_length} tokens"
                " and were cut at the start",
                stacklevel=2,
            )
        largest, known = max(map(max, tokens), default=0), self.model.get_input_embeddings().weight.shape[0]
        if max(largest, self.pad_token_id) >= known:
            raise ValueError(
                f"{self.who}: the tokenizer gives token {max(largest, self.pad_token_id)}, the model knows {known}:"
                " they do not belong together"
            )
        return [self._cut(ids) for ids in tokens]

    def _tokenise(self, item: str | Messages, where: str = "the input") -> list[int]:
        template = template_of(self.tokenizer)
        if not isinstance(item, str):
            text, plain = self.rendered(item, where), False
        elif template.wrote(item):
            text, plain = item if item.startswith(template.start) else template.start + item, False
        else:
            starts = tuple(filter(None, (start_text(self.tokenizer), self.tokenizer.bos_token)))
            text, plain = item, not item.startswith(starts)
        return list(self.tokenizer(text, verbose=False, add_special_tokens=plain)["input_ids"])

    def rendered(self, chat: Messages, where: str) -> str:
        """A chat as the tokenizer's template writes it. Raises a one-line `ValueError` where it refuses."""
        try:
            return render(self.tokenizer, chat)
        except ValueError as error:
            raise ValueError(f"{self.who}: {where}: {error}") from None

    def _cut(self, ids: list[int]) -> list[int]:
        if len(ids) <= self.max_length:
            return ids
        special = set(self.tokenizer.all_special_ids)
        head = next((i for i, token in enumerate(ids) if token not in special), 0)
        head = min(head, self.max_length - 1)
        return ids[:head] + ids[len(ids) - (self.max_length - head) :]


def _first_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _padding_of(config: Any, tokenizer: Any) -> int | None:
    """The token that a model itself takes for padding, else the tokenizer's, else its EOS."""
    known = None if config.pad_token_id is None or config.pad_token_id < 0 else config.pad_token_id
    choices = (known, tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next((token for token in choices if token is not None), None)


class RewardModel(Reranker):
    """Pointwise reward model, the cross-encoder of responses: `score := r(prompt, text)`, the classifier's logit.

    The prompt is a row's `prompt`, with its system message and history, or where there is none its `query`.

    Args:
        model: `transformers` sequence classifier with one label, or where to load it from.
        tokenizer: the reward model's own, which need not be the policy's; by default loaded beside the model.
        batch_size, max_length: of the forward passes; see `SequenceScorer` for what happens to longer inputs.
        device: where to run; by default where the model is, or the first GPU for a model loaded here.
        template: `(prompt, text) -> str`, the model's input, tokenised with the special tokens its tokenizer adds. It
            gets the whole conversation as text, see `larpo_ir.data.chats.as_text`. By default what TRL's
            `RewardTrainer` trains on: the chat with the response behind it if the tokenizer has a chat template (a
            string is a user turn, unless it carries the template's own markers), else prompt + text + EOS.
        name: in tables of results.

    A response that was drawn several times is scored once. NaN from the model stays NaN.

    Raises:
        ValueError: more than one label, no padding token, model or tokenizer that cannot be loaded; a chat that the
            reward model's template refuses, with the query and the template's words.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        batch_size: int = 16,
        max_length: int | None = None,
        device: Any = None,
        template: Callable[[str, str], str] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name or f"RewardModel({describe(model)})")
        self.scorer = SequenceScorer(
            model, tokenizer, batch_size=batch_size, max_length=max_length, device=device, who=self.name
        )
        self.model, self.tokenizer, self.device = self.scorer.model, self.scorer.tokenizer, device
        self.batch_size, self.max_length, self.template = batch_size, max_length, template

    def score(self, results: pd.DataFrame) -> NDArray[np.float64]:
        """Logit of each row's prompt and text."""
        pairs = list(zip(asked_in(results), results["text"], strict=True))
        keys = [(key_of(prompt), text) for prompt, text in pairs]
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        distinct = list(dict.fromkeys(keys))
        places = [f"query {results['qid'].iloc[first[key]]}" for key in distinct]
        logits = self.scorer([self.input_of(*pairs[first[key]]) for key in distinct], places)
        rewards = dict(zip(distinct, logits, strict=True))
        return np.array([rewards[key] for key in keys])

    def check(self, topics: pd.DataFrame) -> None:
        """Whether the reward model's chat template takes these prompts with an answer behind them."""
        for qid, prompt in zip(topics["qid"], asked_in(topics), strict=True):
            item = self.input_of(prompt, "?")
            if not isinstance(item, str):
                self.scorer.rendered(item, f"query {qid}")

    def input_of(self, prompt: str | Messages, text: str) -> str | Messages:
        """The model's input for a response: by `template`, else as a chat, else the two texts and the EOS token."""
        if self.template is not None:
            return self.template(as_text(prompt), text)
        if self.tokenizer.chat_template is not None:
            asked = prompting_for(self.tokenizer)(prompt)
            if not isinstance(asked, str):
                return with_response(asked, text)
            template = template_of(self.tokenizer)
            lead = template.lead_before(text) if asked.endswith(template.asks) else ""
            return f"{asked}{lead}{text}{template.ending}{template.behind}"
        eos = self.tokenizer.eos_token or ""
        return as_text(prompt) + text + ("" if text.endswith(eos) else eos)
