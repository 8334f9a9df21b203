"""JSON as files hold it: values that a column can hold, each with its line, an array one value at a time."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from larpo_ir.data.text_files import not_text, opened

CHUNK = 1 << 16  # bytes of a file that are read at once
DEEPEST = 100  # levels of brackets: more is no row, and what follows (Arrow, repr) would recurse
INT64 = range(-(2**63), 2**63)


class _Refused(ValueError):
    """A value that JSON can write and no column can hold."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"the key {twice!r} occurs twice in one object; keep one of them")
    return row


def _number(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise _Refused(f"the number {digits:.30} is beyond what a float can hold")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number)
_TOO_DEEP = f"brackets are nested more than {DEEPEST} levels deep"
_TOO_LARGE = "is beyond 64-bit integers; write it as a string"


def _value(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins there, and where it ends. Raises `JSONDecodeError`, `_Refused` for its content."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (json.JSONDecodeError, _Refused):
        raise
    except RecursionError:
        raise _Refused(_TOO_DEEP) from None
    except ValueError:  # Python converts no more than some thousands of digits
        raise _Refused(f"a number of thousands of digits {_TOO_LARGE}") from None
    _check_numbers(value)
    if text.find("\\u", start, end) >= 0:
        _check_characters(value)
    return value, end


def _check_numbers(value: Any) -> None:
    """Refuse integers that are too large, and what is nested too deep; quick for long lists of token ids."""
    level: list[Any] = [[value]]
    for _ in range(DEEPEST + 1):
        deeper = []
        for whole in level:
            parts = list(_parts(whole))
            kinds = set(map(type, parts))
            if int in kinds:
                integers = parts if len(kinds) == 1 else [part for part in parts if type(part) is int]
                for number in (min(integers), max(integers)):
                    if number not in INT64:
                        raise _Refused(f"the number {number!s:.30} {_TOO_LARGE}")
            if list in kinds or dict in kinds:
                deeper += [part for part in parts if isinstance(part, (list, dict))]
        level = deeper
    if level:
        raise _Refused(_TOO_DEEP)


def _parts(whole: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return whole.values() if isinstance(whole, dict) else whole


def _check_characters(value: Any) -> None:
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, str) and not part.isascii():
            try:
                part.encode()
            except UnicodeEncodeError:
                raise _Refused("text holds half a surrogate pair, which is no character") from None
        elif isinstance(part, (list, dict)):
            rest.extend(_parts(part))
            rest.extend(part if isinstance(part, dict) else ())


class JSONFile:
    """The JSON values of a file, which is read as far as they need: what is behind has gone from memory."""

    def __init__(self, path: Path, handle: IO[bytes]) -> None:
        self.path, self.handle = path, handle
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text, self.at, self.ended = "", 0, False
        self.line, self.column = 1, 1  # of the first character of `text`

    def more(self) -> bool:
        """Forget what is behind and read on, twice as far each time that one value asks again."""
        if self.ended:
            return False
        self.line, self.column = self.place(self.at)
        self.text, self.at = self.text[self.at :], 0
        data = self.handle.read(max(CHUNK, len(self.text)))
        self.ended = not data
        try:
            self.text += self.decoder.decode(data, final=self.ended)
        except UnicodeDecodeError as error:
            line = self.place(len(self.text))[0] + data.count(b"\n", 0, error.start)
            raise not_text(self.path, line, data) from None
        return True

    def place(self, at: int) -> tuple[int, int]:
        """Line and column, from 1, of a place in `text`."""
        newlines = self.text.count("\n", 0, at)
        if newlines:
            return self.line + newlines, at - self.text.rfind("\n", 0, at)
        return self.line, self.column + at

    def peek(self) -> str:
        """The next character that is no blank; nothing at the end."""
        while True:
            self.at = _blanks(self.text, self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = _value(self.text, self.at)
            except json.JSONDecodeError as error:
                unfinished = error.pos > len(self.text) - 16 or error.msg.startswith("Unterminated string")
                if unfinished and self.more():
                    continue
                raise self.malformed(error.msg, error.pos) from None
            except _Refused as error:
                raise ValueError(f"{self.path}:{self.place(self.at)[0]}: {error}") from None
            if _MAYBE_A_NUMBER.fullmatch(self.text, end) and self.more():  # which may go on
                continue
            self.at = end
            return value

    def values(self) -> Iterator[Any]:
        """The values of the array that begins here, one of them in memory at a time."""
        self.at += 1
        separator = "," if self.peek() != "]" else "]"
        while separator == ",":
            yield self.value()
            separator = self.peek()
            if separator not in (",", "]"):
                raise self.malformed("Expecting ',' delimiter")
            self.at += separator == ","
        self.at += 1
        self.end()

    def end(self) -> None:
        """Raise `ValueError` unless nothing follows."""
        if self.peek():
            raise self.malformed("Extra data")

    def malformed(self, reason: str, at: int | None = None) -> ValueError:
        line, column = self.place(self.at if at is None else at)
        return ValueError(f"{self.path}:{line}: malformed JSON, {reason} at column {column}")


_BLANKS = re.compile(r"[ \t\n\r]*")
_MAYBE_A_NUMBER = re.compile(r"[-+.\deE]*")


def _blanks(text: str, start: int) -> int:
    """The place behind the blanks that begin at `start`."""
    found = _BLANKS.match(text, start)
    return start if found is None else found.end()


def parse_line(line: str, path: Path, number: int) -> Any:
    """The one value of a line."""
    try:
        value, end = _value(line, _blanks(line, 0))
        rest = _blanks(line, end)
        if rest < len(line):
            raise json.JSONDecodeError("Extra data", line, rest)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{number}: malformed JSON, {error.msg} at column {error.pos + 1}") from None
    except _Refused as error:
        raise ValueError(f"{path}:{number}: {error}") from None
    return value


def read_value(path: Path) -> Any:
    """The one value of a file, which may end in `.gz`. Raises `ValueError` with file and line."""
    with opened(path) as handle:
        file = JSONFile(path, handle)
        value = file.value()
        file.end()
    return value
