"""Programs of several commands: options come from the signatures of what they call; YAML by `--config`."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, get_args, get_type_hints

from larpo_ir.data.console import plain_output

# command -> (one line of help, where its options come from, what runs: a function, or the "same")
Commands: TypeAlias = Mapping[str, tuple[str, str, Callable[..., None] | str]]


def run(program: str, commands: Commands, arguments: Sequence[str] | None = None) -> None:
    """Run a program of several commands. Exits 0, 2 with one clear line on bad input, or 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: {program} COMMAND [options]\n")
        width = 2 + max(map(len, commands))
        print("\n".join(f"  {name:{width}}{line}" for name, (line, _, _) in commands.items()))
        print(f"\n{program} COMMAND --help tells its options; --config FILE reads them from YAML.")
        raise SystemExit(0)
    if arguments[0] == "--version":
        from larpo_ir import __version__

        print(__version__)
        raise SystemExit(0)
    with one_line_errors():
        _run(program, commands, arguments[0], arguments[1:])


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What bad input raises, as one line: exits 2, or 130 when interrupted. `LARPO_DEBUG=1` shows where it was."""
    try:
        yield
    except KeyboardInterrupt:
        print("\ninterrupted; what was there is kept, and the same command goes on from it", file=sys.stderr)
        raise SystemExit(130) from None
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("LARPO_DEBUG"):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def parser_of(program: str, commands: Commands, command: str) -> Any:
    """The parser of a command's options, made from the signature of what the command calls."""
    from jsonargparse import ArgumentParser

    line, home, _ = commands[command]
    module, name = home.split(":")
    component = getattr(importlib.import_module(module), name)
    parser = ArgumentParser(prog=f"{program} {command}", description=line, exit_on_error=False)
    parser.add_argument("--config", action="config", help="read options from a YAML file")
    positional = _positional(component)
    for argument in positional:
        parser.add_argument(argument, nargs="+", help="one or more")
    add = parser.add_class_arguments if isinstance(component, type) else parser.add_function_arguments
    add(component, skip=set(positional))
    return parser


def _positional(component: Callable[..., Any]) -> list[str]:
    """Arguments that a function takes by position alone: the command line does so, too."""
    parameters = inspect.signature(component).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]


def _run(program: str, commands: Commands, command: str, arguments: list[str]) -> None:
    if command not in commands:
        raise ValueError(f"unknown command {command!r}; choose one of {', '.join(commands)}")
    plain_output()
    sys.path.append(os.getcwd())  # a reward of the user's own lies in the folder where the command is given
    from jsonargparse import ArgumentError

    parser = parser_of(program, commands, command)
    try:
        arguments = _lists_as_json(_files_first(arguments), parser)
        given = parser.instantiate(parser.parse_args(arguments))
    except (ArgumentError, ValueError) as error:
        raise ValueError(_in_short(str(error), commands[command][1])) from error
    except (TypeError, AttributeError) as error:  # a value of a kind that nobody expects at that place
        raise ValueError(f"{command}: an option has a value of the wrong kind: {error}") from error
    _, home, action = commands[command]
    module, name = home.split(":")
    call = getattr(importlib.import_module(module), name) if isinstance(action, str) else action
    options = given.as_dict()
    options.pop("config", None)
    positional = [options.pop(name) for name in _positional(getattr(importlib.import_module(module), name))]
    call(*positional, **options)
    from larpo_ir.models.distributed import leave

    leave()


def _files_first(arguments: list[str]) -> list[str]:
    """`--config FILE` before everything else: what the command line says counts, wherever it says it.

    >>> _files_first(["--seeds", "1", "--config", "a.yaml"])
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


def _lists_as_json(arguments: list[str], parser: Any) -> list[str]:
    """`--losses dpo ipo` as `--losses=["dpo", "ipo"]`: what the parser reads for options that take names."""
    takes_list = {
        name
        for action in parser._actions
        if re.search(r"(list|Sequence)\[str\]", str(getattr(action, "_typehint", "")))
        for name in action.option_strings
    }
    result: list[str] = []
    position = 0
    while position < len(arguments):
        name, equals, value = arguments[position].partition("=")
        if name not in takes_list:
            name, equals = arguments[position], ""
        position += 1
        values = [value] if equals else []
        while name in takes_list and position < len(arguments) and not arguments[position].startswith("--"):
            values.append(arguments[position])
            position += 1
        if values and values != ["null"] and not values[0].startswith("["):
            result.append(f"{name}={json.dumps(values)}")
        else:
            result += [name, *values]
    return result


# Lines in which the parser tells what it tried, not what is wrong.
_TRIED = re.compile(
    r"Does not validate against|Subtypes: |Errors:|Expected a <class 'NoneType'>|Given value type: "
    r"|Given value: (NestedArg|Namespace)\("
    r"|Problem with given class_path 'larpo_ir.models.ResponseGenerator'"
    r"|Import path .*does not correspond to a subclass of Generator$"
    r"|Import path \S+Judge does not correspond to a subclass of ResponseGenerator$"
    r"|Import path \S+Generator does not correspond to a subclass of Judge$"
)


def _in_short(error: str, home: str) -> str:
    """What a parser says is wrong, in one line; where it knows no class of a name, the names that it knows."""
    lines = (line.strip().removeprefix("- ") for line in error.split("\n"))
    line = " ".join(dict.fromkeys(line for line in lines if not _TRIED.match(line))) or error
    unknown = re.fullmatch(
        r'Parser key "(\w+)": Expected a dot import path string: (\S+)( Given value: \S+)?', line
    )
    if unknown is None:
        return line
    key, name = unknown.group(1, 2)
    return f"{key}: unknown class {name!r}; choose one of {', '.join(_classes(home, key))}, or give an import path"


def _classes(home: str, key: str) -> list[str]:
    """Names of the classes that an option may be given as."""
    module, name = home.split(":")
    asked: Any = get_type_hints(getattr(importlib.import_module(module), name))[key]
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
