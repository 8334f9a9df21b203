"""`retrieval-bridge`: the command line of the retrieval side."""

from __future__ import annotations

from collections.abc import Sequence

from larpo_ir.cli.engine import Commands, run

COMMANDS: Commands = {
    "index": ("index a collection's passages", "retrieval_bridge.commands:make_index", "same"),
    "search": ("search, and write a TREC run", "retrieval_bridge.commands:search", "same"),
    "rerank": ("rerank a TREC run with a cross-encoder", "retrieval_bridge.commands:rerank", "same"),
    "mine": ("mine hard negatives", "retrieval_bridge.commands:mine_negatives", "same"),
    "train": ("train a dense retriever with a ranking loss", "retrieval_bridge.commands:train", "same"),
    "train-reranker": ("train a cross-encoder", "retrieval_bridge.commands:train_reranker", "same"),
    "align": ("train a dense retriever by iterative mining", "retrieval_bridge.commands:align", "same"),
    "evaluate": ("evaluate systems or TREC runs", "retrieval_bridge.commands:evaluate", "same"),
    "compare": ("compare ranking losses", "retrieval_bridge.commands:compare", "same"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `retrieval-bridge`."""
    run("retrieval-bridge", COMMANDS, arguments)


if __name__ == "__main__":
    main()
