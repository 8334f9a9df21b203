"""Work shared among the processes of a launch (`accelerate launch`, `torchrun`): each does a part, all get the whole.

    results = gather_shares([work(item) for item in share(items)], total=len(items))

Every process must come here with the same items. A process that was started alone does everything itself, and
nothing is initialised for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pandas as pd
    import pyterrier as pt
    import torch
    from accelerate import PartialState
    from torch import nn

T = TypeVar("T")


def share(items: Sequence[T]) -> list[T]:
    """This process's part of `items`: every n-th one, beginning at its own number.

    >>> share(["a", "b", "c"])  # one process
    ['a', 'b', 'c']
    """
    return list(items[process_index() :: num_processes()])


def gather_shares(mine: Sequence[T], total: int) -> list[T]:
    """The results of all processes in the order of the `total` items that `share` dealt out, on every process.

    They must be picklable. Raises `ValueError` when the shares do not add up to `total`.

    >>> gather_shares([1, 2, 3], total=3)  # one process
    [1, 2, 3]
    """
    world, gathered = num_processes(), gather(mine)
    if len(gathered) != total:
        raise ValueError(
            f"{world} processes returned {len(gathered)} results for {total} items: give all of them the same items"
        )
    parts, ordered = iter(gathered), list(gathered)
    for process in range(world):
        places = range(process, total, world)
        ordered[process::world] = [next(parts) for _ in places]
    return ordered


def gather(mine: Sequence[T]) -> list[T]:
    """The items of all processes, the first process's first, on every process. They must be picklable.

    >>> gather([1, 2])  # one process
    [1, 2]
    """
    if num_processes() == 1:
        return list(mine)
    from accelerate.utils import gather_object

    return list(gather_object(list(mine)))


def from_main(value: T) -> T:
    """The main process's `value` on every process, so that all decide alike. Picklable."""
    if num_processes() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    received: list[T] = broadcast_object_list([value])
    return received[0]


def is_main_process() -> bool:
    """Whether this process is the one that writes files."""
    return process_index() == 0


def wait_for_everyone() -> None:
    """Go on when all processes are here: each can then read the files that another has written."""
    state = _state()
    if state is not None:
        state.wait_for_everyone()


def leave() -> None:
    """End a launch in order, as the last thing that every process does.

    The threads of gloo must end before the interpreter does: one that still holds a tensor would abort the process.
    """
    if _has_process_group():
        from accelerate import PartialState

        PartialState().destroy_process_group()


def shared_transform(transformer: pt.Transformer, frame: pd.DataFrame) -> pd.DataFrame:
    """`transformer.transform(frame)`, the frame's queries shared among the processes; all get the whole result."""
    if num_processes() == 1:
        return transformer.transform(frame)
    import pandas as pd

    groups = [rows for _, rows in frame.groupby("qid", sort=False)]
    mine = share(groups)
    results = transformer.transform(pd.concat(mine)) if mine else frame.iloc[:0]
    of_query = dict(iter(results.groupby("qid", sort=False))) if mine else {}
    shares = [of_query.get(rows["qid"].iloc[0], frame.iloc[:0]) for rows in mine]
    return pd.concat(gather_shares(shares, len(groups)), ignore_index=True)


def is_sharded(model: nn.Module) -> bool:
    """Whether processes hold parts of one model (FSDP, ZeRO-3) and must run every forward pass together.

    Such a model cannot work on shares: they take different numbers of passes, and one process would wait forever.
    """
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.tensor import DTensor

    return any(isinstance(module, FullyShardedDataParallel) for module in model.modules()) or any(
        isinstance(parameter, DTensor) or hasattr(parameter, "ds_id") for parameter in model.parameters()
    )


def compute_device(model: nn.Module) -> torch.device:
    """The device of a model's inputs: that of its parameters, unless it is sharded and may keep them elsewhere."""
    state = _state()
    if state is not None and is_sharded(model):
        import torch

        return torch.device(state.device)
    return next(model.parameters()).device


def num_processes() -> int:
    state = _state()
    return 1 if state is None else int(state.num_processes)


def process_index() -> int:
    state = _state()
    return 0 if state is None else int(state.process_index)


def default_device() -> torch.device:
    """The device of a model that nobody placed: this process's accelerator if there is one, else the CPU."""
    from accelerate import PartialState

    device: torch.device = (_state() or PartialState()).default_device
    return device


def _state() -> PartialState | None:
    """accelerate's view of the launch; None for a process that was started alone."""
    if not _has_process_group() and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    # Not told that it runs on CPUs, accelerate takes a process that sees no accelerator for the only one.
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    return PartialState(cpu=on_cpu)


def _has_process_group() -> bool:
    """Whether processes are joined already. Without torch they are not, and torch is not imported to ask."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized()
