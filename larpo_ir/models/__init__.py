"""Language models as retrievers: prompts and responses as tokens, log π(y|x) of lists, generators here and behind HTTP."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
