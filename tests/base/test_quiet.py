"""Notices of other libraries do not reach the screen; our own words and other warnings do."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from craft_hf.base.quiet import quiet_libraries, quiet_loading

BITSANDBYTES = "bitsandbytes.backends.cpu.ops"
DEPRECATED = "`is_gradient_checkpointing` is deprecated and will be removed in v6."
NOTICE = "Failed to load CPU gemm_4bit_forward from kernels-community: %s."


def stderr_of(code: str) -> str:
    """Run a program and return what it writes to stderr, without our own words on what goes on."""
    environment = os.environ | {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.weights
def test_embedding_says_nothing() -> None:
    """Importing sentence-transformers, and all that it imports, and loading weights leaves the screen as it was."""
    assert stderr_of("from craft_hf.base import Embedder; Embedder().encode(['a text'])") == ""


@pytest.mark.long
def test_optional_packages_are_imported_quietly() -> None:
    """peft imports bitsandbytes, which misses a package on CPUs with AVX-512."""
    pytest.importorskip("bitsandbytes")
    assert stderr_of("from craft_hf.base import require; require('peft', 'train')") == ""
    if "kernels" not in stderr_of("import peft"):
        pytest.skip("bitsandbytes misses nothing on this CPU")


@pytest.mark.long
def test_conversion_of_the_embedded_generator_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the bar of GGUF tensors, nor those of weights read and written."""
    monkeypatch.setenv("CRAFT_HF_HOME", str(tmp_path))
    assert stderr_of("from craft_hf.base import generator_weights; generator_weights()") == ""
    assert len(list(tmp_path.glob("models/*/config.json"))) == 1


def test_only_known_notices_are_kept_back(caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder) -> None:
    """Other messages of the same logger, and other warnings, are shown, and so is everything afterwards."""
    logger = logging.getLogger(BITSANDBYTES)
    with quiet_libraries():
        logger.warning(NOTICE, "No module named 'kernels'")
        logger.warning("The library does not work at all")
        warnings.warn(DEPRECATED, FutureWarning, stacklevel=1)
        warnings.warn("`is_gradient_checkpointing` has no effect", UserWarning, stacklevel=1)
    logger.warning(NOTICE, "afterwards")
    warnings.warn(DEPRECATED, FutureWarning, stacklevel=1)
    shown = ["`is_gradient_checkpointing` has no effect", DEPRECATED]
    assert [str(warning.message) for warning in recwarn] == shown
    assert [record.getMessage() for record in caplog.records] == [
        "The library does not work at all",
        "Failed to load CPU gemm_4bit_forward from kernels-community: afterwards.",
    ]


@pytest.mark.parametrize("downloads_are_shown", [True, False])
@pytest.mark.parametrize("weights_are_shown", [True, False])
def test_bars_are_off_while_weights_are_loaded(downloads_are_shown: bool, weights_are_shown: bool) -> None:
    """Bars of downloads are as they were, and afterwards all are."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers import logging as bars

    before = bars.is_progress_bar_enabled(), are_progress_bars_disabled()
    try:
        (bars.enable_progress_bar if weights_are_shown else bars.disable_progress_bar)()
        (enable_progress_bars if downloads_are_shown else disable_progress_bars)()
        with quiet_loading():
            assert not bars.is_progress_bar_enabled()
            assert are_progress_bars_disabled() is not downloads_are_shown
        assert bars.is_progress_bar_enabled() is weights_are_shown
        assert are_progress_bars_disabled() is not downloads_are_shown
    finally:
        (bars.enable_progress_bar if before[0] else bars.disable_progress_bar)()
        (disable_progress_bars if before[1] else enable_progress_bars)()
