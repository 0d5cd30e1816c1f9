from .push import kind_of as kind_of
from .push import planned as planned
from .push import publish as publish
from .push import write_repository as write_repository
