"""Programs of several commands: options come from the signatures of what they call; YAML by `--config`.

A program is a table of commands and one line, `main = partial(run, "program", COMMANDS)`. The module of a command is
imported when that command is given. `--help` reads the types of its options, so that their modules should be light.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from larpo_ir.cli.annotations import evaluate
from larpo_ir.cli.arguments import files_first, lists_as_json
from larpo_ir.cli.complaints import in_short
from larpo_ir.data.console import plain_output


class Command(NamedTuple):
    """A command: its line of help, and the functions or classes behind it, each as `module:name`.

    `options`: the function or class whose signature gives the options. `call`: the function that is called with them,
    or "same".
    """

    line: str
    options: str
    call: str = "same"


Commands: TypeAlias = Mapping[str, tuple[str, str, str]]


def run(program: str, commands: Commands, arguments: Sequence[str] | None = None) -> None:
    """Run a program of several commands. Exits 0, 2 with one clear line on bad input, or 130 when interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        _print_commands(program, commands)
        raise SystemExit(0)
    if arguments[0] == "--version":
        from larpo_ir import __version__

        print(__version__)
        raise SystemExit(0)
    with one_line_errors():
        _run_command(program, commands, arguments[0], arguments[1:])


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print an error of bad input as one line and exit 2, or 130 when interrupted.

    `LARPO_DEBUG=1` shows the traceback.
    """
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

    line, options, _ = commands[command]
    component = _imported(options)
    evaluate(component)
    parser = ArgumentParser(prog=f"{program} {command}", description=line, exit_on_error=False)
    parser.add_argument("--config", action="config", help="read options from a YAML file")
    positional = _positional(component)
    for argument in positional:
        parser.add_argument(argument, nargs="+", help="one or more")
    add = parser.add_class_arguments if isinstance(component, type) else parser.add_function_arguments
    add(component, skip=set(positional))
    return parser


def _print_commands(program: str, commands: Commands) -> None:
    print(f"usage: {program} COMMAND [options]\n")
    width = 2 + max(map(len, commands))
    print("\n".join(f"  {name:{width}}{line}" for name, (line, _, _) in commands.items()))
    print(f"\n{program} COMMAND --help tells its options; --config FILE reads them from YAML.")


def _run_command(program: str, commands: Commands, command: str, arguments: list[str]) -> None:
    if command not in commands:
        raise ValueError(f"unknown command {command!r}; choose one of {', '.join(commands)}")
    plain_output()
    sys.path.append(os.getcwd())  # a reward of the user's own lies in the folder where the command is given
    _, options, call = commands[command]
    given = _given(parser_of(program, commands, command), command, arguments, _imported(options))
    given.pop("config", None)
    positional = [given.pop(name) for name in _positional(_imported(options))]
    _imported(options if call == "same" else call)(*positional, **given)
    from larpo_ir.models.distributed import leave

    leave()


def _given(parser: Any, command: str, arguments: list[str], component: Callable[..., Any]) -> dict[str, Any]:
    """Values of a command's options, with objects made of those that name classes."""
    from jsonargparse import ArgumentError

    try:
        options = parser.parse_args(lists_as_json(files_first(arguments), parser))
        return dict(parser.instantiate(options).as_dict())
    except (ArgumentError, ValueError) as error:
        raise ValueError(in_short(str(error), component)) from error
    except (TypeError, AttributeError) as error:  # a value of a kind that nobody expects at that place
        raise ValueError(f"{command}: an option has a value of the wrong kind: {error}") from error


def _imported(name: str) -> Callable[..., Any]:
    """The function or class that `module:name` says."""
    module, name = name.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def _positional(component: Callable[..., Any]) -> list[str]:
    """Arguments that a function takes by position alone: the command line does so, too."""
    parameters = inspect.signature(component).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]
