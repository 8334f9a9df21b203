"""Identity of an input, as JSON: equal for equal weights, texts, rules and numbers, different otherwise.

A run that continues in a folder, or returns results from it, must be the run that began the folder. `identity(thing)`
describes an input, and `difference(there, here)` names the first difference between two descriptions:

    identity(model)         class and a hash of its weights (`larpo_ir.models.fingerprints.fingerprint`)
    identity(tokenizer)     hashes of its rules for text and of its chat template
    identity(frame)         number of rows, and a hash of their contents, whatever the order of the columns
    identity(function)      name and a hash of its code and used values, see `larpo_ir.provenance.code_identity`
    identity(reward)        class and the identities of its attributes; pipelines and lists by their parts

A class names in `INDIFFERENT` the attributes that change its speed or labels but no result; these are left out.
Counters and memories are left out, because scoring itself changes them. Secrets are left out, because no file in a
folder may hold a key.
"""

from __future__ import annotations

import enum
import functools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pandas as pd

from larpo_ir.data.digests import digest, digest_rows
from larpo_ir.provenance.code_identity import changed_in, class_code, code_of, is_library, memories, used_by

PLAIN = (type(None), bool, int, float, str)
LONGEST = 30  # entries of a list or mapping
ALWAYS_INDIFFERENT = frozenset({"api_key"})


def identity(thing: Any) -> Any:
    """Description of a thing, in values that JSON and YAML can hold. The module's introduction lists the kinds."""
    return _Walk().of(thing)


# Values


class _Walk:
    """One pass over an object and its parts, which reads a model once and stops at circular references."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}
        self._keep: list[Any] = []  # keeps things alive, so that no id is used twice

    def of(self, thing: Any) -> Any:
        if isinstance(thing, enum.Enum):
            return str(thing)
        if isinstance(thing, PLAIN):
            return None if isinstance(thing, float) and math.isnan(thing) else thing
        if isinstance(thing, (np.number, np.bool_)):
            return thing.item()
        if isinstance(thing, os.PathLike):
            return os.fspath(thing)
        if id(thing) not in self._known:
            self._keep.append(thing)
            self._known[id(thing)] = f"({type(thing).__name__} that holds it)"
            self._known[id(thing)] = self._described(thing)
        return self._known[id(thing)]

    def _described(self, thing: Any) -> Any:
        for matches, describe in KINDS:
            if matches(thing):
                return describe(self, thing)
        return self._object(thing)

    def _object(self, thing: Any) -> Any:
        kind = type(thing)
        attributes = dict(vars(thing)) if hasattr(thing, "__dict__") else {}
        for owner in kind.__mro__:
            slots = owner.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if hasattr(thing, slot) and slot not in ("__dict__", "__weakref__"):
                    attributes[slot] = getattr(thing, slot)
        ignored = (
            ALWAYS_INDIFFERENT | frozenset(getattr(kind, "INDIFFERENT", ())) | memories(kind, attributes)
        )
        described = {name: self.of(value) for name, value in attributes.items() if name not in ignored}
        if not is_library(kind.__module__):
            described = {"code": self._class_code(kind), **described}
        return {"class": _name(kind), **described} if described else _name(kind)

    def _mapping(self, thing: Mapping[Any, Any]) -> Any:
        return _short_or_hashed({str(name): self.of(value) for name, value in thing.items()})

    def _sequence(self, thing: Iterable[Any]) -> Any:
        return _short_or_hashed([self.of(part) for part in thing])

    def _set(self, thing: Iterable[Any]) -> Any:
        return sorted((self.of(part) for part in thing), key=repr)

    def _frame(self, frame: pd.DataFrame) -> Any:
        return {"number": len(frame), "digest": digest_rows(frame)}

    def _series(self, series: pd.Series[Any]) -> Any:
        return self._frame(series.reset_index().rename(columns=str))

    def _array(self, array: np.ndarray) -> Any:
        return {
            "shape": list(array.shape),
            "digest": digest(str(array.dtype), np.ascontiguousarray(array).tobytes()),
        }

    def _tensor(self, tensor: Any) -> Any:
        import torch

        data = tensor.detach().cpu().contiguous().reshape(-1)
        data = data.view(torch.uint8).numpy().tobytes() if data.numel() else b""
        return {"shape": list(tensor.shape), "digest": digest(str(tensor.dtype), data)}

    def _dataset(self, dataset: Any) -> Any:
        hashed = [digest_rows(part) for part in dataset.with_format("pandas").iter(batch_size=10_000)]
        return {"number": len(dataset), "digest": digest(hashed)}

    def _model(self, model: Any) -> Any:
        from larpo_ir.models.fingerprints import fingerprint

        ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        return {"class": type(model).__name__, "weights": fingerprint(model), "ends": self.of(ends)}

    def _tokenizer(self, tokenizer: Any) -> Any:
        template = getattr(tokenizer, "chat_template", None)
        return {
            "tokens": _tokens_digest(tokenizer),
            "template": None if template is None else digest(template),
        }

    def _partial(self, thing: functools.partial[Any]) -> Any:
        return {
            "partial": self.of(thing.func),
            "args": self.of(thing.args),
            "keywords": self.of(thing.keywords),
        }

    def _method(self, method: MethodType | BuiltinMethodType) -> Any:
        return {"method": method.__name__, "of": self.of(method.__self__)}

    def _function(self, function: FunctionType) -> Any:
        code, changed = function.__code__, changed_in(function.__code__)
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        closure = [self.of(self._content(cell)) for name, cell in cells if name not in changed]
        defaults = [*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())]
        uses = [self.of(value) for value in used_by(function)]
        parts = [code_of(code), closure, [self.of(value) for value in defaults], uses]
        return {"function": _name(function), "code": digest(*parts)}

    def _class(self, kind: type) -> Any:
        if is_library(kind.__module__):
            return _name(kind)
        return {"class": _name(kind), "code": self._class_code(kind)}

    def _class_code(self, kind: type) -> str:
        return digest([(name, self.of(member)) for name, member in class_code(kind)])

    @staticmethod
    def _content(cell: Any) -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # a variable that has no value yet
            return None

    def _transformer(self, pipeline: Any) -> Any:
        parts = [self.of(part) for part in pipeline]
        return {type(pipeline).__name__: parts}


def _short_or_hashed(parts: Any) -> Any:
    """The parts themselves if a person can read them all, otherwise their number and a hash."""
    return parts if len(parts) <= LONGEST else {"number": len(parts), "digest": digest(parts)}


def _is_from(package: str, name: str) -> Callable[[Any], bool]:
    """A test for instances of a package's class, by name, which does not import the package."""

    def matches(thing: Any) -> bool:
        return any(
            owner.__name__ == name and owner.__module__.partition(".")[0] == package
            for owner in type(thing).__mro__
        )

    return matches


def _is_method_of_a_value(thing: Any) -> bool:
    """True for a method such as `"{} {}".format`; built-in functions of a module have the module as `__self__`."""
    return isinstance(thing, BuiltinMethodType) and not isinstance(thing.__self__, (ModuleType, type(None)))


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda thing: isinstance(thing, kinds)


# The first kind that fits describes a thing. A thing that fits no kind is an object with attributes.
KINDS: tuple[tuple[Callable[[Any], bool], Callable[[_Walk, Any], Any]], ...] = (
    (_is_from("torch", "Module"), _Walk._model),
    (_is_from("transformers", "PreTrainedTokenizerBase"), _Walk._tokenizer),
    (_is_from("torch", "Tensor"), _Walk._tensor),
    (_is_from("datasets", "Dataset"), _Walk._dataset),
    (_is(pd.DataFrame), _Walk._frame),
    (_is(pd.Series), _Walk._series),
    (_is(np.ndarray), _Walk._array),
    (_is(Mapping), _Walk._mapping),
    (_is(list, tuple), _Walk._sequence),
    (_is(set, frozenset), _Walk._set),
    (_is(functools.partial), _Walk._partial),
    (_is(MethodType), _Walk._method),
    (_is_method_of_a_value, _Walk._method),
    (lambda thing: hasattr(thing, "__wrapped__"), lambda walk, thing: walk.of(thing.__wrapped__)),
    (_is(FunctionType), _Walk._function),
    (_is(type), _Walk._class),
    (lambda thing: callable(thing) and not hasattr(thing, "__dict__"), lambda walk, thing: _name(thing)),
    (_is(re.Pattern), lambda walk, thing: [thing.pattern, thing.flags]),
    (_is_from("pyterrier", "NAryTransformerBase"), _Walk._transformer),
)


def _name(thing: Any) -> str:
    """Module and name of a thing, as an import needs them."""
    module = getattr(thing, "__module__", None)
    name = (
        getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None) or type(thing).__qualname__
    )
    return f"{module}.{name}" if module else str(name)


def _tokens_digest(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        content: Any = sorted(tokenizer.get_vocab().items())
    else:
        content = json.loads(backend.to_str())
        for of_the_last_call in ("truncation", "padding"):
            content.pop(of_the_last_call, None)
    return digest(content, {name: str(token) for name, token in tokenizer.special_tokens_map.items()})
