"""Keys of servers that this process has started."""

from __future__ import annotations

import pytest

from craft_hf.servers.api_keys import api_key_for, forget_key, keep_key, redact


def test_a_started_server_gets_its_own_key_which_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not that of the environment; when it is gone, its address is another's."""
    monkeypatch.setenv("CRAFT_HF_API_KEY", "theirs")
    url = "http://127.0.0.1:8123/v1"
    keep_key(url, "made-up-for-it")
    assert api_key_for(url) == "made-up-for-it"
    assert api_key_for("http://127.0.0.1:8124/v1") == "theirs"
    forget_key(url)
    assert api_key_for(url) == "theirs"
    assert redact("it echoes made-up-for-it and theirs") == "it echoes <key> and <CRAFT_HF_API_KEY>"
