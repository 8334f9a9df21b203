from .config import AlignConfig as AlignConfig
from .heldout import HeldOut as HeldOut
from .loop import AlignResult as AlignResult
from .loop import align as align
from .loop import retrieve as retrieve
