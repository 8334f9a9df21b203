"""Annotations of options, evaluated before jsonargparse does it.

Under `from __future__ import annotations` an annotation is a text. To evaluate one, jsonargparse executes the imports
under `if TYPE_CHECKING:` of the module in which it stands, and these are the slow ones. The types of options do not
need them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints


def evaluate(component: Callable[..., Any]) -> None:
    """Replace texts by types in the annotations of a function or settings class, and of the settings classes in them.

    Raises `NameError` for a type that is imported for type checkers alone: it is no type of an option.
    """
    types = get_type_hints(component)
    function: Any = vars(component)["__init__"] if isinstance(component, type) else component
    function.__annotations__.update({name: types[name] for name in function.__annotations__ if name in types})
    for kind in {kind for annotation in types.values() for kind in _settings_in(annotation)}:
        evaluate(kind)


def _settings_in(annotation: Any) -> Iterator[type]:
    """Settings classes among the parts of a type."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _settings_in(part)
