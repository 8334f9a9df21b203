"""log π(y|x) on disk, reusable across runs and processes, by policy, token ids and variant.

A policy scores each response once. `fingerprint(model)` names the policy by its weights, token ids name prompt and
response, and known values are looked up instead of computed:

    cache, policy = LogprobCache("cache"), fingerprint(model)
    known = cache.get(policy, lists, variant="bf16")           # a number for each response, None if unknown
    cache.put(policy, lists, values, variant="bf16")

* The key does not name the tokenizer: another tokenizer makes other token ids, or the same ids and so the same value.
* `variant` names everything else that changes a value: the autocast precision, an attention implementation, an
  adapter that is switched off for the pass. Equal weights in another variant have other keys.
* Each policy has one SQLite file, `DIRECTORY/<fingerprint>.sqlite`, so that its values can be deleted with it. Any
  number of processes may read and write at once: a `put` is one transaction, stored wholly or not at all. It waits
  for locks and uses no write-ahead log, because network file systems do not support one.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from larpo_ir.models.tokenization import TokenizedList

LOCK_TIMEOUT = 120.0  # seconds
# SQLite's errors for an intact file that is out of reach. Other errors mean that the file is no cache.
OUT_OF_REACH = {
    sqlite3.SQLITE_BUSY: f"another process has locked it for {LOCK_TIMEOUT:.0f} seconds; wait for that to end",
    sqlite3.SQLITE_LOCKED: "another process has locked it; wait for that to end",
    sqlite3.SQLITE_READONLY: "it may not be written to; make it writable, or choose another directory",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; see who may read and write it and its directory",
    sqlite3.SQLITE_PERM: "it may not be opened; see who may read and write it",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written; see to it",
}


class LogprobCache:
    """Log-probabilities of responses, in nats, kept in `directory` (made when first written to).

    `policy` is the result of `fingerprint(model)`, `lists` are prompts and responses as token ids
    (`larpo_ir.models.tokenization.TokenizedList`), `variant` is explained in the module. Values are stored exactly,
    as double-precision floats; a second `put` replaces a value.

    Raises `ValueError` that names the file if it is no cache, damaged or out of reach.

    >>> import tempfile
    >>> from larpo_ir.models.tokenization import TokenizedList
    >>> cache, policy = LogprobCache(tempfile.mkdtemp()), "0" * 32
    >>> cache.put(policy, [TokenizedList([1, 2], [[3], [4, 5]])], [[-0.5, -2.0]])
    >>> cache.get(policy, [TokenizedList([1, 2], [[4, 5], [6]])])
    [[-2.0, None]]
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        if self.directory.exists() and not self.directory.is_dir():
            raise ValueError(f"{self.directory} is a file: a cache of log-probabilities is a directory")

    def __repr__(self) -> str:
        return f"LogprobCache({str(self.directory)!r})"

    def path(self, policy: str) -> Path:
        """The file that holds the values of a policy."""
        if not re.fullmatch("[0-9a-f]{32}", policy):
            raise ValueError(
                f"a policy is named by the 32 hexadecimal digits of fingerprint(model), got {policy!r:.60}"
            )
        return self.directory / f"{policy}.sqlite"

    def get(
        self, policy: str, lists: Sequence[TokenizedList], *, variant: str = ""
    ) -> list[list[float | None]]:
        """The values of each list's responses, `[batch][list]`, None where unknown."""
        path = self.path(policy)
        if not path.exists():
            return [[None] * len(tokens.completion_ids) for tokens in lists]
        with _database(path) as database:
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return [
                    [None] * len(tokens.completion_ids) for tokens in lists
                ]  # another process is making it
            return [[_look_up(database, path, key) for key in _keys(tokens, variant)] for tokens in lists]

    def put(
        self,
        policy: str,
        lists: Sequence[TokenizedList],
        logps: Sequence[Sequence[float]],
        *,
        variant: str = "",
    ) -> None:
        """Store `logps`, one row per list and one number per response; on an error, store none of them."""
        rows = list(_rows(lists, logps, variant))
        path = self.path(policy)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _database(path) as database, database:
            database.execute(
                "BEGIN IMMEDIATE"
            )  # queue for the lock at once: upgrading a read lock may deadlock
            database.execute(
                "CREATE TABLE IF NOT EXISTS logprobs (key BLOB PRIMARY KEY, logprob REAL NOT NULL) WITHOUT ROWID"
            )
            database.executemany("INSERT OR REPLACE INTO logprobs VALUES (?, ?)", rows)


@contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT, isolation_level=None)) as database:
            yield database
    except sqlite3.Error as error:
        reason = OUT_OF_REACH.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if reason is not None and not path.is_dir():
            raise ValueError(f"{path}: {reason} ({error})") from None
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path} is not a readable cache of log-probabilities ({reason}): delete it, and its values will be computed"
        " again"
    )


def _look_up(database: sqlite3.Connection, path: Path, key: bytes) -> float | None:
    found = database.execute("SELECT logprob FROM logprobs WHERE key = ?", (key,)).fetchone()
    if found is not None and not isinstance(found[0], float):
        raise _damaged(path, f"it holds {found[0]!r:.40} for a number")
    return None if found is None else found[0]


def _keys(tokens: TokenizedList, variant: str) -> Iterator[bytes]:
    """One key per response. It holds the prompt's length, because log π sums only the tokens after the prompt."""
    start = f"{len(tokens.prompt_ids)} {len(variant)} {variant}"
    prompt = hashlib.blake2b(start.encode(), digest_size=16)
    prompt.update(array("q", tokens.prompt_ids).tobytes())
    for response in tokens.completion_ids:
        key = prompt.copy()
        key.update(array("q", response).tobytes())
        yield key.digest()


def _rows(
    lists: Sequence[TokenizedList], logps: Sequence[Sequence[float]], variant: str
) -> Iterator[tuple[bytes, float]]:
    if len(lists) != len(logps):
        raise ValueError(f"{len(lists)} lists but {len(logps)} rows of log-probabilities")
    for row, (tokens, values) in enumerate(zip(lists, logps, strict=True)):
        if len(tokens.completion_ids) != len(values):
            raise ValueError(
                f"list {row} has {len(tokens.completion_ids)} responses but {len(values)} log-probabilities"
            )
        if any(math.isnan(value) for value in values):
            raise ValueError(f"list {row} has a log-probability that is not a number: {list(values)}")
        yield from zip(_keys(tokens, variant), map(float, values), strict=True)
