"""The manifest beside every index: `index.json` describes the index, and seals its files as they were written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from larpo_ir.data.digests import digest
from larpo_ir.data.files import write_atomically
from retrieval_bridge.collections.paths import written_at

MANIFEST = "index.json"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Describe the index in a folder."""
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest in a folder. Raises `FileNotFoundError` for no index, `ValueError` for a damaged manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no index there; make it with retrieval-bridge index")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        raise ValueError(f"{path}: damaged; delete {folder} and index again")
    return manifest


def is_indexed(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the index that `wanted` describes lies in a folder; only the keys of `wanted` count.

    Raises `ValueError` where another index lies there.
    """
    if not (folder / MANIFEST).is_file():
        return False
    for key, there, here in _differences(folder, wanted):
        raise ValueError(
            f"{folder} holds another index: its {key} is {there!r}, not {here!r}; choose another "
            f"path, or delete {folder} to index again"
        )
    return True


def own_folder(folder: Path, wanted: Mapping[str, Any]) -> Path:
    """The folder, or where another index lies there, one beside it whose name tells the two apart."""
    if not (folder / MANIFEST).is_file() or not any(_differences(folder, wanted)):
        return folder
    return folder.with_name(f"{folder.name}-{digest(dict(wanted))[:8]}")


def _differences(folder: Path, wanted: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    manifest = read_manifest(folder)
    return ((key, manifest.get(key), value) for key, value in wanted.items() if manifest.get(key) != value)


# The seal: files as they were written


def sealed(folder: Path) -> dict[str, list[Any]]:
    """Of every file in a folder but the manifest: size, time of the last change, hash of the content."""
    files = (file for file in sorted(folder.iterdir()) if file.is_file() and file.name != MANIFEST)
    return {file.name: [*written_at(file), _hash_of(file)] for file in files}


def check_seal(folder: Path) -> None:
    """Raise `ValueError` unless an index is as it was written: its library may crash on damage, or find nonsense.

    Only files that another time or size says have changed, or were copied, are read.
    """
    manifest = read_manifest(folder)
    seal, copied = manifest.get("files"), False
    if not isinstance(seal, dict):  # of an earlier version
        return
    for name, known in seal.items():
        file = folder / name
        if not file.is_file():
            raise ValueError(f"{name} is missing")
        stamp = written_at(file)
        if stamp != known[:2]:
            if stamp[0] != known[0] or _hash_of(file) != known[2]:
                raise ValueError(f"{name} has changed since it was written")
            known[:2], copied = stamp, True
    if copied:
        with suppress(OSError):
            write_manifest(folder, manifest)


def _hash_of(file: Path) -> str:
    import xxhash

    hashed = xxhash.xxh3_128()
    with file.open("rb") as handle:
        while block := handle.read(1 << 24):
            hashed.update(block)
    return str(hashed.hexdigest())
