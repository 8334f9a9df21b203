"""Fields of settings classes, each with a help text and the group in which the reference page lists it.

The help has one home, the field's metadata. From there come the options of the command line, `help()` in Python,
`docs/configuration.md`, and the options of transformers' `HfArgumentParser`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Help(str):
    """A setting's help text, which knows its `group`.

    `HfArgumentParser` hands every key of a field's metadata to argparse, which accepts `help` and refuses `group`. So
    the group is an attribute of the text.
    """

    group: str

    def __new__(cls, text: str, group: str) -> Help:
        self = super().__new__(cls, text)
        self.group = group
        return self


def described(group: str, text: str) -> dict[str, Help]:
    """Metadata of a field: the group in which it is listed, and its help.

    >>> @dataclasses.dataclass
    ... class Size:
    ...     width: int = dataclasses.field(default=1, metadata=described("Size", "in pixels"))
    >>> [(option.name, text.group, text) for option, text in settings_of(Size)]
    [('width', 'Size', 'in pixels')]
    """
    return {"help": Help(text, group)}


def settings_of(kind: type) -> Iterator[tuple[dataclasses.Field[Any], Help]]:
    """The fields that are `described`, in their order, each with its help."""
    for option in dataclasses.fields(kind):
        text = option.metadata.get("help")
        if isinstance(text, Help):
            yield option, text


def documented(kind: type[T]) -> type[T]:
    """The class, whose `__init__` now tells the help of each setting: `help()` and the command line read it there.

    >>> @documented
    ... @dataclasses.dataclass
    ... class Size:
    ...     width: int = dataclasses.field(default=1, metadata=described("Size", "in pixels"))
    >>> print(Size.__init__.__doc__)
    Settings in groups: docs/configuration.md.
    <BLANKLINE>
    Args:
        width: in pixels
    """
    lines = [f"    {option.name}: {text}" for option, text in settings_of(kind)]
    kind.__init__.__doc__ = "\n".join(["Settings in groups: docs/configuration.md.", "", "Args:", *lines])
    return kind
