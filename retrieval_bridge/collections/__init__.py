"""Test collections in whatever layout they are published: corpus, topics, qrels, answers. Loads no model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
