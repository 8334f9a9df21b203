"""Samplers by name, for configuration files and the command line.

A new sampler is a class and a row of `SAMPLERS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from larpo_ir.data.negatives import false_negatives, other_prompts, own_prompt
from larpo_ir.data.sampling import Sampler

SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "top_bottom": own_prompt.TopBottom,
    "top_versus_rest": own_prompt.TopVersusRest,
    "best_worst": own_prompt.BestWorst,
    "random_pair": own_prompt.RandomPair,
    "temperature": own_prompt.Temperature,
    "from_other_prompts": other_prompts.FromOtherPrompts,
    "without_false_negatives": false_negatives.WithoutFalseNegatives,
}


def available_samplers() -> list[str]:
    """Names that `get_sampler` knows."""
    return list(SAMPLERS)


def get_sampler(name: str, **kwargs: Any) -> Sampler:
    """The sampler of that name with those arguments.

    >>> get_sampler("top_bottom", top=1, bottom=3)
    TopBottom(top=1, bottom=3)
    >>> get_sampler("bm25")
    Traceback (most recent call last):
    ...
    ValueError: unknown sampler 'bm25'; choose one of top_bottom, top_versus_rest, best_worst, random_pair,
    temperature, from_other_prompts, without_false_negatives
    """
    if name not in SAMPLERS:
        raise ValueError(f"unknown sampler {name!r}; choose one of {', '.join(SAMPLERS)}")
    _check_arguments(name, kwargs)
    return SAMPLERS[name](**kwargs)


def _check_arguments(name: str, given: dict[str, Any]) -> None:
    """Raise a one-line `ValueError` for arguments that the sampler does not have, and for those that it lacks."""
    accepted = inspect.signature(SAMPLERS[name]).parameters
    wrong = [argument for argument in given if argument not in accepted]
    if wrong:
        names = ", ".join(accepted) or "none"
        raise ValueError(f"sampler {name} has no argument {', '.join(wrong)}; its arguments: {names}")
    needed = [argument for argument, about in accepted.items() if about.default is about.empty]
    lacking = [argument for argument in needed if argument not in given]
    if lacking:
        raise ValueError(f"sampler {name} needs the argument {', '.join(lacking)}")
