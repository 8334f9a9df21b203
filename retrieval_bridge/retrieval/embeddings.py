"""Passage vectors on disk, in shards: encoded once, resumed where it stopped, read memory-mapped.

folder/index.json                 of which passages, by which encoder
folder/00000.npy 00001.npy …      float32 [shard_size, dimension], by place
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from larpo_ir.data.files import whole_file
from larpo_ir.models.distributed import from_main, is_main_process, share, wait_for_everyone
from retrieval_bridge.retrieval.encoders import Encoder
from retrieval_bridge.retrieval.manifest import is_indexed, own_folder, write_manifest
from retrieval_bridge.retrieval.passages import Passages

logger = logging.getLogger(__name__)

BATCHES_AT_ONCE = 16  # sorted by length together
ROWS_AT_ONCE = 50_000

Shards = list[np.ndarray]


def encode_shards(
    encoder: Encoder, passages: Passages, folder: Path, shard_size: int, shared: bool = False
) -> Shards:
    """The passages' vectors in a folder, memory-mapped; those that are not there yet are encoded.

    The processes of a launch share the shards. Raises `ValueError` for a vector that is not finite, and for a folder
    in which vectors of other passages, of another encoder or in shards of another size lie; `shared`: those are left
    alone, and the vectors come into a folder beside it.
    """
    wanted = {
        "kind": "embeddings", "encoder_fingerprint": encoder.fingerprint, "dimension": encoder.dimension,
        "passages_fingerprint": passages.fingerprint, "passages": len(passages), "shard_size": shard_size,
    }  # fmt: skip
    if shared:
        folder = Path(from_main(str(own_folder(folder, wanted))))
    folder.mkdir(parents=True, exist_ok=True)
    if not is_indexed(folder, wanted) and is_main_process():
        write_manifest(folder, {**wanted, "encoder": encoder.name})
    starts = range(0, len(passages), shard_size)
    paths = [folder / f"{number:05d}.npy" for number in range(len(starts))]
    shapes = [(min(shard_size, len(passages) - start), encoder.dimension) for start in starts]
    missing = from_main([n for n, path in enumerate(paths) if not _is_whole(path, shapes[n])])
    known = len(passages) - sum(shapes[n][0] for n in missing)
    if known and missing:
        logger.info("%d of %d passages are encoded already", known, len(passages))
    with tqdm(total=len(passages), initial=known, desc=encoder.name, unit="passage",
              disable=None if is_main_process() else True) as bar:  # fmt: skip
        for number in share(missing):
            vectors = _encode(encoder, passages, starts[number], shapes[number], bar)
            with whole_file(paths[number]) as writing:
                np.save(writing, vectors)
            if len(paths) > 1:
                logger.info("encoded shard %d of %d", number + 1, len(paths))
    wait_for_everyone()
    return [np.load(path, mmap_mode="r") for path in paths]


def _is_whole(path: Path, shape: tuple[int, int]) -> bool:
    try:
        vectors = np.load(path, mmap_mode="r")
        return bool(vectors.shape == shape and vectors.dtype == np.float32)
    except Exception:  # NumPy's, of its header, of zip files: a shard that cannot be read is encoded again
        return False


def _encode(
    encoder: Encoder, passages: Passages, start: int, shape: tuple[int, int], bar: tqdm
) -> np.ndarray:
    vectors = np.empty(shape, dtype=np.float32)
    step = encoder.batch_size * BATCHES_AT_ONCE
    for first in range(0, len(vectors), step):
        texts = passages.full_texts(start + first, min(start + first + step, start + len(vectors)))
        vectors[first : first + step] = encoder.encode_passages(texts)
        bar.update(len(texts))
    _require_finite(vectors, start, f"encoder {encoder.name}")
    return vectors


def precomputed(embeddings: np.ndarray | str | os.PathLike[str], passages: Passages) -> Shards:
    """Vectors that somebody else made: an array [passages, dimension], or a `.npy` file of one.

    Raises `FileNotFoundError`, or `ValueError` for another shape or a number that is not finite.
    """
    if isinstance(embeddings, str | os.PathLike):
        where = str(embeddings)
        try:
            vectors = np.asarray(np.load(embeddings, mmap_mode="r"))
        except FileNotFoundError:
            raise FileNotFoundError(f"{where}: no such file of embeddings") from None
        except Exception:  # NumPy's, of its header, of zip files, of pickles: damage has many names
            raise ValueError(f"{where}: no .npy file of embeddings; write one with numpy.save") from None
    else:
        where, vectors = "embeddings", np.asarray(embeddings)
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ValueError(
            f"{where}: expected floats [passages, dimension], found {vectors.dtype} {list(vectors.shape)}"
        )
    if len(vectors) != len(passages):
        raise ValueError(f"{where}: {len(vectors)} vectors for {len(passages)} passages; give one for each")
    for first, block in zip(range(0, len(vectors), ROWS_AT_ONCE), blocks([vectors]), strict=True):
        _require_finite(block, first, where)
    return [vectors]


def _require_finite(vectors: np.ndarray, first: int, where: str) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(f"{where}: the vector of passage {first + bad[0]} holds NaN or infinity")


def blocks(shards: Shards) -> Iterator[np.ndarray]:
    """All vectors in order, float32 and contiguous as FAISS wants them, a part at a time."""
    for shard in shards:
        for first in range(0, len(shard), ROWS_AT_ONCE):
            yield np.ascontiguousarray(shard[first : first + ROWS_AT_ONCE], dtype=np.float32)


def sample(shards: Shards, number: int, seed: int) -> np.ndarray:
    """float32 vectors of at most `number` passages, drawn at random without replacement, in order of place."""
    ends = np.cumsum([0, *(len(shard) for shard in shards)])
    number = min(number, int(ends[-1]))
    drawn = np.sort(np.random.default_rng(seed).choice(ends[-1], number, replace=False))
    cuts: Sequence[int] = np.searchsorted(drawn, ends).tolist()
    parts = [shard[drawn[a:b] - start] for shard, start, a, b in
             zip(shards, ends, cuts[:-1], cuts[1:], strict=False)]  # fmt: skip
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)


def digest(shards: Shards) -> str:
    """32 hexadecimal digits that name the vectors."""
    import xxhash

    hashed = xxhash.xxh3_128(repr([int(shard.shape[1]) for shard in shards[:1]]).encode())
    for block in blocks(shards):
        hashed.update(block.data)
    return str(hashed.hexdigest())
