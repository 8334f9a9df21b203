"""larpo_ir: aligning a language model is training a retriever.

Names are imported on first use: `import larpo_ir` loads neither torch nor transformers nor PyTerrier. `__init__.pyi`
says where each of them lives.

    losses, objectives    ranking losses on tensors; objectives as score and loss
    data                  topics, results, candidate pool, ranked lists, samplers of negatives, files
    models                prompts and responses as tokens, log-probabilities, generators
    rewards               rerankers of responses, and judges
    training              `LarPOTrainer`
    provenance            files of an alignment run, and the record of what it was made from
    evaluation            measures, intervals and tests, diagnostics, studies
    report                a run as tables, figures and a page
    alignment             Algorithm 1
    tasks                 GSM8K, MATH, MixEval, AlpacaEval 2, the embedded task
    cli                   the command line
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
__all__ += ["__version__"]
