"""The name of a model: a hash of what it computes, wherever it lies."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


FORMAT = "larpo_ir log-probabilities 1"  # part of every fingerprint: other rules for keys, other files


# Settings that loading, saving or training changes without changing what the model computes. Anything not named
# here counts: a value computed twice costs time, a wrong one costs the result.
IRRELEVANT = re.compile(
    r"_.*|architectures|dtype|torch_dtype|transformers_version|use_cache|return_dict"
    r"|output_attentions|output_hidden_states|(bos|eos|pad|sep|decoder_start)_token_id"
)


IRRELEVANT_TO_ADAPTERS = re.compile(
    r"_.*|base_model_name_or_path|revision|inference_mode|auto_mapping|task_type|peft_version"
    r"|init_lora_weights|lora_dropout|runtime_config"
)


def fingerprint(model: nn.Module) -> str:
    """32 hexadecimal digits that name a policy by what it computes, not by where it lies.

    A hash of the configuration, of name, shape, dtype and bytes of everything in the state dict (parameters and
    persistent buffers, adapters included), and of which adapters are active, at which scale. Equal copies, on any
    device and after `save_pretrained` and `from_pretrained`, have equal fingerprints; one changed bit gives another.
    Data-parallel and compiled wrappers are looked through; parameters sharded by FSDP2 are gathered one at a
    time, for which all processes must call. One tensor at a time is on the CPU.

    Raises `ValueError` for weights that are not there: on the meta device, or partitioned by DeepSpeed.
    """
    import xxhash
    from accelerate.utils import extract_model_from_parallel

    model = extract_model_from_parallel(model, keep_torch_compile=False)
    state = model.state_dict(keep_vars=True)
    digest = xxhash.xxh3_128(f"{FORMAT}\n{_settings(model)}\n".encode())
    seen: dict[int, bytes] = {}  # tied parameters are read once
    for name in sorted(state):
        value = state[name]
        if id(value) not in seen:
            seen[id(value)] = xxhash.xxh3_128(_bytes(name, value)).digest()
        digest.update(f"{name} {_layout(value)} ".encode())
        digest.update(seen[id(value)])
    return str(digest.hexdigest())


def _settings(model: nn.Module) -> str:
    """Configuration and state of adapters as canonical JSON."""
    inner: Any = model
    parts: dict[str, Any] = {}
    if getattr(inner, "config", None) is not None:
        parts["config"] = _relevant(_as_dict(inner.config), IRRELEVANT)
    if isinstance(getattr(inner, "peft_config", None), dict):
        parts["adapters"] = {
            name: _relevant(_as_dict(config), IRRELEVANT_TO_ADAPTERS)
            for name, config in inner.peft_config.items()
        }
        parts["active"] = _adapter_state(model)
    return json.dumps(parts, sort_keys=True, default=_canonical)


def _adapter_state(model: nn.Module) -> list[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [
        (
            name,
            module.disable_adapters,
            module.active_adapters,
            module.merged_adapters,
            getattr(module, "scaling", None),
        )
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer)
    ]


def _as_dict(config: Any) -> dict[str, Any]:
    return dict(config) if isinstance(config, dict) else dict(config.to_dict())


def _relevant(settings: Any, irrelevant: re.Pattern[str]) -> Any:
    if not isinstance(settings, dict):
        return settings
    return {
        str(name): _relevant(value, irrelevant)
        for name, value in settings.items()
        if value is not None and not irrelevant.fullmatch(str(name))
    }


def _canonical(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, (set, frozenset)) else str(value)


def _layout(value: Any) -> str:
    return f"{value.dtype} {list(value.shape)}" if hasattr(value, "dtype") else "extra"


def _bytes(name: str, value: Any) -> Any:
    """A tensor's bytes, readable through the buffer protocol. They are compared as bytes, so any dtype will do."""
    import torch

    if not isinstance(value, torch.Tensor):  # what a module keeps as extra state
        return repr(value).encode()
    if value.is_meta or hasattr(value, "ds_id"):
        where = "on the meta device" if value.is_meta else "partitioned by DeepSpeed"
        raise ValueError(
            f"{name} is {where}: take the fingerprint of a model that is loaded and not yet prepared"
        )
    whole: Any = value.full_tensor() if hasattr(value, "full_tensor") else value
    return whole.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
