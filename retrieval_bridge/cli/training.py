"""The commands `mine`, `train`, `train-reranker` and `align`. Their options are the arguments of these functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_bridge.training.config import IterativeConfig
from retrieval_bridge.training.lists import ListConfig

if TYPE_CHECKING:
    from datasets import Dataset

    from retrieval_bridge.collections.collection import Collection
    from retrieval_bridge.retrieval.passages import Passages


def mine_negatives(
    collection: str,
    output: str,
    lists: ListConfig,
    split: str = "train",
    index: str | None = None,
    training_lists: str | None = None,
    seed: int = 0,
) -> None:
    """Mine negatives, and write them; files that are there already are kept, if they were made from the same.

    Args:
        collection: a folder or an ir_datasets id
        output: file of the negatives: .tsv, .jsonl, or a TREC run
        lists: how lists are mined, filtered, graded and chosen
        split: which of the collection's topics
        index: root folder of the indexes, made there unless they are
        training_lists: also choose lists from them and write those as JSON Lines (prompt, completions, relevance)
        seed: of the choice
    """
    from larpo_ir.data.files import whole_file
    from larpo_ir.provenance.outputs import is_made, record_made
    from retrieval_bridge.collections import load_collection
    from retrieval_bridge.retrieval.collection_passages import passages_of
    from retrieval_bridge.training.mining import JUDGED
    from retrieval_bridge.training.negative_files import write_negatives

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
        with whole_file(str(training_lists)) as writing:
            chosen.to_json(writing, force_ascii=False)
        print(f"{len(chosen)} training lists: {training_lists}")


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
        output: folder of the encoder; a record of what it was made from goes beside it
        lists: how lists are mined, filtered, graded and chosen
        encoder: the start: minilm, static-minilm, a folder, a name on the hub
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
    from larpo_ir.losses import get_loss
    from larpo_ir.provenance.identity import identity
    from larpo_ir.provenance.outputs import is_made
    from retrieval_bridge.retrieval.encoders import Encoder
    from retrieval_bridge.training.bi_encoder import train_retriever

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
    _save("encoder", trained.save, output, settings, len(chosen()))


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
        output: folder of the cross-encoder; a record of what it was made from goes beside it
        lists: how lists are mined, filtered, graded and chosen
        model: the start: minilm, a folder, a name on the hub
        loss: binary, a listwise loss of sentence-transformers, or a loss that larpo-ir losses prints
        training_lists: a file of ranked lists, instead of mining
        split: which of the collection's topics to learn from
        index: root folder of the indexes, made there unless they are
        training: further arguments of retrieval_bridge.train_cross_encoder
        seed: of lists and training
    """
    from larpo_ir.losses import available_losses, get_loss
    from larpo_ir.provenance.identity import identity
    from larpo_ir.provenance.outputs import is_made
    from retrieval_bridge.retrieval.systems import weights_of
    from retrieval_bridge.training.cross_encoder import train_cross_encoder

    chosen, lists_from = _training_lists(collection, lists, training_lists, split, index, seed)
    settings = {
        "command": "train-reranker", "model": weights_of(model, reranks=True), "lists": lists_from,
        "loss": identity(get_loss(loss)) if loss in available_losses() else loss, "seed": seed, "training": training,
    }  # fmt: skip
    if is_made(output, settings):
        return
    trained = train_cross_encoder(model, chosen(), loss=loss, seed=seed, **_extra(training))
    _save(
        "cross-encoder",
        lambda filling: trained.save_pretrained(str(filling)),
        output,
        settings,
        len(chosen()),
    )


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
        lists: how candidates are filtered and graded; nothing else of it is used
        encoder: the start
        split: topics to learn from
        evaluate: topics to measure on
    """
    from larpo_ir.evaluation.tables import markdown_table
    from retrieval_bridge.collections import load_collection
    from retrieval_bridge.training.iterate import align_retriever

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
) -> tuple[Callable[[], Dataset], Any]:
    """Training lists, read or mined when they are asked for, and a description of their origin."""
    from larpo_ir.data.lists import read_lists
    from larpo_ir.provenance.identity import identity
    from retrieval_bridge.collections import load_collection
    from retrieval_bridge.retrieval.collection_passages import passages_of

    if path is not None:
        given = read_lists(path)
        return lambda: given, identity(given)
    loaded = load_collection(collection)
    passages = passages_of(loaded, index)

    @cache
    def mined() -> Dataset:
        return lists.lists(lists.candidates(loaded, passages, split, index, seed), seed)

    return mined, _mined_from(loaded, passages, lists, split, seed)


def _mined_from(
    collection: Collection, passages: Passages, lists: ListConfig, split: str, seed: int
) -> dict[str, Any]:
    """Everything that mined lists depend on."""
    from larpo_ir.provenance.identity import identity
    from retrieval_bridge.collections.collection import digest_of

    own = {"negatives": identity(collection.negatives(split))} if "collection" in lists.sources else {}
    return {
        "passages": passages.fingerprint, "topics": digest_of(collection, split), **own,
        "lists": lists.settings(), "split": split, "seed": seed,
    }  # fmt: skip


def _save(
    kind: str, save: Callable[[Path], object], output: str, settings: Mapping[str, Any], num_lists: int
) -> None:
    """Write a trained model and the record of what it was made from, and say so."""
    from larpo_ir.data.files import whole_folder
    from larpo_ir.models.distributed import is_main_process
    from larpo_ir.provenance.outputs import record_made

    if is_main_process():
        record_made(output, settings)
        with whole_folder(output) as filling:
            save(filling)
    print(f"{kind}, trained on {num_lists} lists: {output}")
