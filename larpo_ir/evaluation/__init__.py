"""Measures of rankings, intervals and tests, diagnostics of aligned policies, and studies of conditions and seeds."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
