from . import alpaca_eval as alpaca_eval
from . import gsm8k as gsm8k
from . import math as math
from . import mixeval as mixeval
from .table import TASKS as TASKS
from .table import Task as Task
from .table import evaluate_task as evaluate_task
from .table import get_task as get_task
