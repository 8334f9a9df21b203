"""Errors of the parser of options in one line, which says what is wrong and names the choices."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

# Lines in which the parser tells what it tried, not what is wrong.
_TRIED = re.compile(
    r"Does not validate against|Subtypes: |Errors:|Expected a <class 'NoneType'>|Given value type: "
    r"|Given value: (NestedArg|Namespace)\("
    r"|Problem with given class_path 'larpo_ir.models.ResponseGenerator'"
    r"|Import path .*does not correspond to a subclass of Generator$"
    r"|Import path \S+Judge does not correspond to a subclass of ResponseGenerator$"
    r"|Import path \S+Generator does not correspond to a subclass of Judge$"
)


def in_short(error: str, component: Callable[..., Any]) -> str:
    """A parser's error in one line. An unknown class's name is answered with the names of the known ones."""
    lines = (line.strip().removeprefix("- ") for line in error.split("\n"))
    line = " ".join(dict.fromkeys(line for line in lines if not _TRIED.match(line))) or error
    unknown = re.fullmatch(
        r'Parser key "(\w+)": Expected a dot import path string: (\S+)( Given value: \S+)?', line
    )
    if unknown is None:
        return line + _hint(line)
    key, name = unknown.group(1, 2)
    choices = ", ".join(_classes(component, key))
    return f"{key}: unknown class {name!r}; choose one of {choices}, or give an import path"


def _hint(line: str) -> str:
    """Advice that the parser does not have."""
    if re.match(r'Parser key "reward": Import path \S* ?does not correspond to a subclass of Reranker', line):
        return "; a rule of your own is given as --reward VerifiableReward --reward.fn IMPORT.PATH"
    return ""


def _classes(component: Callable[..., Any], option: str) -> list[str]:
    """Names of the classes of which an option may be."""
    asked: Any = get_type_hints(component)[option]
    found = [
        kind for kind in get_args(asked) or (asked,) if isinstance(kind, type) and kind is not type(None)
    ]
    for kind in found:
        found += set(type.__subclasses__(kind)).difference(found)
    return sorted(kind.__name__ for kind in found if _can_be_named(kind))


def _can_be_named(kind: type) -> bool:
    """Whether a class is one to import and to make objects of."""
    is_abstract = any(getattr(getattr(kind, name, None), "__isabstractmethod__", False) for name in dir(kind))
    return not is_abstract and getattr(sys.modules[kind.__module__], kind.__name__, None) is kind
