"""Negatives, training lists, and the training of encoders and cross-encoders, once or in a loop."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
