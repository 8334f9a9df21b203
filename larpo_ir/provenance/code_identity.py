"""Code of a user, for `larpo_ir.provenance.identity`: its bytecode, and the values that it uses and changes.

A library's code is identified by its name. A user's code may change between two runs: it is identified by its
bytecode and by the bytecode of the user's functions and classes that it uses, in any module.
"""

from __future__ import annotations

import collections
import dis
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

OURS = ("larpo_ir", "retrieval_bridge")
CONTAINER = (list, dict, set, collections.Counter, collections.deque)
CHANGING = {
    "append", "appendleft", "add", "update", "extend", "insert", "setdefault", "pop", "popleft", "popitem", "clear",
    "remove", "discard",
}  # fmt: skip
# Methods in which a component does its work.
WORKING = ("score", "transform", "__call__", "compare", "respond")
_LOADS = ("LOAD_ATTR", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST")
_NO_CODE = {
    "__module__",
    "__doc__",
    "__dict__",
    "__weakref__",
    "__qualname__",
    "__annotations__",
    "INDIFFERENT",
}


@cache
def is_library(module: str | None) -> bool:
    """True if a module is Python's, installed, or of this project, so that users do not edit it between two runs."""
    top = (module or "builtins").partition(".")[0]
    if top in sys.stdlib_module_names or top in ("builtins", *OURS):
        return top != "__main__"
    file = getattr(sys.modules.get(str(module)), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def code_of(code: CodeType) -> list[Any]:
    """Content of a function's code, without its position in the file."""
    names = [*code.co_names, "|", *code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]]
    return [code.co_code.hex(), [_constant(value) for value in code.co_consts], names]


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return code_of(value)
    if isinstance(value, tuple):
        return [_constant(part) for part in value]
    if isinstance(value, frozenset):  # its order differs from one process to the next
        return sorted(map(repr, value))
    return repr(value)


def used_by(function: FunctionType) -> Iterator[Any]:
    """Values that a function uses from its module and other user modules: functions, classes, constants, data."""
    names = set(names_of(function.__code__))
    changed = changed_in(function.__code__)
    for name in dict.fromkeys(names_of(function.__code__)):
        if name in function.__globals__ and name not in changed:
            value = function.__globals__[name]
            if isinstance(value, ModuleType):
                if not is_library(value.__name__):
                    yield from (getattr(value, part) for part in sorted(names) if hasattr(value, part))
            elif _matters(value, function.__module__):
                yield value


def _matters(value: Any, module: str | None) -> bool:
    home = getattr(value, "__module__", None)
    if isinstance(value, (FunctionType, type)) or hasattr(value, "__wrapped__"):
        return not is_library(home) or (home == module and not isinstance(value, type))
    if is_library(type(value).__module__):
        return not callable(value) and type(value).__module__.partition(".")[0] not in (
            "logging",
            "threading",
            "typing",
        )
    return True


def class_code(kind: type) -> Iterator[tuple[str, Any]]:
    """Functions and constants of a class and its bases, as far as a user wrote them."""
    for owner in kind.__mro__:
        if not is_library(owner.__module__):
            for name, value in sorted(vars(owner).items()):
                if name not in _NO_CODE and not name.startswith("_abc"):
                    member = getattr(value, "fget", None) or getattr(value, "__func__", value)
                    yield name, member


def memories(kind: type, attributes: Mapping[str, Any]) -> frozenset[str]:
    """Attributes that a component changes while it works: counters, and containers that it fills."""
    changed: set[str] = set()
    for method in WORKING:
        function: Any = getattr(kind, method, None)
        code = getattr(function if function is None else inspect.unwrap(function), "__code__", None)
        changed |= set() if code is None else changed_in(code)
    kinds = (int, type(None), *CONTAINER)
    return frozenset(name for name in changed if isinstance(attributes.get(name, ""), kinds))


def names_of(code: CodeType) -> Iterable[str]:
    """Global names and attributes that a function mentions."""
    yield from code.co_names
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from names_of(value)


def changed_in(code: CodeType) -> set[str]:
    """Names of variables and attributes that a function stores to, or whose content it changes."""
    steps = list(dis.get_instructions(code))
    found = set()
    for place, step in enumerate(steps):
        if step.opname in ("STORE_ATTR", "STORE_DEREF", "STORE_GLOBAL"):
            found.add(step.argval)
        elif step.opname in ("LOAD_METHOD", "LOAD_ATTR") and step.argval in CHANGING and place:
            found.add(_loaded(steps[place - 1]))
        elif step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            found.add(_container(steps, place))
    found |= {name for value in code.co_consts if isinstance(value, CodeType) for name in changed_in(value)}
    return {str(name) for name in found if name}


def _loaded(step: dis.Instruction) -> str | None:
    return str(step.argval) if step.opname in _LOADS else None


def _container(steps: list[dis.Instruction], store: int) -> str | None:
    """Name of the container in `container[key] = …`, `container[key] += …` or `del container[key]`."""
    key_ends = store - 1
    if steps[key_ends].opname == "SWAP":  # reading the old value copied the key
        reads = [place for place in range(store) if steps[place].opname in ("BINARY_SUBSCR", "BINARY_OP")]
        copies = [p for p in reads if [step.opname for step in steps[max(p - 2, 0) : p]] == ["COPY", "COPY"]]
        if not copies:
            return None
        key_ends = copies[-1] - 3
    begins = _begin(steps, key_ends)
    return None if begins < 1 else _loaded(steps[begins - 1])


def _begin(steps: list[dis.Instruction], end: int) -> int:
    """First step of the expression whose value is on the stack after the step `end`; -1 if there is none."""
    needed, place = 1, end
    while place >= 0:
        argument = steps[place].arg if steps[place].opcode >= dis.HAVE_ARGUMENT else None
        needed -= dis.stack_effect(steps[place].opcode, argument, jump=False)
        if needed <= 0:
            return place
        place -= 1
    return -1
