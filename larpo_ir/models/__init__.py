"""Language models as retrievers: prompts and responses as tokens, log π(y|x) of lists, and generators.

A generator holds its model here (`Generator`) or asks a server for it (`OpenAIGenerator`). The package imports
`larpo_ir.data` and nothing that stands above itself.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
