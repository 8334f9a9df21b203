"""Topics, results, candidates, ranked lists, and their files. Knows no models, and never imports torch.

`docs/data_model.md` says which columns each kind of frame has.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
