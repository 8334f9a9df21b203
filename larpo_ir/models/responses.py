"""The base of every generator: options, prompts, and the results frame that the responses become.

    topics   qid, query [, prompt, any other column]
    results  qid, query, prompt, docno, text, score, rank, and logprob, num_tokens, temperature, finished, token_ids

`prompt` of the results is what the model read: a chat, or the string itself (see `larpo_ir.models.prompting`).
"""

from __future__ import annotations

import copy
import inspect
import logging
import math
import numbers
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import pyterrier as pt

from larpo_ir.data.chats import Messages, as_text
from larpo_ir.data.console import announce
from larpo_ir.data.options import whole
from larpo_ir.data.prompts import asked_in, key_of, one_prompt_each
from larpo_ir.data.results import docno_of, require_columns
from larpo_ir.models.distributed import is_main_process
from larpo_ir.models.drawn import Drawn
from larpo_ir.models.prompting import Prompting

logger = logging.getLogger("larpo_ir")

# Columns of the results that a generator writes; of these a topic may bring its `prompt` alone.
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


class ResponseGenerator(pt.Transformer):
    """The base of every generator: options, prompts, and the results frame that the responses become.

    A subclass gives `respond(topics)`: for every row of the topics, in order, `_num_draws` responses (`Drawn`) to its
    `prompt`, which is made already, the n-th of them sampled at `_temperature_of(n)`. Its `__init__` sets its own
    options as attributes of the same names before it calls this one. It may extend `_validate` and `_default_name`,
    and add to `LEAST` (the least value of a numeric option) and `result_types` (the types of the columns it adds).

    `num_candidates`: draws per prompt. `temperature`: one for all of them, or several among which they are dealt in
    turn; 0 is greedy decoding, one candidate per prompt. `stop`: strings that end a response, which is then cut
    before the first of them.

    A generator asks a topic's `prompt` (string or messages) or, where it has none, its `query`. The options `chat`,
    `system`, `few_shot` and `prompt_format` say how the model reads it, see `larpo_ir.models.prompting`: a string is
    a user turn for a model with a chat template, unless `chat=False`. The first prompt is shown once, as the model
    reads it. A warning says when most responses are empty.

    >>> class Parrot(ResponseGenerator):
    ...     def respond(self, topics):
    ...         echo = [Drawn(prompt, None, None, True, None) for prompt in topics["prompt"]]
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
        self.stop = [stop] if isinstance(stop, str) else list(stop or ())
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
        """The way from questions to prompts of this model; nothing is known of a template here."""
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
        """The prompt that the model reads for a question or a chat."""
        return self._prompting()(asked)

    def prompts(self, topics: pd.DataFrame) -> list[str | Messages]:
        """The prompts that the model reads for topics or results, made from their `prompt` or else their `query`.

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
        old = [column for column in self.result_types if column in topics and column != "prompt"]
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
        announce(f"{self.name}: the prompt of {place} is {kind}: {self.as_read(first, place)!r:.600}")
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
        """The columns that topics must have, for PyTerrier's inspection."""
        return [["qid", "query"]]

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Columns of the results, for PyTerrier's inspection, which needs no data."""
        pt.validate.columns(input_columns, includes=["qid", "query"], context=self)
        return [*(column for column in input_columns if column not in self.result_types), *self.result_types]


def options_of_all(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a generator's constructor that every generator takes, for the base's constructor.

    A constructor names all its options, since the command line makes options of its signature; it hands its
    `locals()` on.
    """
    own = inspect.signature(ResponseGenerator.__init__).parameters.values()
    return {option.name: arguments[option.name] for option in own if option.kind is option.KEYWORD_ONLY}
