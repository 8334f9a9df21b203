"""The transformers model inside data-parallel, compiled and PEFT wrappers, and the mode in which it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """The transformers model inside data-parallel, compiled and PEFT wrappers."""
    from accelerate.utils import extract_model_from_parallel

    # (not its `recursive` mode: that takes the layers out of their FSDP wrappers, for good)
    model = extract_model_from_parallel(model, keep_torch_compile=False)
    base: nn.Module = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return base


def learns_a_prompt(model: nn.Module) -> bool:
    """Whether the active PEFT adapter puts learned tokens in front of every input."""
    from accelerate.utils import extract_model_from_parallel

    config = getattr(extract_model_from_parallel(model), "active_peft_config", None)
    return bool(getattr(config, "is_prompt_learning", False))


def context_length(model: nn.Module) -> int | None:
    """The longest sequence the model's configuration allows, if it says so."""
    config = getattr(unwrap(model), "config", None)
    return getattr(config, "max_position_embeddings", None)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode (no dropout) for a while; afterwards each module has the mode that it had."""
    in_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in in_training:
            module.training = True
