"""What is measured of a retriever, how deep it must search for that, and on what."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from larpo_ir.data.digests import digest, digest_rows

if TYPE_CHECKING:
    from retrieval_bridge.collections.formats import Collection

MEASURES = ("nDCG@10", "RR@10", "R@1", "R@5", "R@20", "R@100", "Success@20")
LEAST, WHOLE = 100, 1000  # results per query: at least, and for measures of a whole ranking


def depth_of(measures: Iterable[str]) -> int:
    """Results per query that the measures look at, at least 100.

    >>> depth_of(["nDCG@10", "R@20"]), depth_of(["R@500"]), depth_of(["AP"])
    (100, 500, 1000)
    """
    import ir_measures

    depths = [LEAST]
    for measure in measures:
        try:
            depths.append(ir_measures.parse_measure(measure).params.get("cutoff") or WHOLE)
        except (NameError, ValueError):  # what cannot be read is reported where it is measured
            continue
    return max(depths)


def check_measures(measures: Iterable[str]) -> list[str]:
    """The names, if ir_measures knows them all; `ValueError` with the first that it does not.

    >>> check_measures(["nDCG@10"])
    ['nDCG@10']
    """
    import ir_measures

    names = list(measures)
    for name in names:
        try:
            ir_measures.parse_measure(name)
        except (NameError, ValueError):
            raise ValueError(
                f"unknown measure {name!r}; name one that ir_measures knows, such as nDCG@10"
            ) from None
    return names


def digest_of(collection: Collection, *splits: str | None) -> str:
    """16 hexadecimal digits of topics, their answers and qrels: what a result depends on, besides the passages."""
    frames = (frame for split in splits for frame in (collection.topics(split), collection.qrels(split)))
    return digest(*map(digest_rows, frames))


def stamp_of(path: str | os.PathLike[str]) -> str:
    """16 hexadecimal digits of the content of a file or of all files of a folder."""
    import xxhash

    root, hashed = Path(path), xxhash.xxh3_64()
    for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if file.is_file():
            hashed.update(f"{file.relative_to(root)}\n".encode())
            hashed.update(file.read_bytes())
    return str(hashed.hexdigest())
