"""Models and tokenizers as objects, or from where they were saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def load(model: Any, tokenizer: Any, head: str, who: str) -> tuple[Any, Any]:
    """Model and tokenizer as objects, from objects or from where they were saved (a folder, or a name on the hub).

    `head` names the `transformers` class that loads the model; a missing tokenizer is the one saved beside it. `who`
    asks, and begins the one line of a `ValueError` where there is nothing to load.
    """
    if not _is_path(model) and not hasattr(model, "config"):
        raise ValueError(f"{who}: the model is {model!r:.60}; give a folder, a name on the hub, or a model")
    if tokenizer is not None and not _is_path(tokenizer) and not callable(tokenizer):
        raise ValueError(
            f"{who}: the tokenizer is {tokenizer!r:.60}; give a folder, a name on the hub, or a tokenizer"
        )
    if tokenizer is None:
        tokenizer = model if _is_path(model) else model.config._name_or_path
        if not tokenizer:
            raise ValueError(f"{who}: give the tokenizer that {type(model).__name__} was trained with")
    if _is_path(tokenizer):
        tokenizer = _from_pretrained("AutoTokenizer", tokenizer, who)
    if _is_path(model):
        model = _from_pretrained(head, model, who)
    return model, tokenizer


def _is_path(thing: Any) -> bool:
    return isinstance(thing, str | os.PathLike)


def _from_pretrained(head: str, path: str | os.PathLike[str], who: str) -> Any:
    import transformers

    try:
        return getattr(transformers, head).from_pretrained(path)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and not Path(path).is_dir():
            reason = "no such folder, and nothing of that name to be had from the hub; correct the path or the name"
        else:
            said = " ".join(str(error).split())
            reason = f"not a folder that save_pretrained filled for {head} ({said[:160]})"
        raise ValueError(f"{who}: cannot load {os.fspath(path)}: {reason}") from error


def load_policy(model: Any, path: str | os.PathLike[str]) -> None:
    """Load the weights of a saved policy (or of its adapter) into a model of the same architecture."""
    if hasattr(model, "peft_config"):
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(model, load_peft_weights(str(path)))
        return
    from transformers import AutoModelForCausalLM

    model.load_state_dict(AutoModelForCausalLM.from_pretrained(path, dtype=model.dtype).state_dict())
