"""Files of an alignment run, and the record of each output's inputs.

identity, code_identity    a model, a frame, a function or a pipeline as values that JSON holds
outputs                    `config.yaml` and `FILE.config.yaml`: records that keep or refuse an existing output
run_directory              paths of the files in the folder of an alignment run
saved_run                  that folder, read back
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
