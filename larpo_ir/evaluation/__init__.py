"""Measures of rankings, intervals and tests, what an optimiser did to a policy, and studies of conditions and seeds."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
