"""The users of the Hub in tests of publishing."""

from __future__ import annotations

from tests.hub_server import User

ANN, READER, BOB = "hf_canaryOfAnn", "hf_canaryOfAReader", "hf_canaryOfBob"
"""Tokens."""

USERS = {ANN: User("ann", orgs=("team",)), READER: User("ann", role="read"), BOB: User("bob")}
