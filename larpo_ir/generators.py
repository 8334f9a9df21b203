"""The generator as retriever: from prompts to sampled responses, as a `pt.Transformer`.

    topics   qid, query [, prompt, any other column]
    results  qid, query, docno, text, score, rank, and logprob, num_tokens, temperature, finished, token_ids

`Generator(model, num_candidates=8) >> RewardModel(...)` is Best-of-8, `Generator(...) % 1` one sample,
`Generator(model, temperature=0)` greedy decoding.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyterrier as pt
import torch
from accelerate import PartialState
from torch import Tensor
from tqdm.auto import tqdm

from larpo_ir.results import docno_of, require_columns
from larpo_ir.scoring import Messages, context_length, pad_token_of, tokenize_prompts, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RESULT_TYPES = {
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


class Generator(pt.Transformer):
    """Samples `num_candidates` responses per prompt from a causal language model.

    `model`: a transformers causal LM, left on its device, or a path, loaded to the GPU if there is one.
    `temperature`: one for all candidates, or several among which the candidates are dealt in turn; 0 is
    greedy decoding, one candidate per prompt. Nothing but temperature shapes the distribution (no top-k,
    top-p or repetition penalty, whatever the model's own configuration says: of that only the EOS tokens
    count, beside the tokenizer's). `batch_size` counts sequences decoded together; prompts of similar length
    share a batch. Equal seed, topics and batch size give equal responses. `chat=True` makes a string query
    the user message of a chat (after `system`, if given); a column `prompt` in the topics, strings or
    messages, is used instead of `query`.

    Columns it adds to the topics:

    * `docno`: hash of query and text. All draws are rows: a response drawn twice is two rows of one document.
    * `score`: minus the order of drawing (as are ranks), so that `% n` is n independent draws. `LogProb()`
      ranks by likelihood.
    * `logprob`: log π(y|x) at temperature 1, nats, summed over `token_ids`: with on-policy samples these are
      the reference log-probabilities of alignment. `num_tokens`: how many.
    * `finished`: whether EOS was emitted; it is then the last of `token_ids`, and never part of `text`.
    * `temperature`: the one this response was sampled at.

    Raises `ValueError` for bad settings and for prompts which, with `max_new_tokens`, exceed the context
    (`fits(topics)` tells which).
    """

    def __init__(
        self,
        model: PreTrainedModel | str,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        num_candidates: int = 10,
        temperature: float | Sequence[float] = 1.0,
        max_new_tokens: int = 256,
        seed: int = 0,
        batch_size: int = 64,
        chat: bool = False,
        system: str | None = None,
        name: str | None = None,
    ) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        path = model if isinstance(model, str) else model.config._name_or_path
        self.model: Any = model
        if isinstance(model, str):
            self.model = AutoModelForCausalLM.from_pretrained(model).to(PartialState().default_device)
        self.tokenizer = AutoTokenizer.from_pretrained(path) if tokenizer is None else tokenizer
        self.num_candidates = num_candidates
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.seed = seed
        self.batch_size = batch_size
        self.chat = chat
        self.system = system
        self.name = name or f"Generator(T={temperature})"
        self._validate()

    def _validate(self) -> None:
        for option in ("num_candidates", "max_new_tokens", "batch_size"):
            if getattr(self, option) < 1:
                raise ValueError(f"{option} must be at least 1, got {getattr(self, option)}")
        if not self.temperatures or not all(0 <= t < math.inf for t in self.temperatures):
            raise ValueError(
                f"temperature must be one or several numbers of at least 0, got {self.temperature!r}"
            )
        if self.chat and not getattr(self.tokenizer, "chat_template", None):
            raise ValueError("chat=True needs a tokenizer with a chat template; this one has none")

    def __repr__(self) -> str:
        return self.name

    @property
    def temperatures(self) -> list[float]:
        return [float(t) for t in np.atleast_1d(self.temperature)]

    def replace(self, **options: Any) -> Generator:
        """The same model with other options: `generator.replace(temperature=0, seed=3)`."""
        other = copy.copy(self)
        for option, value in options.items():
            if option not in vars(self):
                raise ValueError(f"a generator has no option {option!r}; it has {', '.join(vars(self))}")
            setattr(other, option, value)
        if "name" not in options and "temperature" in options:
            other.name = f"Generator(T={other.temperature})"
        other._validate()
        return other

    def prompt(self, query: str) -> str | Messages:
        """What the model is asked for a string query: itself, or a chat around it."""
        if not self.chat:
            return query
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": query}]

    def prompts(self, topics: pd.DataFrame) -> list[str | Messages]:
        """The prompts of topics: their column `prompt`, otherwise made from `query`."""
        return (
            list(topics["prompt"])
            if "prompt" in topics
            else [self.prompt(query) for query in topics["query"]]
        )

    def fits(self, topics: pd.DataFrame) -> pd.Series:
        """True for topics whose prompt leaves room for `max_new_tokens` in the model's context."""
        limit = context_length(self.model)
        lengths = [len(ids) for ids in tokenize_prompts(self.tokenizer, self.prompts(topics))]
        return pd.Series(
            [limit is None or n + self.max_new_tokens <= limit for n in lengths],
            index=topics.index,
            dtype=bool,
        )

    def transform(self, topics: pd.DataFrame) -> pd.DataFrame:
        require_columns(topics, ["qid", "query"], "a generator")
        topics = topics.drop(columns=[c for c in RESULT_TYPES if c in topics]).drop_duplicates("qid")
        prompts = tokenize_prompts(self.tokenizer, self.prompts(topics))
        self._check_lengths(topics, prompts)
        ends = self._eos_token_ids()

        draws = [(i, draw) for i in range(len(prompts)) for draw in range(self._draws_per_prompt)]
        drawn: dict[tuple[int, int], dict[str, Any]] = {}
        with (
            _evaluating(self.model),
            tqdm(total=len(draws), desc=self.name, unit="response", disable=None) as bar,
        ):
            for number, (temperature, batch) in enumerate(self._batches(draws, prompts)):
                with _seeded(hash((self.seed, number)), self.model.device):
                    responses = self._sample([prompts[i] for i, _ in batch], temperature, ends)
                drawn.update(zip(batch, responses, strict=True))
                bar.update(len(batch))

        texts = iter(self._decode([drawn[place]["response_ids"] for place in draws]))
        queries, rows = list(topics["query"]), []
        for i, draw in draws:
            response, text = drawn[i, draw], next(texts)
            rows.append(
                (
                    i,
                    docno_of(queries[i], text),
                    text,
                    0.0 - draw,
                    draw,
                    response["logprob"],
                    len(response["token_ids"]),
                    response["temperature"],
                    response["finished"],
                    response["token_ids"],
                )
            )
        results = pd.DataFrame(rows, columns=["_topic", *RESULT_TYPES]).astype(RESULT_TYPES)
        topics = topics.reset_index(drop=True).astype({"qid": str})
        return results.join(topics, on="_topic")[[*topics.columns, *RESULT_TYPES]]

    def transform_inputs(self) -> list[list[str]]:
        """Columns that PyTerrier's pipeline checks ask for."""
        return [["qid", "query"]]

    def transform_outputs(self, input_columns: list[str]) -> list[str]:
        """Columns of the results, for PyTerrier's pipeline checks, which run without data."""
        pt.validate.columns(input_columns, includes=["qid", "query"], context=self)
        return [*(column for column in input_columns if column not in RESULT_TYPES), *RESULT_TYPES]

    @property
    def _draws_per_prompt(self) -> int:
        return 1 if self.temperatures == [0.0] else self.num_candidates

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

    def _batches(
        self, draws: list[tuple[int, int]], prompts: list[list[int]]
    ) -> Iterator[tuple[float, list[tuple[int, int]]]]:
        """(temperature, draws) batches; long prompts first, so that memory runs out at once or never."""
        temperatures = self.temperatures
        for turn, temperature in enumerate(temperatures):
            mine = [(i, draw) for i, draw in draws if draw % len(temperatures) == turn]
            mine.sort(key=lambda draw: -len(prompts[draw[0]]))  # stable: a prompt's draws stay together
            for start in range(0, len(mine), self.batch_size):
                yield temperature, mine[start : start + self.batch_size]

    def _sample(self, prompts: list[list[int]], temperature: float, ends: list[int]) -> list[dict[str, Any]]:
        from transformers import GenerationConfig

        device, pad = self.model.device, pad_token_of(self.tokenizer)
        width = max(len(ids) for ids in prompts)
        input_ids = torch.tensor([[pad] * (width - len(ids)) + ids for ids in prompts], device=device)
        attention_mask = torch.tensor(
            [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts], device=device
        )
        sampling = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}
        recorder = _LogprobRecorder(len(prompts), ends, device)
        model: Any = self.model
        sequences = model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=GenerationConfig(
                do_sample=temperature > 0,
                max_new_tokens=self.max_new_tokens,
                eos_token_id=ends,
                pad_token_id=pad,
                **sampling,
            ),
            logits_processor=[recorder.before_sampling],
            stopping_criteria=[recorder.after_sampling],
        )
        responses = []
        for ids, logprob in zip(sequences[:, width:].tolist(), recorder.total.tolist(), strict=True):
            end = next((place for place, token in enumerate(ids) if token in ends), None)
            finished = end is not None
            token_ids = ids if end is None else ids[: end + 1]
            responses.append(
                {
                    "token_ids": token_ids,
                    "response_ids": token_ids[:-1] if finished else token_ids,
                    "finished": finished,
                    "logprob": logprob,
                    "temperature": temperature,
                }
            )
        return responses

    def _eos_token_ids(self) -> list[int]:
        configured = getattr(self.model.generation_config, "eos_token_id", None)
        configured = configured if isinstance(configured, list) else [configured]
        return sorted({token for token in [*configured, self.tokenizer.eos_token_id] if token is not None})

    def _decode(self, responses: list[list[int]]) -> list[str]:
        """Response texts. They are decoded behind a letter: some tokenizers drop a leading space otherwise.

        Special tokens within a response are kept, so that text read back gives the tokens that were sampled.
        """
        options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        letter = list(self.tokenizer("x", add_special_tokens=False)["input_ids"])
        head = len(self.tokenizer.decode(letter, **options))
        texts = self.tokenizer.batch_decode([letter + response for response in responses], **options)
        return [text[head:] for text in texts]


class _LogprobRecorder:
    """Sums, while `generate` runs, the log-probability at temperature 1 of each token it samples.

    The logits processor sees the raw logits (temperature is applied after it), the stopping criterion the
    token drawn from them; in between one step's logits are held, never a whole response's.
    """

    def __init__(self, num_sequences: int, eos_token_ids: list[int], device: torch.device) -> None:
        self.total = torch.zeros(num_sequences, device=device)
        self._ends = torch.tensor(eos_token_ids, device=device)
        self._going_on = torch.ones(num_sequences, dtype=torch.bool, device=device)
        self._never = torch.zeros(num_sequences, dtype=torch.bool, device=device)
        self._logits: Tensor | None = None

    def before_sampling(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._logits = scores
        return scores

    def after_sampling(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        assert self._logits is not None  # generate calls the processors first
        tokens = input_ids[:, -1]
        logprobs = self._logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - self._logits.logsumexp(-1)
        self.total += torch.where(self._going_on, logprobs, torch.zeros_like(logprobs))
        self._going_on &= ~torch.isin(tokens, self._ends)
        return self._never


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, and without the generation settings that a model brings along:
    `generate` takes from those whatever it is not given, and there is no way to give it nothing."""
    from transformers import GenerationConfig

    inner: Any = unwrap(model)
    training, configured = model.training, inner.generation_config
    model.eval()
    inner.generation_config = GenerationConfig()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
        inner.generation_config = configured


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Sampling of its own random stream; the caller's is left as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed % 2**63)
        yield
