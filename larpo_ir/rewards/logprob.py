"""The retriever's own score: how likely the policy finds a response."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from larpo_ir.data.prompts import asked_in
from larpo_ir.models.frames import lists_of_frame, tokens_known
from larpo_ir.models.generators import Generator
from larpo_ir.models.tokenization import pad_token_of
from larpo_ir.models.wrappers import context_length, evaluating
from larpo_ir.rewards.reranker import Reranker, describe


class LogProb(Reranker):
    """`score := log π(text | query)`, in nats, or its mean per token.

    Args:
        model: what to compute it with: a causal language model (object, or where to load it from) or a `Generator`,
            whose way of asking is then used too. None: the column `logprob` that the generator left, which costs
            nothing.
        tokenizer: the model's; by default loaded beside it.
        chat: whether a query without a `prompt` is a user turn; None: where the tokenizer has a chat template.
        per_token: divide by the number of tokens (`num_tokens`, EOS included where it was emitted).
        max_tokens: tokens per forward pass of the model.

    With a model, the column `prompt` (strings or chats) is what it reads, exactly; without one it is asked the
    `query`. A response is scored on its `token_ids` where they are this tokenizer's own, else on its text and the
    end of a response, unless its column `finished` is false; drawn several times it is scored once. See
    `larpo_ir.models.frames`, and `larpo_ir.models.scoring` for what happens to long responses.

    >>> results = pd.DataFrame({"qid": "q", "docno": ["a", "b"], "logprob": [-4.0, -3.0], "num_tokens": [4, 2]})
    >>> LogProb()(results)["docno"].tolist(), LogProb(per_token=True)(results)["docno"].tolist()
    (['b', 'a'], ['a', 'b'])
    """

    def __init__(
        self,
        model: Any = None,
        tokenizer: Any = None,
        *,
        chat: bool | None = None,
        per_token: bool = False,
        max_tokens: int = 8192,
        name: str | None = None,
    ) -> None:
        options = [describe(model)] * (model is not None) + ["per_token"] * per_token
        super().__init__(name or f"LogProb({', '.join(options)})".replace("()", ""))
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.chat, self.per_token, self.max_tokens = chat, per_token, max_tokens
        if model is None:
            self.columns = ("qid", "docno", "logprob", *(["num_tokens"] if per_token else []))
        else:
            generator = model if isinstance(model, Generator) else Generator(model, tokenizer, chat=chat)
            self.model, self.tokenizer = generator.model, generator.tokenizer
            self._generator = generator

    def score(self, results: pd.DataFrame) -> NDArray[np.float64]:
        """Log-probability of each row's text given its query."""
        if self.model is not None:
            return self._compute(results)
        logprobs: NDArray[np.float64] = results["logprob"].to_numpy(dtype=float, na_value=np.nan)
        if self.per_token:
            lengths = results["num_tokens"].to_numpy(dtype=float, na_value=np.nan)
            logprobs = logprobs / np.maximum(lengths, 1)
        return logprobs

    def _asked(self, results: pd.DataFrame) -> list[Any]:
        """The prompt of each row; for a row without one, the prompt that the generator makes of the query."""
        asked = asked_in(results)
        if "prompt" not in results:
            return [self._generator.prompt(query) for query in asked]
        has_prompt = results["prompt"].notna()
        return [
            prompt if has else self._generator.prompt(prompt)
            for prompt, has in zip(asked, has_prompt, strict=True)
        ]

    def _compute(self, results: pd.DataFrame) -> NDArray[np.float64]:
        import torch

        from larpo_ir.models.scoring import score_lists

        results = results.reset_index(drop=True).assign(prompt=self._asked(results))
        known = tokens_known(results, self._generator.texts_of)
        if "token_ids" in results:
            results["token_ids"] = results["token_ids"].astype(object).where(known, None)
        ended = results["finished"] if "finished" in results else pd.Series(True, index=results.index)
        ids = [
            tuple(row) if row is not None else None for row in results.get("token_ids", [None] * len(results))
        ]
        keys = list(zip(results["qid"], results["text"], ended.eq(False).fillna(False), ids, strict=True))
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        distinct = results.loc[sorted(first.values())]
        lists, places = lists_of_frame(self.tokenizer, distinct, context_length(self.model))
        with evaluating(self.model), torch.no_grad():
            scores = score_lists(
                self.model, lists, pad_token_id=pad_token_of(self.tokenizer), max_tokens=self.max_tokens
            )
        values = pd.Series(np.nan, index=distinct.index)
        for tokens, rows, row in zip(lists, places, scores.double().cpu().numpy(), strict=True):
            lengths = [max(len(ids), 1) if self.per_token else 1 for ids in tokens.completion_ids]
            values.iloc[rows] = row[: len(rows)] / lengths
        return np.array([values[first[key]] for key in keys])
