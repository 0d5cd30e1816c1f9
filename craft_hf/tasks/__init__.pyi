from .task import NAMES as NAMES
from .task import Task as Task
from .task import load_task as load_task
