"""Training a policy on ranked lists: `LarPOTrainer`, its batches, and log-probabilities of the reference."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
