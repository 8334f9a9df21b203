"""`retrieval-bridge`: the command line of the retrieval side."""

from __future__ import annotations

from collections.abc import Sequence

from larpo_ir.cli.engine import Commands, run

COMMANDS: Commands = {
    "index": ("index a collection's passages", "retrieval_bridge.cli.indexes:make_index", "same"),
    "search": ("search, and write a TREC run", "retrieval_bridge.cli.indexes:search", "same"),
    "rerank": ("rerank a TREC run with a cross-encoder", "retrieval_bridge.cli.indexes:rerank", "same"),
    "mine": ("mine hard negatives", "retrieval_bridge.cli.training:mine_negatives", "same"),
    "train": ("train a dense retriever with a ranking loss", "retrieval_bridge.cli.training:train", "same"),
    "train-reranker": ("train a cross-encoder", "retrieval_bridge.cli.training:train_reranker", "same"),
    "align": ("train a dense retriever by iterative mining", "retrieval_bridge.cli.training:align", "same"),
    "evaluate": ("evaluate systems or TREC runs", "retrieval_bridge.cli.evaluation:evaluate", "same"),
    "compare": ("compare ranking losses", "retrieval_bridge.cli.evaluation:compare", "same"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `retrieval-bridge`."""
    run("retrieval-bridge", COMMANDS, arguments)
