from .push import folder_kind as folder_kind
from .push import plan_publish as plan_publish
from .push import publish as publish
from .push import write_repository as write_repository
