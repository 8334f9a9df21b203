"""Lines of UTF-8 text files, plain or compressed, with or without a byte-order mark."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

BOM = b"\xef\xbb\xbf"
# Beginnings of files that are no UTF-8 text, and advice for each.
OTHER_KINDS = {
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"\x1f\x8b": "compressed; give it a name that ends in .gz",
    b"PAR1": "Parquet; give it a name that ends in .parquet",
}


def first_line(error: BaseException) -> str:
    """The message of another library's error, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, of what is in it where it ends in `.gz`."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            yield handle  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: not a complete .gz file ({error}); fetch it again") from None


def not_text(path: Path, number: int, start: bytes) -> ValueError:
    """The error for a line that cannot be decoded, which begins with `start`."""
    kinds = (kind for magic, kind in OTHER_KINDS.items() if number == 1 and start.startswith(magic))
    kind = next(kinds, "UTF-16 text or no text; save it as UTF-8" if b"\0" in start else "")
    return ValueError(f"{path}:{number}: not UTF-8 text" + (f" but {kind}" if kind else ""))


def _decode(line: bytes, path: Path, number: int) -> str:
    if number == 1:
        line = line.removeprefix(BOM)
        if b"\0" in line[:4]:  # UTF-16 of ASCII without its mark would pass for UTF-8
            raise not_text(path, number, line)
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise not_text(path, number, line) from None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, which may end in `.gz`, each with its number from 1; one is in memory at a time."""
    with opened(path) as handle:
        for number, line in enumerate(handle, start=1):
            yield number, _decode(line, path, number)


# str.split() would take apart ids that hold a no-break space.
_CELL = re.compile(r"[^ \t\r\n\f\v]+")


def cells_of(line: str) -> list[str]:
    """The cells of a line, which blanks and tabs part.

    >>> cells_of("q1 \tQ0  d\u00a01")
    ['q1', 'Q0', 'd\\xa01']
    """
    return line.split() if line.isascii() else _CELL.findall(line)
