"""A Hub for each module of tests, and the caches of its client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import HubServer, serving_hub
from tests.publishing.users import USERS


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """A Hub with three users."""
    with serving_hub(USERS) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's caches."""
    return tmp_path_factory.mktemp("home")
