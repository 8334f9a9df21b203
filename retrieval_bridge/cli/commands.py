"""What the subcommands of `retrieval-bridge` do. Their options are these functions' arguments, see `larpo_ir.cli`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.lists import read_lists
from larpo_ir.data.topics import read_topics
from larpo_ir.data.trec import read_results, write_run
from larpo_ir.evaluation.tables import markdown_table
from larpo_ir.losses import available_losses, get_loss
from larpo_ir.models.distributed import is_main_process
from larpo_ir.provenance.identity import identity
from larpo_ir.provenance.outputs import is_made, record_made
from retrieval_bridge.collections.formats import Collection, load_collection
from retrieval_bridge.retrieval.embeddings import replacing
from retrieval_bridge.retrieval.encoders import Encoder
from retrieval_bridge.retrieval.measures import LEAST, digest_of
from retrieval_bridge.retrieval.passages import Passages, passages_of, written_whole
from retrieval_bridge.retrieval.reranker import CrossEncoderReranker, train_cross_encoder
from retrieval_bridge.retrieval.systems import made_of, system, weights_of
from retrieval_bridge.studies.comparisons import (
    COMPARED_ON,
    TRAINING,
    WEAK,
    compare,
    evaluate,
    known_results,
    system_condition,
    tag_of,
)
from retrieval_bridge.training.bi_encoder import train_retriever
from retrieval_bridge.training.iterate import IterativeConfig, align_retriever
from retrieval_bridge.training.lists import ListConfig
from retrieval_bridge.training.mining import JUDGED, write_negatives

__all__ = [
    "COMPARED_ON", "TRAINING", "WEAK", "align", "compare", "evaluate", "make_index", "mine_negatives", "rerank",
    "search", "system_condition", "train", "train_reranker",
]  # fmt: skip


def make_index(
    collection: str, index: str, systems: list[str] | None = None, options: dict[str, Any] | None = None
) -> None:
    """Index a collection's passages.

    Args:
        collection: a folder (BEIR, DPR, Tevatron, TREC) or an ir_datasets id
        index: root folder of the indexes; the passages lie there once, beside every index
        systems: what to index for: bm25 (the default), pyserini, and encoders (minilm, a folder, a name on the hub)
        options: of the system: k1, b; or index (a FAISS factory string), query_prefix, passage_prefix, shard_size, …
    """
    passages = passages_of(load_collection(collection), index)
    without = f" ({passages.empty} without text)" if passages.empty else ""
    print(f"{len(passages)} passages{without}: {passages.directory}")
    for name in systems or ["bm25"]:
        made: Any = system(name, passages, index, options)
        print(f"{name}: {made.directory}")


def search(
    collection: str,
    output: str,
    system_name: str = "bm25",
    split: str | None = None,
    topics: str | None = None,
    index: str | None = None,
    depth: int = LEAST,
    options: dict[str, Any] | None = None,
) -> None:
    """Search, and write a TREC run.

    Args:
        collection: a folder or an ir_datasets id
        output: where the run goes; what it was made from goes beside it
        system_name: what searches: bm25, pyserini, an encoder, or a pipeline like "bm25 % 100 >> FOLDER"
        split: which of the collection's topics
        topics: instead of a split: a file of topics, JSON Lines or Parquet with qid and query
        index: root folder of the indexes, made there unless they are; without it they are made for this search
        depth: results per query
        options: of the system, as for index
    """
    loaded = load_collection(collection)
    asked = loaded.topics(split) if topics is None else read_topics(topics)
    passages = passages_of(loaded, index)
    settings = {
        "command": "search", "passages": passages.fingerprint, "topics": identity(asked), "system": system_name,
        "made_of": made_of(system_name), "depth": depth, "options": options,
    }  # fmt: skip
    if is_made(output, settings):
        return
    results = (system(system_name, passages, index, options) % depth).transform(asked)
    record_made(output, settings)
    _report_run(results, asked, write_run(results, output, tag_of(system_name)))


def rerank(
    collection: str, results: str, model: str, output: str, split: str | None = None, depth: int = LEAST
) -> None:
    """Rerank a TREC run with a cross-encoder.

    Args:
        collection: a folder or an ir_datasets id: where texts and topics are
        results: a TREC run
        model: a cross-encoder, a folder or a name on the hub
        output: where the reranked run goes
        split: which of the collection's topics
        depth: rerank so many results of each query
    """
    loaded = load_collection(collection)
    topics = loaded.topics(split)
    rows = known_results(read_results(results), topics, results)
    rows = rows[rows["rank"] < depth].merge(topics, on="qid")
    passages = passages_of(loaded)
    texts = passages.frame(passages.places_of(rows["docno"])).drop(columns="docno")
    settings = {
        "command": "rerank", "passages": passages.fingerprint, "topics": identity(topics),
        "results": identity(rows[["qid", "docno", "rank"]]), "model": weights_of(model, reranks=True), "depth": depth,
    }  # fmt: skip
    if is_made(output, settings):
        return
    reranked = CrossEncoderReranker(model).transform(pd.concat([rows.reset_index(drop=True), texts], axis=1))
    record_made(output, settings)
    _report_run(reranked, topics, write_run(reranked, output, tag_of(model)))


def mine_negatives(
    collection: str,
    output: str,
    lists: ListConfig,
    split: str = "train",
    index: str | None = None,
    training_lists: str | None = None,
    seed: int = 0,
) -> None:
    """Mine negatives, and write them; what is there already is kept, if it was made from the same.

    Args:
        collection: a folder or an ir_datasets id
        output: where the negatives go: .tsv, .jsonl, or a TREC run
        lists: what is mined, left out and graded
        split: which of the collection's topics
        index: root folder of the indexes, made there unless they are
        training_lists: also choose lists from them and write those as JSON Lines (prompt, completions, scores)
        seed: of the choice
    """
    loaded = load_collection(collection)
    passages = passages_of(loaded, index)
    settings = {"command": "mine", **_mined_from(loaded, passages, lists, split, seed)}
    outputs = [output] if training_lists is None else [output, training_lists]
    missing = [path for path in outputs if not is_made(path, settings)]
    if not missing:
        return
    candidates = lists.candidates(loaded, passages, split, index, seed)
    for path in missing:
        record_made(path, settings)
    if output in missing:
        negatives = candidates[(candidates["label"] < 1) & (candidates["source"] != JUDGED)]
        negatives = negatives.assign(score=-negatives["source_rank"].astype(float))
        where = write_negatives(negatives, output)
        print(f"{len(negatives)} negatives of {negatives['qid'].nunique()} topics: {where}")
    if training_lists in missing:
        chosen = lists.lists(candidates, seed)
        with replacing(Path(str(training_lists))) as writing:
            chosen.to_json(writing, force_ascii=False)
        print(f"{len(chosen)} training lists: {training_lists}")


def _mined_from(
    collection: Collection, passages: Passages, lists: ListConfig, split: str, seed: int
) -> dict[str, Any]:
    """What mined lists depend on."""
    own = {"negatives": identity(collection.negatives(split))} if "collection" in lists.sources else {}
    return {
        "passages": passages.fingerprint, "topics": digest_of(collection, split), **own,
        "lists": lists.settings(), "split": split, "seed": seed,
    }  # fmt: skip


def train(
    collection: str,
    output: str,
    lists: ListConfig,
    encoder: str = "minilm",
    loss: str = "contrastive",
    temperature: float = 0.05,
    reference: str | None = None,
    beta: float = 1.0,
    in_batch: bool = False,
    training_lists: str | None = None,
    split: str = "train",
    index: str | None = None,
    training: dict[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Train a dense retriever with a ranking loss.

    Args:
        collection: a folder or an ir_datasets id
        output: where the encoder goes; what it was made from goes beside it
        lists: what is mined, left out and graded
        encoder: where to start: minilm, static-minilm, a folder, a name on the hub
        loss: any loss that larpo-ir losses prints
        temperature: τ in s = sim/τ
        reference: train LarPO's implicit reward against this encoder; start is the one to start from
        beta: β of the implicit reward
        in_batch: the passages of the batch's other lists are negatives too
        training_lists: a file of ranked lists, instead of mining
        split: which of the collection's topics to learn from
        index: root folder of the indexes, made there unless they are
        training: arguments of SentenceTransformerTrainingArguments
        seed: of lists and training
    """
    begin = Encoder(encoder)
    chosen, lists_from = _training_lists(collection, lists, training_lists, split, index, seed)
    settings = {
        "command": "train", "encoder": begin.fingerprint, "lists": lists_from, "loss": identity(get_loss(loss)),
        "temperature": temperature, "reference": reference, "beta": beta, "in_batch": in_batch, "seed": seed,
        "training": training,
    }  # fmt: skip
    if reference not in (None, "start"):
        settings["reference_weights"] = Encoder(str(reference)).fingerprint
    if is_made(output, settings):
        return
    trained = train_retriever(
        begin,
        chosen(),
        loss,
        temperature,
        reference,
        beta=beta,
        in_batch=in_batch,
        seed=seed,
        **_extra(training),
    )
    if is_main_process():
        record_made(output, settings)
        with written_whole(output) as filling:
            trained.save(filling)
    print(f"encoder, trained on {len(chosen())} lists: {output}")


def train_reranker(
    collection: str,
    output: str,
    lists: ListConfig,
    model: str = "minilm",
    loss: str = "binary",
    training_lists: str | None = None,
    split: str = "train",
    index: str | None = None,
    training: dict[str, Any] | None = None,
    seed: int = 0,
) -> None:
    """Train a cross-encoder, the reward model of the retrieval side.

    Args:
        collection: a folder or an ir_datasets id
        output: where the cross-encoder goes; what it was made from goes beside it
        lists: what is mined, left out and graded
        model: where to start: minilm, a folder, a name on the hub
        loss: binary, a listwise loss of sentence-transformers, or a loss that larpo-ir losses prints
        training_lists: a file of ranked lists, instead of mining
        split: which of the collection's topics to learn from
        index: root folder of the indexes, made there unless they are
        training: further arguments of retrieval_bridge.retrieval.reranker.train_cross_encoder
        seed: of lists and training
    """
    chosen, lists_from = _training_lists(collection, lists, training_lists, split, index, seed)
    settings = {
        "command": "train-reranker", "model": weights_of(model, reranks=True), "lists": lists_from,
        "loss": identity(get_loss(loss)) if loss in available_losses() else loss, "seed": seed, "training": training,
    }  # fmt: skip
    if is_made(output, settings):
        return
    trained = train_cross_encoder(model, chosen(), loss=loss, seed=seed, **_extra(training))
    if is_main_process():
        record_made(output, settings)
        with written_whole(output) as filling:
            trained.save_pretrained(str(filling))
    print(f"cross-encoder, trained on {len(chosen())} lists: {output}")


def align(
    collection: str,
    retriever: IterativeConfig,
    lists: ListConfig,
    encoder: str = "minilm",
    split: str = "train",
    evaluate: str = "dev",
) -> None:
    """Train a dense retriever by iterative mining with memory: LarPO's loop.

    Args:
        collection: a folder or an ir_datasets id
        retriever: settings of the loop
        lists: what is left out and graded (filters and grades alone)
        encoder: where to start
        split: topics to learn from
        evaluate: topics to measure on
    """
    judges = lists.judges()
    result = align_retriever(
        encoder, load_collection(collection), retriever, train=split, evaluate=evaluate, judges=judges
    )
    print(markdown_table(result.summary), end="")
    print(f"written: {result.output_dir}")


def _extra(training: dict[str, Any] | None) -> dict[str, Any]:
    """Training arguments that are no options of the command."""
    taken = {"seed", "loss", "temperature", "reference", "beta", "in_batch"} & set(training or {})
    if taken:
        raise ValueError(f"training has {', '.join(sorted(taken))}; give --{sorted(taken)[0]} instead")
    return training or {}


def _training_lists(
    collection: str, lists: ListConfig, path: str | None, split: str, index: str | None, seed: int
) -> tuple[Callable[[], Any], Any]:
    """Training lists, read or mined when they are asked for, and what they are made from."""
    if path is not None:
        given = read_lists(path)
        return lambda: given, identity(given)
    loaded = load_collection(collection)
    passages = passages_of(loaded, index)

    @cache
    def mined() -> Any:
        return lists.lists(lists.candidates(loaded, passages, split, index, seed), seed)

    return mined, _mined_from(loaded, passages, lists, split, seed)


def _report_run(results: pd.DataFrame, topics: pd.DataFrame, path: Path) -> None:
    print(f"{len(results)} results of {results['qid'].nunique()} of {len(topics)} topics: {path}")
