"""The generator as retriever: from prompts to responses sampled from a model here, as a `pt.Transformer`.

`Generator(model, num_candidates=8) >> RewardModel(...)` is Best-of-8, `Generator(...) % 1` one sample,
`Generator(model, temperature=0)` greedy decoding. Topics and results: see `larpo_ir.models.responses`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from larpo_ir.data.chats import Messages
from larpo_ir.data.prompts import asked_in
from larpo_ir.models.checkpoints import load
from larpo_ir.models.distributed import (
    default_device,
    gather_shares,
    is_main_process,
    is_sharded,
    num_processes,
    share,
)
from larpo_ir.models.drawn import Drawn, Response
from larpo_ir.models.prompting import Prompting, prompting_for
from larpo_ir.models.responses import RESULT_TYPES, ResponseGenerator, options_of_all
from larpo_ir.models.templates import end_of_turn
from larpo_ir.models.tokenization import pad_token_of, tokenize_prompts
from larpo_ir.models.wrappers import context_length, evaluating

__all__ = ["RESULT_TYPES", "Drawn", "Generator", "ResponseGenerator"]


class Generator(ResponseGenerator):
    """Samples `num_candidates` responses per prompt from a causal language model.

    `model`: a transformers causal LM, left on its device, or a path, loaded to the GPU if there is one. The other
    options are `ResponseGenerator`'s; `chat=None` is a chat where the tokenizer has a chat template. Nothing but
    temperature shapes the distribution (no top-k, top-p or repetition penalty, whatever the model's own
    configuration says: of that only the EOS tokens count, beside the tokenizer's and the end of a turn in its chat
    template). `batch_size` counts sequences decoded together; prompts of similar length share a batch. A response
    depends on the seed, its query's id, its number among the query's draws, prompt, temperature and model alone:
    equal seeds give equal responses whatever the batch size, the other topics and the number of processes, up to
    floating point. Several processes (`accelerate launch`) share the prompts, and all of them return the whole
    frame; each must be given the same topics.

    Columns it adds to the topics:

    * `docno`: hash of query and text. All draws are rows: a response drawn twice is two rows of one document.
    * `score`: minus the order of drawing (as are ranks), so that `% n` is n independent draws. `LogProb()`
      ranks by likelihood.
    * `logprob`: log π(y|x) at temperature 1, nats, summed over `token_ids`: with on-policy samples these are
      the reference log-probabilities of alignment. `num_tokens`: how many.
    * `finished`: whether the response was ended, by an EOS token, which is then the last of `token_ids` and never
      part of `text`, or by one of the strings `stop`.
    * `temperature`: the one this response was sampled at.

    Raises `ValueError` for bad settings and for prompts which, with `max_new_tokens`, exceed the context
    (`fits(topics)` tells which).
    """

    LEAST: ClassVar = {**ResponseGenerator.LEAST, "batch_size": 1}
    INDIFFERENT: ClassVar = ResponseGenerator.INDIFFERENT | {"batch_size"}
    result_types: ClassVar = RESULT_TYPES

    def __init__(
        self,
        model: str | os.PathLike[str] | Any,
        tokenizer: Any = None,
        *,
        num_candidates: int = 10,
        temperature: float | Sequence[float] = 1.0,
        max_new_tokens: int = 256,
        seed: int = 0,
        batch_size: int = 64,
        chat: bool | None = None,
        system: str | None = None,
        few_shot: Sequence[Sequence[str]] = (),
        prompt_format: str = "{query}",
        stop: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        self.model: Any
        self.model, self.tokenizer = load(model, tokenizer, "AutoModelForCausalLM", type(self).__name__)
        if isinstance(model, str | os.PathLike):
            self.model.to(default_device())
        self.batch_size = batch_size
        super().__init__(**options_of_all(locals()))

    def _prompting(self) -> Prompting:
        return prompting_for(self.tokenizer, **self.asking)

    def as_read(self, prompt: str | Messages, where: str = "the prompt") -> str:
        """A prompt as the model reads it: its tokens, as text."""
        (ids,) = tokenize_prompts(self.tokenizer, [prompt], places=[where])
        return str(self.tokenizer.decode(ids))

    def tokens_of(self, topics: pd.DataFrame) -> list[list[int]]:
        """The token ids that the model reads for topics or results, row by row.

        Raises a one-line `ValueError` that names the query, where the chat template refuses a chat.
        """
        places = [f"query {qid}" for qid in topics["qid"]]
        return tokenize_prompts(self.tokenizer, self.prompts(topics), places=places)

    def fits(self, topics: pd.DataFrame) -> pd.Series:
        """True for topics whose prompt leaves room for `max_new_tokens` in the model's context."""
        limit = context_length(self.model)
        lengths = [len(ids) for ids in self.tokens_of(topics)]
        return pd.Series(
            [limit is None or n + self.max_new_tokens <= limit for n in lengths],
            index=topics.index,
            dtype=bool,
        )

    def respond(self, topics: pd.DataFrame) -> list[Drawn]:
        # `transform` has made the prompts; what it wrote there is read as it is.
        places = [f"query {qid}" for qid in topics["qid"]]
        prompts = tokenize_prompts(self.tokenizer, asked_in(topics), places=places)
        self._check_lengths(topics, prompts)
        responses = self._sample(list(topics["qid"]), prompts)
        texts = self.texts_of([r.token_ids for r in responses])
        return [
            Drawn(text, r.logprob, len(r.token_ids), r.finished, r.token_ids)
            for text, r in zip(texts, responses, strict=True)
        ]

    def _check_lengths(self, topics: pd.DataFrame, prompts: list[list[int]]) -> None:
        limit = context_length(self.model)
        for qid, ids in zip(topics["qid"], prompts, strict=True):
            if not ids:
                raise ValueError(f"the prompt of query {qid} is empty and the tokenizer has no BOS token")
            if limit is not None and len(ids) + self.max_new_tokens > limit:
                raise ValueError(
                    f"the prompt of query {qid} has {len(ids)} tokens: with max_new_tokens={self.max_new_tokens} "
                    f"it exceeds the model's context of {limit}; drop it (see Generator.fits) or lower max_new_tokens"
                )

    def _sample(self, qids: list[str], prompts: list[list[int]]) -> list[Response]:
        """All responses, prompt after prompt; among several processes each decodes its share of the prompts."""
        from larpo_ir.models.decoding import decode, ends_in

        together = num_processes() > 1 and is_sharded(self.model)  # all do everything, in step
        mine = list(range(len(prompts))) if together else share(range(len(prompts)))
        draws = [(i, draw) for i in mine for draw in range(self._num_draws)]
        # Long prompts first, so that memory runs out at once or never; a prompt's draws stay together.
        draws.sort(key=lambda place: -len(prompts[place[0]]))
        ends, pad, stops = (
            self.eos_token_ids(),
            pad_token_of(self.tokenizer),
            ends_in(self.tokenizer, self.stop),
        )
        drawn: dict[tuple[int, int], Response] = {}
        hidden = None if is_main_process() else True  # None: hidden where there is no terminal
        with (
            evaluating(self.model),
            tqdm(total=len(draws), desc=self.name, unit="response", disable=hidden) as bar,
        ):
            for start in range(0, len(draws), self.batch_size):
                batch = draws[start : start + self.batch_size]
                responses = decode(
                    self.model,
                    [prompts[i] for i, _ in batch],
                    [self._temperature_of(draw) for _, draw in batch],
                    np.stack([self._uniforms(qids[i], draw) for i, draw in batch]),
                    eos_token_ids=ends,
                    pad_token_id=pad,
                    stops=stops,
                )
                drawn.update(zip(batch, responses, strict=True))
                bar.update(len(batch))
        shares = [[drawn[i, draw] for draw in range(self._num_draws)] for i in mine]
        groups = shares if together else gather_shares(shares, len(prompts))
        return [response for group in groups for response in group]

    def _uniforms(self, qid: str, draw: int) -> np.ndarray:
        """One number for each token that may be drawn. They are a response's own, whatever is drawn beside it."""
        key = f"{self.seed}\x00{draw}\x00{qid}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(key, digest_size=16).digest()
        return np.random.default_rng(int.from_bytes(digest, "little")).random(self.max_new_tokens)

    def eos_token_ids(self) -> list[int]:
        """The tokens that end a response: the model's own EOS, the tokenizer's, and the template's end of a turn."""
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        configured = configured if isinstance(configured, list) else [configured]
        ends = {*configured, self.tokenizer.eos_token_id, end_of_turn(self.tokenizer)}
        return sorted(token for token in ends if token is not None)

    def texts_of(self, responses: Sequence[Sequence[int]]) -> list[str]:
        """Texts of responses' tokens, without the one that ended them."""
        ends = set(self.eos_token_ids())
        return self._decode([list(ids[:-1] if len(ids) and ids[-1] in ends else ids) for ids in responses])

    def _decode(self, responses: list[list[int]]) -> list[str]:
        """Response texts. They are decoded behind a letter: some tokenizers drop a leading space otherwise.

        Special tokens within a response are kept, so that text read back gives the tokens that were sampled.
        """
        options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        if not responses:
            return []
        letter = list(self.tokenizer("x", add_special_tokens=False)["input_ids"])
        head = len(self.tokenizer.decode(letter, **options))
        texts = self.tokenizer.batch_decode([letter + response for response in responses], **options)
        return [text[head:] for text in texts]
