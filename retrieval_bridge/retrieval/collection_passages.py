"""The passages of a collection on disk, written unless they are there already."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from itertools import zip_longest
from pathlib import Path

from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.retrieval.manifest import MANIFEST as INDEX
from retrieval_bridge.retrieval.passages import COLUMNS, MANIFEST, Fingerprint, Passages, checked

_BUILT: weakref.WeakKeyDictionary[Collection, Passages] = weakref.WeakKeyDictionary()


def passages_of(
    collection: Collection | Passages | str | os.PathLike[str], path: str | os.PathLike[str] | None = None
) -> Passages:
    """The passages of a collection on disk under `path/passages`, made unless they are there.

    A string is anything that `load_collection` knows, or a root folder in which passages lie already. Without a
    `path` they lie in a temporary folder. Raises `ValueError` where other passages lie under `path`, and where
    `path` is an index itself. The corpus is read to compare them, unless its files are unchanged since they were
    read.
    """
    if isinstance(collection, Passages):
        return collection
    if isinstance(collection, str | os.PathLike):
        if (Path(collection) / "passages" / MANIFEST).is_file():
            return Passages.load(Path(collection) / "passages")
        collection = load_collection(collection)
    if path is None:
        if collection not in _BUILT:
            root = Path(tempfile.mkdtemp(prefix="retrieval_bridge-"))
            passages = _BUILT[collection] = Passages.build(collection, root / "passages")
            passages.temporary = True
            weakref.finalize(passages, shutil.rmtree, root, ignore_errors=True)
        return _BUILT[collection]
    if (Path(path) / INDEX).is_file():
        raise ValueError(f"{path} is an index; give the root folder in which it lies, {Path(path).parent}")
    there = Path(path) / "passages"
    if not (there / MANIFEST).is_file():
        return Passages.build(collection, there)
    passages = Passages.load(there)
    source = collection.source()
    if source is None or source != passages.source:  # unread as long as its files have not changed
        content = Fingerprint()
        for passage in map(checked, collection.corpus()):
            content.add(passage)
        if content.hexdigest() != passages.fingerprint:
            raise ValueError(
                f"{there} holds other passages than {collection.name!r} (made from {passages.name!r}): "
                f"{_first_difference(passages, collection)}; choose another folder, or delete {path} to index again"
            )
        passages.note(source=source)
    return passages


def _first_difference(passages: Passages, collection: Collection) -> str:
    pairs = zip_longest(passages, map(checked, collection.corpus()))
    there, here = next((there, here) for there, here in pairs if there != here)
    if there is None or here is None:
        return f"{len(passages)} there and {'more' if there is None else 'fewer'} here"
    differs = [name for name in COLUMNS if there[name] != here[name]]
    return f"{there['docno']!r} differs in its {', '.join(differs)}"
