"""Reference of settings classes as Markdown: a table per group with each setting's type, default and meaning."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from larpo_ir.data.settings import settings_of


def reference(kind: type, introduction: str) -> str:
    """The section of a settings class: its heading, an introduction, and a table per group in order of appearance.

    >>> from larpo_ir.data.settings import described
    >>> @dataclasses.dataclass
    ... class Size:
    ...     '''Size of a picture.'''
    ...     width: int | None = dataclasses.field(default=None, metadata=described("Extent", "in pixels"))
    >>> print(reference(Size, "In Python alone."))
    ## `Size`
    <BLANKLINE>
    Size of a picture. In Python alone.
    <BLANKLINE>
    ### Extent
    <BLANKLINE>
    | option | type | default | meaning |
    | --- | --- | --- | --- |
    | `width` | `int \\| None` | `None` | in pixels |
    <BLANKLINE>
    """
    first, _, _ = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
    lines = [f"## `{kind.__name__}`", "", f"{' '.join(first.split())} {introduction}", ""]
    groups: dict[str, list[str]] = {}
    for option, text in settings_of(kind):
        default = f"`{_default(option)}`"
        row = " | ".join([f"`{option.name}`", _code(str(option.type)), default, text.replace("|", r"\|")])
        groups.setdefault(text.group, []).append(f"| {row} |")
    for group, rows in groups.items():
        lines += [f"### {group}", "", "| option | type | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [*rows, ""]
    return "\n".join(lines)


def _default(option: dataclasses.Field[Any]) -> str:
    value = option.default
    if option.default_factory is not dataclasses.MISSING:
        value = option.default_factory()
    return repr(value).replace("'", '"')


def _code(text: str) -> str:
    """A type in a cell of a table, where a vertical bar would end the cell."""
    return "`" + text.replace("|", r"\|") + "`"
