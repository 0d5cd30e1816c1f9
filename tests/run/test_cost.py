"""What a run will cost: the figures of the estimate are those of the run, and its pilot is not paid for twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from craft_hf.base.errors import InputError
from craft_hf.cli.main import app
from craft_hf.run.cost import estimate, estimate_as_text
from craft_hf.run.pipeline import execute
from craft_hf.run.resolution import resolve
from craft_hf.run.settings import RunSettings
from tests.writer_server import WriterServer

pytestmark = [pytest.mark.weights, pytest.mark.slow]


def test_an_estimate_comes_close_to_the_run(home: Path, server: WriterServer) -> None:
    """Half of the answers are bad: prompts, tokens and price lie within a third of what the run then takes."""
    server.bad_every, server.counts = 2, True
    run = resolve(RunSettings("bioqa", generator=server.url, num_samples=40, price_in=1, price_out=10))
    found = estimate(run, pilot=20)
    assert len(server.requests) == found.pilot_prompts == 20
    assert found.kept is not None
    assert 0 < found.kept < 1
    assert found.shared_tokens < found.prompt_tokens
    outcome = execute(run)
    usage = outcome.usage
    assert usage.answers_from_journal == 20, "the pilot was not paid for twice"
    assert usage.prompt_tokens == pytest.approx(found.prompt_tokens, rel=0.34)
    assert usage.completion_tokens == pytest.approx(found.completion_tokens, rel=0.34)
    assert run.settings.budget.spent(usage) == pytest.approx(found.cost, rel=0.34)


def test_without_a_pilot_no_model_is_asked(home: Path, server: WriterServer) -> None:
    """Tokens come from characters, time and yield are not measured."""
    found = estimate(resolve(RunSettings("bioqa", generator=server.url, num_samples=100)), pilot=0)
    assert not server.requests
    assert (found.prompts, found.kept, found.seconds, found.cost) == (100, None, None, None)
    assert 100 * 600 < found.prompt_tokens < 100 * 4000
    assert 0.5 * found.prompt_tokens < found.shared_tokens < found.prompt_tokens
    assert "not measured" in estimate_as_text(found)


def test_fewer_groups_share_more(home: Path, server: WriterServer) -> None:
    """The shared part falls from one group over eight to few-shots drawn for every prompt."""
    asked = RunSettings("bioqa", generator=server.url, num_samples=60)
    found = [estimate(resolve(replace(asked, prefix_groups=groups)), 0) for groups in (1, 8, "per-prompt")]
    shared = [one.shared_tokens / one.prompt_tokens for one in found]
    assert shared[0] > shared[1] > 3 * shared[2]


def test_warnings_before_the_run(home: Path, server: WriterServer) -> None:
    """A hopeless model, an index that is too small, and a budget that will not do are said."""
    server.bad_every = 1
    run = resolve(replace(RunSettings("bioqa", generator=server.url, num_samples=80, max_budget=1000), concurrency=2))
    said = estimate_as_text(estimate(run, pilot=4))
    assert "The checks kept no answer of the pilot" in said
    assert "The index has only" in said
    assert "max_budget of 1,000 tokens will end the run before it has 80 samples" in said
    assert "All answers of the pilot came from the journal" in estimate_as_text(estimate(run, pilot=4))
    with pytest.raises(InputError, match="pilot is -1"):
        estimate(run, -1)


def test_the_command_prints_it(home: Path, server: WriterServer) -> None:
    """As text and as JSON."""
    asked = ["estimate", "bioqa", "--generator", server.url, "--num-samples", "20", "--pilot", "4", "--price-in", "2"]
    text = CliRunner().invoke(app, asked).stdout
    assert "prompts             20 (kept in the pilot: 100%)" in text
    assert "measured on         4 prompts" in text
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert found["prompts"] == 20
    assert found["cost"] == pytest.approx(2e-6 * found["prompt_tokens"], rel=0.01)
