"""BM25 by both backends, a pretrained encoder, and BM25 reranked by a cross-encoder that is trained here."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from larpo_ir.data.files import whole_folder
from larpo_ir.evaluation.studies import Study, study
from larpo_ir.provenance.outputs import made_already, record_made
from retrieval_bridge.collections.collection import Collection, digest_of
from retrieval_bridge.retrieval.measures import MEASURES
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.systems import made_of, weights_of
from retrieval_bridge.studies.systems import system_condition
from retrieval_bridge.training.cross_encoder import train_cross_encoder
from retrieval_bridge.training.lists import ListConfig

RERANKED = 50  # passages of BM25 that the cross-encoder reads
LISTS = ListConfig(sources=["bm25"], depth=30, num_negatives=4, without_answers=True)
# Chosen on 200 of the training questions, held out: see docs/nq.md.
TRAINING: dict[str, Any] = {
    "loss": "contrastive", "learning_rate": 2e-4, "learning_rate_mapping": {"classifier": 1e-3}, "max_length": 112,
    "bf16": True,
}  # fmt: skip


def measure_systems(
    collection: Collection, passages: Passages, index: Path, output: Path, split: str = "dev"
) -> Study:
    """Measures of each system on a split; the cross-encoder is trained on `train` unless it exists."""
    reranker = output.parent / "cross-encoder"
    of_reranker = {
        "passages": passages.fingerprint, "topics": digest_of(collection, "train"), "lists": LISTS.settings(),
        "start": weights_of("minilm", reranks=True), "training": TRAINING,
    }  # fmt: skip
    if not made_already(reranker, of_reranker):
        start = time.monotonic()
        lists = LISTS.lists(LISTS.candidates(collection, passages, "train", index))
        trained = train_cross_encoder("minilm", lists, disable_tqdm=True, **TRAINING)
        record_made(reranker, of_reranker)
        with whole_folder(reranker) as filling:
            trained.save_pretrained(str(filling))
        minutes = (time.monotonic() - start) / 60
        print(f"cross-encoder trained on {len(lists)} lists in {minutes:.1f} min", flush=True)
    expressions = {
        "BM25 (bm25s)": "bm25",
        "BM25 (Lucene, Pyserini)": "pyserini",
        "averaged word embeddings (static-minilm)": "static-minilm",
        "all-MiniLM-L6-v2": "minilm",
        f"BM25 (bm25s) % {RERANKED} >> cross-encoder": f"bm25 % {RERANKED} >> {reranker}",
    }
    if find_spec("pyserini") is None:
        print("BM25 by Lucene: not measured, pip install 'larpo_ir[pyserini]'", flush=True)
        del expressions["BM25 (Lucene, Pyserini)"]
    topics, qrels = collection.topics(split), collection.qrels(split)
    conditions = {
        name: system_condition(expression, collection, topics, qrels, MEASURES, str(index), None)
        for name, expression in expressions.items()
    }
    settings = {
        "passages": passages.fingerprint, "topics": digest_of(collection, split), "split": split,
        "measures": list(MEASURES),
    }  # fmt: skip
    return study(
        "system", conditions, output, seeds=1, settings=settings,
        made_of={name: sorted(made_of(expression).values()) for name, expression in expressions.items()},
        note=f"{len(passages)} passages, {len(topics)} topics of {split}; mean and 95 % bootstrap interval.\n",
    )  # fmt: skip
