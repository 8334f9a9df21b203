"""Columns of a row as the arguments of a user's function. `VerifiableReward` tells the rules to its users.

bind(who, parameters_of(fn), columns)       the column of each argument
columns_needed(parameters_of(fn), given)    the columns that a frame must have, beside those that it has
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import Parameter
from itertools import product
from typing import Any

from larpo_ir.rewards.columns import Needs, least

# Columns a parameter may come from, besides the one of its own name.
ALIASES = {
    "response": ("text",),
    "completion": ("text",),
    "answer_text": ("text",),
    "prompt": ("query",),
    "question": ("query",),
    "gold": ("answer", "label"),
}
ROW = "row"
GUESSED = ("query", "text")  # the columns of a function's first parameters, whatever these are called
_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_REST = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


class NoColumnError(ValueError):
    """Parameters of a function have no column. `parameters`: their names."""

    def __init__(self, who: str, parameters: list[str], columns: Iterable[str]) -> None:
        self.parameters = parameters
        wanted = [" or ".join(_names(name)) for name in parameters]
        super().__init__(
            f"{who} needs the column(s) {', '.join(wanted)}; the frame has {', '.join(columns)}."
            " Add them to the topics: their columns reach the results"
        )


@dataclass(frozen=True)
class Binding:
    """The columns of a function's arguments: by position, by keyword, and those that `**kwargs` takes."""

    positional: list[str]
    keywords: dict[str, str]
    rest: list[str]

    def arguments(self, row: dict[Any, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The values of one row, by position and by keyword."""
        values = row if ROW in row else {**row, ROW: row}
        named = {parameter: values[column] for parameter, column in self.keywords.items()}
        return [values[column] for column in self.positional], named | {name: row[name] for name in self.rest}


def parameters_of(fn: Callable[..., Any]) -> list[Parameter]:
    """A function's parameters; one for the text where it shows no signature, as some built-in functions do."""
    try:
        return list(inspect.signature(fn).parameters.values())
    except ValueError:
        return [Parameter("text", Parameter.POSITIONAL_ONLY)]


def bind(who: str, parameters: Sequence[Parameter], columns: Sequence[str]) -> Binding:
    """The columns that fill a function's parameters. Raises `NoColumnError`, which `who` begins."""
    named = [parameter for parameter in parameters if parameter.kind not in _REST]
    source = _sources(who, named, columns)
    by_position = [p.name for p in named if p.kind is Parameter.POSITIONAL_ONLY and p.name in source]
    keywords = {name: column for name, column in source.items() if name not in by_position}
    takes_rest = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
    taken = {*source.values(), *keywords}
    rest = [column for column in columns if column not in taken] if takes_rest else []
    return Binding([source[name] for name in by_position], keywords, rest)


def _sources(who: str, named: Sequence[Parameter], columns: Sequence[str]) -> dict[str, str]:
    """The column of each parameter that is given one; the others have defaults."""
    source = _columns_by_name(named, columns)
    open_ = [p for p in named if p.name not in source and p.default is Parameter.empty]
    names = [parameter.name for parameter in open_]
    if open_ and not _can_be_guessed(open_, named, source):
        raise NoColumnError(who, names, columns)
    return source | dict(zip(names, _guesses(open_), strict=True))


def _columns_by_name(named: Sequence[Parameter], columns: Sequence[str]) -> dict[str, str]:
    """Parameters whose own column, or one of another name for it, is there; and the whole row."""
    source = {}
    for parameter in named:
        found = [column for column in _names(parameter.name) if column in columns or column == ROW]
        if found:
            source[parameter.name] = found[0]
    return source


def _names(parameter: str) -> tuple[str, ...]:
    return parameter, *ALIASES.get(parameter, ())


def _guesses(open_: Sequence[Parameter]) -> tuple[str, ...]:
    """The text for one parameter, the query and the text for two."""
    return GUESSED[len(GUESSED) - len(open_) :]


def _can_be_guessed(open_: Sequence[Parameter], named: Sequence[Parameter], source: dict[str, str]) -> bool:
    """Whether the parameters without a column are the function's first, and no other one reads what they would."""
    first = [parameter for parameter in named if parameter.kind in _POSITIONAL][: len(open_)]
    return len(open_) <= len(GUESSED) and open_ == first and not {*_guesses(open_)} & {*source.values()}


def columns_needed(parameters: Sequence[Parameter], given: Sequence[str]) -> Needs:
    """The columns that a function needs beside `given`: the fewest, in each spelling that is accepted.

    >>> columns_needed(parameters_of(lambda response, gold: response == gold), ["query", "text"])
    [['gold'], ['answer'], ['label']]
    >>> columns_needed(parameters_of(lambda first, second, third: 0), ["query", "text"])  # the others are guessed
    [['third']]
    """
    missing = _without_column(parameters, given)
    spellings = [list(dict.fromkeys(names)) for names in product(*map(_names, missing))]
    enough = [names for names in spellings if not _without_column(parameters, [*given, *names])]
    return least(_fewest(parameters, given, names) for names in enough)


def _fewest(parameters: Sequence[Parameter], given: Sequence[str], columns: list[str]) -> list[str]:
    """Columns that are enough, without those that can be left out."""
    for column in columns:
        rest = [other for other in columns if other != column]
        if not _without_column(parameters, [*given, *rest]):
            return _fewest(parameters, given, rest)
    return columns


def _without_column(parameters: Sequence[Parameter], columns: Sequence[str]) -> list[str]:
    try:
        bind("", parameters, columns)
    except NoColumnError as error:
        return error.parameters
    return []
