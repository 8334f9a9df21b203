"""One response: the tokens that were sampled, and the row that its generator makes of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Response:
    """The tokens that were drawn for one prompt.

    `token_ids`: with what ended it, if anything did (`finished`): an EOS token, or the last of a stop string.
    `logprob`: Σ_t log π(y_t | x, y_<t) at temperature 1, nats, in float32.
    """

    token_ids: list[int]
    logprob: float
    finished: bool


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
