"""Files that an alignment run leaves, and the record of what each output was made from.

identity, code_identity    a model, a frame, a function or a pipeline as values that JSON holds
outputs                    `config.yaml` and `FILE.config.yaml`: an output is kept, and refused if it differs
run_directory              the folder of an alignment run: the place of each of its files
saved_run                  that folder, read back
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
