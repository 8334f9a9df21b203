"""Words of a command line, put into the form that the parser of options reads."""

from __future__ import annotations

import json
import re
from typing import Any


def files_first(arguments: list[str]) -> list[str]:
    """`--config FILE` before everything else, so that an option of the command line counts wherever it stands.

    >>> files_first(["--seeds", "1", "--config", "a.yaml"])
    ['--config', 'a.yaml', '--seeds', '1']
    """
    files: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--config":
            files += [word, *(value for value in [next(words, None)] if value is not None)]
        else:
            (files if word.startswith("--config=") else rest).append(word)
    return [*files, *rest]


def lists_as_json(arguments: list[str], parser: Any) -> list[str]:
    """`--losses dpo ipo` as `--losses=["dpo", "ipo"]`, the form of a list of names that the parser reads."""
    takes_list = {
        name
        for action in parser._actions
        if re.search(r"(list|Sequence)\[str\]", str(getattr(action, "_typehint", "")))
        for name in action.option_strings
    }
    result: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name not in takes_list:
            result.append(word)
            continue
        values = [value] if equals else []
        while words and not words[0].startswith("--"):
            values.append(words.pop(0))
        result += _as_json(name, values)
    return result


def _as_json(name: str, values: list[str]) -> list[str]:
    """An option and its names as one word; JSON that is there already, and null, stay as they are."""
    if not values or values == ["null"] or values[0].startswith("["):
        return [name, *values]
    return [f"{name}={json.dumps(values)}"]
