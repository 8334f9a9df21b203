"""retrieval_bridge: dense retrieval with the losses, samplers, candidate pool and measures of larpo_ir.

Names are imported on first use: `import retrieval_bridge` loads neither torch nor sentence-transformers nor FAISS.
`__init__.pyi` says where each of them lives.

    collections    corpus, topics and qrels, in whatever layout they are published
    retrieval      passages on disk, retrievers over them, encoders, the reranker
    training       negatives, training lists, encoders and cross-encoders, the loop
    studies        systems, and losses, side by side
    cli            the command line
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
