"""A generator behind HTTP: any OpenAI-compatible server (vLLM, SGLang, TGI, `transformers serve`) as retriever.

    topics   qid, query [, prompt, any other column]
    results  qid, query, prompt, docno, text, score, rank, and logprob, num_tokens, temperature, finished, token_ids

`OpenAIGenerator("http://localhost:8000/v1", "my-model", num_candidates=8) >> RewardModel(...)` is Best-of-8. The
rows are those of `Generator`; what a server does not tell is null.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pandas as pd
from tqdm.auto import tqdm

from larpo_ir.data.prompts import asked_in
from larpo_ir.models import response_cache
from larpo_ir.models.drawn import Drawn
from larpo_ir.models.prompting import Prompting
from larpo_ir.models.responses import ResponseGenerator, options_of_all

CHAT, PLAIN = "/chat/completions", "/completions"
LOGPROBS: dict[str, dict[str, Any]] = {CHAT: {"logprobs": True}, PLAIN: {"logprobs": 1}}
TRANSIENT = (408, 409, 429)  # these, and whatever is wrong on the server's side (5xx), may be well next time
ADVICE = {
    401: "give the server's key as api_key or in OPENAI_API_KEY",
    403: "give the server's key as api_key or in OPENAI_API_KEY",
    404: "check base_url and model",
}
CHECK_API = "check that base_url is an OpenAI-compatible API"


class OpenAIGenerator(ResponseGenerator):
    """Samples `num_candidates` responses per prompt from a model that an OpenAI-compatible server holds.

    `base_url`: where the API is, e.g. `http://localhost:8000/v1` (the `/v1` may be left out). `model`: the
    server's name for the model. `num_candidates`, `temperature` (one, or several dealt in turn; 0 is greedy
    decoding), `max_new_tokens`, `stop`, `chat`, `system`, `few_shot`, `prompt_format` and `name` are every
    `ResponseGenerator`'s. A chat goes to `/chat/completions`, where the server applies the chat template, and a
    string to `/completions` as it is. With `chat=True` strings are user turns, too, but for those that begin with
    the marks of a chat template (`<|im_start|>`, `<start_of_turn>`, …); with `chat=False` all strings stay strings.
    Servers leave special tokens out of texts.

    Each draw is a request of its own, with a seed that follows from `seed`, qid and draw: draws differ, and a
    server that honours seeds repeats them. (Greedy draws of one prompt are one request.) `concurrency` requests
    are under way at a time. Each is tried again up to `retries` times, after the server's Retry-After or
    exponentially growing, jittered pauses, where it meets 408, 409, 429, 5xx, a lost connection or no answer
    within `timeout` seconds. `api_key` defaults to `OPENAI_API_KEY`.

    `cache`: a JSON Lines file to which each response is written as soon as it is there; what is in it is not
    asked for again, so that an interrupted run goes on where it stopped. A response is known by the request's
    content (model, prompt, sampling parameters, seed) and draw, not by `base_url`: a server may move. One
    process at a time may write it.

    Servers fill in what a request leaves open from the model's own configuration. Requests say temperature and
    top_p = 1; `extra_body` adds fields to each, such as `{"top_k": -1, "repetition_penalty": 1.0}` where the model
    is configured otherwise (vLLM: or start it with `--generation-config vllm`), or vLLM's
    `{"return_token_ids": True}`.

    Columns it adds to the topics: those of `Generator`, but

    * `logprob` is what the server reports, nats, summed over the tokens. Some servers report the distribution at
      the sampling temperature, so it is kept only where that is 1, and NaN elsewhere; NaN also where the server
      gives none or not one for each token it counts. A server that refuses to give them is asked without.
    * `num_tokens` is the server's count, null if it gives none; `finished`: whether it ended with `stop`;
      `token_ids`: None unless the server gives them.

    Raises `ValueError` for bad settings, for requests the server refuses and for answers without a text;
    `ConnectionError` where retrying did not help. Either way, requests under way are waited for and kept.
    """

    LEAST: ClassVar = {**ResponseGenerator.LEAST, "concurrency": 1, "retries": 0}
    # A server may move, and how it is asked makes no difference to what it answers.
    INDIFFERENT: ClassVar = ResponseGenerator.INDIFFERENT | {
        "base_url", "concurrency", "retries", "timeout", "cache", "api_key", "_no_logprobs"
    }  # fmt: skip

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        num_candidates: int = 10,
        temperature: float | Sequence[float] = 1.0,
        max_new_tokens: int = 256,
        seed: int = 0,
        chat: bool = True,
        system: str | None = None,
        few_shot: Sequence[Sequence[str]] = (),
        prompt_format: str = "{query}",
        stop: Sequence[str] = (),
        concurrency: int = 16,
        retries: int = 5,
        timeout: float = 600.0,
        cache: str | os.PathLike[str] | None = None,
        api_key: str | None = None,
        extra_body: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        _require_openai()
        self.base_url = base_url
        self.model = model
        self.concurrency = concurrency
        self.retries = retries
        self.timeout = timeout
        self.cache = cache
        self.api_key = api_key
        self.extra_body = extra_body
        self._no_logprobs: set[tuple[str, str, str]] = set()  # server, model and endpoint that refused them
        super().__init__(**options_of_all(locals()))

    def _validate(self) -> None:
        super()._validate()
        if not self.timeout > 0:
            raise ValueError(f"timeout must be a positive number of seconds, got {self.timeout}")
        if not isinstance(self.model, str) or not self.model.strip():
            raise ValueError(f"model must be the server's name for a model, got {self.model!r}")
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.netloc:
            raise ValueError(f"base_url must be like http://localhost:8000/v1, got {self.base_url!r}")

    def _prompting(self) -> Prompting:
        return Prompting(**self.asking)

    def _default_name(self) -> str:
        return f"OpenAIGenerator({self.model}, T={self.temperature})"

    def _temperature_of(self, draw: int) -> float:
        sent: float = (self.extra_body or {}).get("temperature", super()._temperature_of(draw))
        return sent

    def respond(self, topics: pd.DataFrame) -> list[Drawn]:
        requests = list(self._requests(topics))
        answers = self._answers(requests)
        return [answers[request.key] for request in requests]

    # Requests

    def _requests(self, topics: pd.DataFrame) -> Iterator[_Request]:
        for qid, prompt in zip(topics["qid"], asked_in(topics), strict=True):
            endpoint, asked = _addressed(prompt, qid)
            for draw in range(self._num_draws):
                temperature = self._temperature_of(draw)
                body = {
                    "model": self.model,
                    **asked,
                    "temperature": temperature,
                    "top_p": 1.0,
                    "max_tokens": self.max_new_tokens,
                }
                if temperature > 0:
                    body["seed"] = _seed_of(self.seed, qid, draw)
                if self.stop:
                    body["stop"] = self.stop
                yield _Request(qid, draw, endpoint, {**body, **(self.extra_body or {})})

    def _answers(self, requests: list[_Request]) -> dict[str, Drawn]:
        """Responses by key, from the cache or else from the server."""
        from anyio.from_thread import start_blocking_portal

        num_draws = Counter(request.key for request in requests)
        cached = {} if self.cache is None else response_cache.read(Path(self.cache))
        answers = {key: cached[key] for key in num_draws if key in cached}
        waiting = deque({request.key: request for request in requests if request.key not in answers}.values())
        found = sum(num_draws[key] for key in answers)
        with tqdm(total=len(requests), initial=found, desc=self.name, unit="response", disable=None) as bar:

            def keep(request: _Request, response: Drawn) -> None:
                if self.cache is not None:
                    response_cache.append(Path(self.cache), request.key, response)
                answers[request.key] = response
                bar.update(num_draws[request.key])

            if waiting:
                # A loop in a thread of its own: the caller's thread may be running one (Jupyter's does), and an
                # interrupt there cancels what is under way here.
                with start_blocking_portal() as portal:
                    portal.call(self._ask_all, waiting, keep)
        return answers

    async def _ask_all(self, waiting: deque[_Request], keep: Callable[[_Request, Drawn], None]) -> None:
        async def work() -> None:
            while waiting:
                request = waiting.popleft()
                try:
                    keep(request, await self._ask(client, request))
                except Exception:
                    waiting.clear()  # no new ones, but those under way are paid for
                    raise

        async with self._client() as client:
            workers = [work() for _ in range(min(self.concurrency, len(waiting)))]
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    def _client(self) -> Any:
        openai = _require_openai()
        return openai.AsyncOpenAI(
            base_url=_api_url(self.base_url),
            # Servers without keys take any; the line's end of a key read from a file would make no header.
            api_key=(self.api_key or os.environ.get("OPENAI_API_KEY") or "").strip() or "none",
            max_retries=self.retries,
            timeout=openai.Timeout(self.timeout, connect=min(self.timeout, 10.0)),
        )

    async def _ask(self, client: Any, request: _Request) -> Drawn:
        openai = _require_openai()
        try:
            return _response_of(await self._post(client, request), request)
        except (openai.APIConnectionError, openai.APIStatusError) as error:
            raise self._explained(error, request) from None
        except json.JSONDecodeError as error:
            raise ValueError(f"{self._who(request)}: malformed JSON, {error.msg}; {CHECK_API}") from None
        except (openai.OpenAIError, ValueError) as error:
            raise ValueError(f"{self._who(request)}: {_one_line(error)}") from None

    async def _post(self, client: Any, request: _Request) -> Any:
        """The server's answer: parsed JSON, or the text of what is none."""
        openai = _require_openai()
        place = (self.base_url, self.model, request.endpoint)
        wanted = request.body["temperature"] == 1 and place not in self._no_logprobs
        body = {**LOGPROBS[request.endpoint], **request.body} if wanted else request.body
        try:
            return await client.post(request.endpoint, body=body, cast_to=object)
        except openai.APIStatusError as error:
            if not wanted or error.status_code >= 500 or "logprob" not in _message_of(error).lower():
                raise
        answer = await client.post(request.endpoint, body=request.body, cast_to=object)
        self._no_logprobs.add(place)
        return answer

    def _who(self, request: _Request) -> str:
        return f"{self.base_url}, query {request.qid}"

    def _explained(self, error: Any, request: _Request) -> Exception:
        """One line: which server, what it said, what to do."""
        openai = _require_openai()
        who = self._who(request)
        if isinstance(error, openai.APITimeoutError):
            return ConnectionError(
                f"{who}: no answer within {self.timeout:g} s ({self.retries} retries); "
                "raise timeout or lower concurrency"
            )
        if isinstance(error, openai.APIConnectionError):
            cause = _one_line(error.__cause__ or error)
            return ConnectionError(
                f"{who}: no connection ({cause}; {self.retries} retries); start the server or correct base_url"
            )
        status, message = error.status_code, _message_of(error)
        if status in TRANSIENT or status >= 500:
            return ConnectionError(
                f"{who}: status {status} ({self.retries} retries): {message}; try later or lower concurrency"
            )
        advice = ADVICE.get(status, "correct the prompt or the option it names")
        return ValueError(f"{who}: status {status}: {message}; {advice}")


@dataclass(frozen=True)
class _Request:
    qid: str
    draw: int
    endpoint: str
    body: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """Hash of what is asked and of the draw; without a seed (greedy) all draws are one."""
        asked = {**self.body, "draw": self.draw if "seed" in self.body else 0}
        return blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=16).hexdigest()


def _require_openai() -> ModuleType:
    try:
        import openai
    except ImportError:
        raise ImportError("OpenAIGenerator needs the package openai; pip install 'larpo_ir[serve]'") from None
    return openai


def _api_url(base_url: str) -> str:
    return base_url if urlsplit(base_url).path.strip("/") else f"{base_url.rstrip('/')}/v1"


def _addressed(prompt: Any, qid: Any) -> tuple[str, dict[str, Any]]:
    """Endpoint and field of a prompt."""
    if isinstance(prompt, str):
        return PLAIN, {"prompt": prompt}
    try:
        role = prompt[-1]["role"]
    except (TypeError, LookupError):
        raise ValueError(
            f"the prompt of query {qid} must be a string or a list of chat messages, got {prompt!r:.60}"
        ) from None
    if role not in ("user", "tool"):  # whether a final assistant message is continued, each server decides
        raise ValueError(f"the chat of query {qid} must end with a user or tool message, not {role!r}")
    return CHAT, {"messages": list(prompt)}


def _seed_of(seed: int, qid: Any, draw: int) -> int:
    """31 bits, which every server's generator takes."""
    digest = blake2b(f"{seed}\x00{qid}\x00{draw}".encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest) >> 1


def _response_of(answer: Any, request: _Request) -> Drawn:
    try:
        (choice, *_) = answer["choices"]
        text = choice["message"]["content"] if request.endpoint == CHAT else choice["text"]
        reason = choice.get("finish_reason")
        usage, logprobs = answer.get("usage") or {}, choice.get("logprobs") or {}
        num_tokens, token_ids = usage.get("completion_tokens"), choice.get("token_ids")
        values = logprobs.get("token_logprobs") or [
            token["logprob"] for token in logprobs.get("content") or []
        ]
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ValueError(f"the answer is no completion: {_one_line(answer)}; {CHECK_API}") from None
    if text is None:
        raise ValueError(
            f"the response has no text (finish_reason {reason!r}); raise max_new_tokens, "
            "or turn off the server's parsing of reasoning and tool calls"
        )
    complete = bool(values) and None not in values and num_tokens in (None, len(values))
    logprob = math.fsum(values) if complete and request.body["temperature"] == 1 else None
    return Drawn(text, logprob, num_tokens, reason == "stop", token_ids)


def _message_of(error: Any) -> str:
    """The complaint of a server, in one line; servers differ in the place where they put it."""
    body = error.body
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body
    return _one_line(body or error.response.text or error.response.reason_phrase)


def _one_line(what: Any) -> str:
    line = " ".join(str(what).split()) or type(what).__name__
    return line if len(line) <= 300 else f"{line[:300]}…"
