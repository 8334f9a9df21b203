"""The generator as retriever: from prompts to sampled responses, as a `pt.Transformer`.

    topics   qid, query [, prompt, any other column]
    results  qid, query, prompt, docno, text, score, rank, and logprob, num_tokens, temperature, finished, token_ids

`prompt` of the results is what the model read: a chat, or the string itself (see `larpo_ir.prompting`).

`Generator(model, num_candidates=8) >> RewardModel(...)` is Best-of-8, `Generator(...) % 1` one sample,
`Generator(model, temperature=0)` greedy decoding.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import numbers
import os
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import pyterrier as pt
import torch
from tqdm.auto import tqdm

from larpo_ir.chats import Messages, as_text
from larpo_ir.checkpoints import load
from larpo_ir.decoding import Response, decode
from larpo_ir.distributed import (
    default_device,
    gather_shares,
    is_main_process,
    is_sharded,
    num_processes,
    share,
)
from larpo_ir.options import whole
from larpo_ir.prompting import Prompting, asked_in, key_of, one_prompt_each, prompting_for
from larpo_ir.results import docno_of, require_columns
from larpo_ir.scoring import context_length
from larpo_ir.tokenization import end_of_turn, pad_token_of, tokenize_prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger("larpo_ir")

# What a generator writes; of these columns a topic may bring its `prompt` alone.
RESULT_TYPES = {
    "prompt": object,
    "docno": str,
    "text": str,
    "score": float,
    "rank": int,
    "logprob": float,
    "num_tokens": int,
    "temperature": float,
    "finished": bool,
    "token_ids": object,
}


@dataclass(frozen=True)
class Drawn:
    """One response as its generator tells of it; None is what it does not know.

    `logprob`: log π(y|x) at temperature 1, nats. `finished`: whether the model ended it. `token_ids`: the tokens that
    were sampled, EOS included.
    """

    text: str
    logprob: float | None
    num_tokens: int | None
    finished: bool
    token_ids: list[int] | None


class ResponseGenerator(pt.Transformer):
    """What all generators have in common: options, prompts, and the results frame that their responses become.

    A subclass gives `respond(topics)`: for every row of the topics, in order, `_num_draws` responses (`Drawn`) to its
    entry of `prompts(topics)`, the n-th of them sampled at `_temperature_of(n)`. Its `__init__` sets its own options
    as attributes of the same names before it calls this one. It may extend `_validate` and `_default_name`, and add
    to `LEAST` (the least value of a numeric option) and `result_types` (the types of the columns it adds).

    `num_candidates`: draws per prompt. `temperature`: one for all of them, or several among which they are dealt in
    turn; 0 is greedy decoding, one candidate per prompt. `stop`: strings that end a response, which is then cut
    before the first of them.

    What is asked is a topic's `prompt` (string or messages) or, where it has none, its `query`. How it becomes what
    the model reads is said by `chat`, `system`, `few_shot` and `prompt_format`, see `larpo_ir.prompting`: a string
    is a user turn for a model with a chat template, unless `chat=False`. The first prompt is shown once, as the
    model reads it. That most responses are empty is a warning.

    >>> class Parrot(ResponseGenerator):
    ...     def respond(self, topics):
    ...         echo = [Drawn(prompt, None, None, True, None) for prompt in self.prompts(topics)]
    ...         return [response for response in echo for _ in range(self._num_draws)]
    >>> parrot = Parrot(num_candidates=2, temperature=0.5, chat=False)
    >>> parrot(pd.DataFrame({"qid": ["q"], "query": ["Polly?"]}))[["qid", "text", "rank", "temperature"]]
      qid    text  rank  temperature
    0   q  Polly?     0          0.5
    1   q  Polly?     1          0.5
    >>> parrot.replace(temperature=0)
    Parrot(T=0)
    """

    LEAST: ClassVar[dict[str, int]] = {"num_candidates": 1, "max_new_tokens": 1}
    INDIFFERENT: ClassVar[frozenset[str]] = frozenset({"name", "_shown"})
    result_types: ClassVar[dict[str, Any]] = {**RESULT_TYPES, "num_tokens": "Int64"}  # not every one counts

    def __init__(
        self,
        *,
        num_candidates: int = 10,
        temperature: float | Sequence[float] = 1.0,
        max_new_tokens: int = 256,
        seed: int = 0,
        chat: bool | None = None,
        system: str | None = None,
        few_shot: Sequence[Sequence[str]] = (),
        prompt_format: str = "{query}",
        stop: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        self.num_candidates = num_candidates
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.seed = seed
        self.chat = chat
        self.system = system
        self.few_shot = few_shot
        self.prompt_format = prompt_format
        self.stop = [stop] if isinstance(stop, str) else list(stop)
        self._shown: set[str] = set()  # prompts that were shown, shared with copies
        self.name = name or self._default_name()
        self._validate()

    @abstractmethod
    def respond(self, topics: pd.DataFrame) -> list[Drawn]:
        """The responses to topics with different ids, prompt after prompt."""

    def _validate(self) -> None:
        for option, least in self.LEAST.items():
            whole(getattr(self, option), option, least)
        given = np.atleast_1d(np.asarray(self.temperature, dtype=object)).ravel()
        if not len(given) or not all(isinstance(t, numbers.Real) and 0 <= float(t) < math.inf for t in given):
            raise ValueError(
                f"temperature must be one or several numbers of at least 0, got {self.temperature!r}"
            )
        if not all(isinstance(text, str) and text for text in self.stop):
            raise ValueError(f"stop must be one or several strings that are not empty, got {self.stop!r}")
        self._prompting()

    def _default_name(self) -> str:
        return f"{type(self).__name__}(T={self.temperature})"

    def __repr__(self) -> str:
        return self.name

    @property
    def temperatures(self) -> list[float]:
        return [float(t) for t in np.atleast_1d(self.temperature)]

    @property
    def _num_draws(self) -> int:
        return 1 if self.temperatures == [0.0] else self.num_candidates

    def _temperature_of(self, draw: int) -> float:
        return self.temperatures[draw % len(self.temperatures)]

    def replace(self, **options: Any) -> Self:
        """The same model with other options: `generator.replace(temperature=0, seed=3)`.

        A name that was not given follows them. Raises `ValueError` for unknown options and bad values.
        """
        other = copy.copy(self)
        known = [option for option in vars(self) if not option.startswith("_")]
        for option, value in options.items():
            if option not in known:
                raise ValueError(f"a generator has no option {option!r}; it has {', '.join(known)}")
            setattr(other, option, value)
        if "name" not in options and other._default_name() != self._default_name():
            other.name = other._default_name()
        other._validate()
        return other

    def _prompting(self) -> Prompting:
        """How questions become prompts for this model; nothing is known of a template here."""
        return Prompting(**self.asking, has_template=None)

    @property
    def asking(self) -> dict[str, Any]:
        return {
            "chat": self.chat,
            "system": self.system,
            "few_shot": self.few_shot,
            "prompt_format": self.prompt_format,
        }

    def prompt(self, asked: str | Messages) -> str | Messages:
        """What the model reads for a question or a chat."""
        return self._prompting()(asked)

    def prompts(self, topics: pd.DataFrame) -> list[str | Messages]:
        """What the model reads for topics or results: made from their `prompt`, where there is one, else `query`.

        Raises a one-line `ValueError` that names the query, for what is no prompt.
        """
        ask = self._prompting()
        return [
            ask(asked, f"query {qid}: prompt")
            for qid, asked in zip(topics["qid"], asked_in(topics), strict=True)
        ]

    def as_read(self, prompt: str | Messages, where: str = "the prompt") -> str:
        """A prompt as the model reads it, in text. `where` begins the one line of an error."""
        return as_text(prompt)

    def transform(self, topics: pd.DataFrame) -> pd.DataFrame:
        """Topics `qid, query`, each with its responses. A query id stands for one prompt, which is asked once."""
        require_columns(topics, ["qid", "query"], "a generator")
        old = [column for column in RESULT_TYPES if column in topics and column != "prompt"]
        topics = topics.drop(columns=old).astype({"qid": str})
        prompts = pd.Series(self.prompts(topics), index=topics.index, dtype=object)
        topics = one_prompt_each(topics.assign(prompt=prompts))
        self.show(topics)
        places = [(topic, draw) for topic in range(len(topics)) for draw in range(self._num_draws)]
        queries, rows = list(topics["query"]), []
        for (topic, draw), response in zip(places, self.respond(topics), strict=True):
            text, finished = self._until_stop(response)
            rows.append(
                (
                    topic,
                    docno_of(queries[topic], text),
                    text,
                    0.0 - draw,
                    draw,
                    response.logprob,
                    response.num_tokens,
                    self._temperature_of(draw),
                    finished,
                    response.token_ids,
                )
            )
        types = self.result_types
        written = {name: kind for name, kind in types.items() if name != "prompt"}
        results = pd.DataFrame(rows, columns=["_topic", *written]).astype(written)
        self._warn_of_empty(results)
        kept = [column for column in topics.columns if column != "prompt"]
        return results.join(topics, on="_topic")[[*kept, *types]]

    def show(self, topics: pd.DataFrame) -> None:
        """Say once how this model is asked: a chat that is read as plain text goes unnoticed otherwise.

        `topics` have the `prompt` that is read.
        """
        if not len(topics) or self._shown or not is_main_process():
            return
        place, first = f"query {topics['qid'].iloc[0]}", topics["prompt"].iloc[0]
        kind = "a string, read as it is" if isinstance(first, str) else "a chat"
        logger.info(f"{self.name}: the prompt of {place} is {kind}: {self.as_read(first, place)!r:.600}")
        self._shown.add(key_of(first))

    def _until_stop(self, response: Drawn) -> tuple[str, bool]:
        """The text up to the first of the strings that end a response, and whether it was ended."""
        places = [place for text in self.stop if (place := response.text.find(text)) >= 0]
        return (response.text[: min(places)], True) if places else (response.text, response.finished)

    def _warn_of_empty(self, results: pd.DataFrame) -> None:
        empty = int((results["text"].str.strip() == "").sum())
        if 2 * empty > len(results) and is_main_process():
            warnings.warn(
                f"{self.name}: {empty} of {len(results)} responses are empty; look at the prompt as the model reads"
                " it (a model trained on chats is asked by chats, chat=true, others by text, chat=false)",
                stacklevel=3,
            )

    def transform_inputs(self) -> list[list[str]]:
        """Columns that PyTerrier's pipeline checks ask for."""
        return [["qid", "query"]]

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Columns of the results, for PyTerrier's pipeline checks, which run without data."""
        pt.validate.columns(input_columns, includes=["qid", "query"], context=self)
        return [*(column for column in input_columns if column not in RESULT_TYPES), *RESULT_TYPES]


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
        model: PreTrainedModel | str | os.PathLike[str],
        tokenizer: PreTrainedTokenizerBase | None = None,
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
        super().__init__(
            num_candidates=num_candidates,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=seed,
            chat=chat,
            system=system,
            few_shot=few_shot,
            prompt_format=prompt_format,
            stop=stop,
            name=name,
        )

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
        prompts = self.tokens_of(topics)
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
        together = num_processes() > 1 and is_sharded(self.model)  # all do everything, in step
        mine = list(range(len(prompts))) if together else share(range(len(prompts)))
        draws = [(i, draw) for i in mine for draw in range(self._num_draws)]
        # Long prompts first, so that memory runs out at once or never; a prompt's draws stay together.
        draws.sort(key=lambda place: -len(prompts[place[0]]))
        ends, pad, stops = self._eos_token_ids(), pad_token_of(self.tokenizer), self._stops()
        drawn: dict[tuple[int, int], Response] = {}
        hidden = None if is_main_process() else True  # None: hidden where there is no terminal
        with (
            _evaluating(self.model),
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

    def _stops(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """From what was written, [rows, tokens], to which rows end in one of the stop strings."""
        if not self.stop:
            return None
        from transformers.generation.stopping_criteria import StopStringCriteria

        ends_in = StopStringCriteria(self.tokenizer, self.stop)
        return lambda written: ends_in(written, None)

    def _uniforms(self, qid: str, draw: int) -> np.ndarray:
        """One number for each token that may be drawn. They are a response's own, whatever is drawn beside it."""
        key = f"{self.seed}\x00{draw}\x00{qid}".encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(key, digest_size=16).digest()
        return np.random.default_rng(int.from_bytes(digest, "little")).random(self.max_new_tokens)

    def _eos_token_ids(self) -> list[int]:
        """What ends a response: the model's own EOS tokens, the tokenizer's, and the template's end of a turn."""
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        configured = configured if isinstance(configured, list) else [configured]
        ends = {*configured, self.tokenizer.eos_token_id, end_of_turn(self.tokenizer)}
        return sorted(token for token in ends if token is not None)

    def texts_of(self, responses: Sequence[Sequence[int]]) -> list[str]:
        """Texts of responses' tokens, without the one that ended them."""
        ends = set(self._eos_token_ids())
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


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
