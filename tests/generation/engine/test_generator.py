"""Engines that are started: their GPUs, deaths and ends, by a stand-in that is a real process with a real port."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from craft_hf.base.errors import GeneratorError
from craft_hf.base.records import FAILED, Answer
from craft_hf.generation.engine import replica
from craft_hf.generation.engine.generator import EngineGenerator, _Asked, running_engines
from craft_hf.generation.engine.options import EngineOptions
from craft_hf.generation.engine.process import EngineProcess
from craft_hf.generation.generator import Sampling
from craft_hf.generation.journal import Journal
from craft_hf.generation.journaled import ask
from craft_hf.generation.usage import Usage
from tests import ROOT
from tests.generation.engine.conftest import Lives, command, is_running
from tests.openai_server import FakeServer, error, serving
from tests.server_client import SCHEMA, prompts, until

Make = Callable[..., EngineGenerator]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that a stand-in needs none of are short."""
    monkeypatch.setattr(replica, "PAUSE_S", 0.05)
    monkeypatch.setattr(replica, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("craft_hf.generation.engine.generator.NOTICED_S", 2.0)


def answers(generator: EngineGenerator, count: int = 1, few_shots: int = 1) -> Counter[str]:
    """How often each of so many prompts was answered; what is yielded was told before."""
    told, found = Counter[str](), Counter[str]()
    asked = generator.generate(
        prompts(count, few_shots), SCHEMA, Sampling(), on_answer=lambda prompt, answer: told.update([prompt.key])
    )
    for prompt, answer in asked:
        assert answer.is_answer, answer.error
        found[prompt.key] += 1
    assert told == found
    return found


def logs(home: Path) -> str:
    """All that engines have printed."""
    return "".join(file.read_text() for file in sorted(home.rglob("engine-*.log")))


def test_it_is_started_asked_and_ended(make: Make, lives: Lives, home: Path) -> None:
    """One engine for a call, on loopback, with a key of its own that no log, no command line and no error holds."""
    assert answers(make("--children"), 5) == Counter({f"key{i}": 1 for i in range(5)})
    (life,) = lives.all
    key = life["variables"]["CRAFT_HF_ENGINE_KEY"]
    assert len(key) > 30
    assert key not in " ".join(life["arguments"])
    assert key not in logs(home)
    assert "my key is <key>" in logs(home)
    assert len(life["children"]) == 2
    assert lives.nothing_left()


def test_a_key_in_a_template_is_not_in_the_log(make: Make, lives: Lives, home: Path) -> None:
    """An engine that takes its key as an argument prints it with the others."""
    answers(make("--api-key", "{key}"))
    (life,) = lives.all
    key = life["variables"]["CRAFT_HF_ENGINE_KEY"]
    assert life["arguments"][-1] == key
    assert "--api-key <key>" in logs(home)
    assert key not in logs(home)


def test_engines_get_neither_our_keys_nor_our_packages(
    make: Make, lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of another server is none of its business, and it has packages of its own."""
    for name in ("CRAFT_HF_API_KEY", "OPENAI_API_KEY", "PYTHONPATH"):
        monkeypatch.setenv(name, "mine")
    answers(make())
    assert "mine" not in lives.all[0]["variables"].values()


def test_each_group_of_gpus_has_an_engine_and_one_that_dies_is_started_again(
    make: Make, lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups of two; what was in flight at the death is asked again, and each prompt is answered once."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-6,7,8")
    generator, killed = make("--delay-s", 0.05, tensor_parallel=2, concurrency=4), list[int]()

    def on_answer(*_: object) -> None:
        if not killed:
            killed.append(lives.all[0]["pid"])
            os.kill(killed[0], signal.SIGKILL)

    with running_engines(lives.file.parent, generator):
        found = [p.key for p, _ in generator.generate(prompts(40, 4), SCHEMA, Sampling(), on_answer=on_answer)]
        until(lambda: len(lives.all) == 3, 60)
    assert sorted(found) == sorted({prompt.key for prompt in prompts(40)})
    visible = [life["variables"]["CUDA_VISIBLE_DEVICES"] for life in lives.all]
    assert sorted(visible[:2]) == ["4,5", "GPU-6,7"]
    assert visible[2] == visible[0]
    assert lives.all[2]["port"] == lives.all[0]["port"]
    assert lives.nothing_left()


@pytest.mark.parametrize(("retries", "sleeps"), [(4, 0), (0, 1)])
def test_what_was_in_flight_at_a_death_is_asked_again(make: Make, lives: Lives, retries: int, sleeps: float) -> None:
    """One engine that dies after every third answer, and is back before requests are given up, or after."""
    generator = make("--answers", 3, "--sleeps", sleeps, concurrency=2, max_retries=retries)
    assert answers(generator, 7) == Counter({f"key{i}": 1 for i in range(7)})
    assert len(lives.all) == 3
    assert len({life["port"] for life in lives.all}) == 1
    assert len({life["variables"]["CRAFT_HF_ENGINE_KEY"] for life in lives.all}) == 1


def test_a_prompt_that_failed_while_an_engine_died_is_asked_again() -> None:
    """Twice; one that fails again and again, or while none died, is a prompt without an answer."""
    engines, told = SimpleNamespace(deaths=0), list[str]()
    engines.has_died_since = lambda deaths: engines.deaths > deaths
    (prompt,) = prompts(1)
    asked = _Asked([prompt], lambda _, answer: told.append(answer.finish_reason))
    for died in (1, 1, 1, 0):
        asked.begin(cast(Any, engines))
        engines.deaths += died
        asked.take(prompt, Answer("", FAILED, error="HTTP status 500"))
        assert asked.must_repeat is not asked.has_taken(prompt)
    assert told == [FAILED, FAILED]
    other = _Asked([prompt], lambda _, answer: told.append(answer.finish_reason))
    other.begin(cast(Any, engines))
    engines.deaths += 1
    other.take(prompt, Answer("a", "stop"))
    assert told[-1] == "stop"


@pytest.mark.parametrize(("retries", "concurrency", "count"), [(4, 4, 6), (0, 1, 6), (4, 1, 1)])
def test_a_prompt_that_kills_the_engine_does_not_end_the_run(
    make: Make, lives: Lives, retries: int, concurrency: int, count: int
) -> None:
    """It is asked beside others, then alone, and then has no answer; all others have theirs, each once."""
    asked = prompts(count)
    words = asked[0].messages[-1]["content"]
    generator = make("--poison", words, concurrency=concurrency, max_retries=retries)
    found, told = list[tuple[str, bool]](), Counter[str]()
    for prompt, answer in generator.generate(
        asked, SCHEMA, Sampling(), on_answer=lambda prompt, _: told.update([prompt.key])
    ):
        found.append((prompt.key, answer.is_answer))
        assert answer.is_answer or answer.finish_reason == FAILED
    assert dict(found) == {prompt.key: prompt.key != asked[0].key for prompt in asked}
    assert told == Counter(key for key, _ in found) == Counter(prompt.key for prompt in asked)
    assert lives.nothing_left()


def test_three_deaths_without_an_answer_end_the_run(make: Make, lives: Lives, home: Path) -> None:
    """The error has the engine's last words and the place of its log, but not its key; answers before it are kept."""
    generator = make("--answers", 0, "--says", "Error: the GPU fell off the bus")
    asked = generator.generate(prompts(4), SCHEMA, Sampling())
    with pytest.raises(GeneratorError, match="died 3 times without an answer in between") as e:
        assert [answer.finish_reason for _, answer in asked] == [FAILED, FAILED]
    assert "was killed by signal 9" in str(e.value)
    assert "  | Error: the GPU fell off the bus" in str(e.value)
    assert str(next(home.rglob("engine-1.log"))) in str(e.value)
    assert lives.all[0]["variables"]["CRAFT_HF_ENGINE_KEY"] not in str(e.value)
    assert len(lives.all) == 7, "twice for all prompts, twice for each of two alone, and once more"
    assert lives.nothing_left()


def test_one_that_does_not_start_is_not_tried_again(make: Make, lives: Lives) -> None:
    """Its own last words are the error, with the first line that names one."""
    says = "WARNING: OSError: too few files\nValueError: No available memory for the cache blocks.\n" + "\n".join(
        f"shutdown {i}" for i in range(30)
    )
    with pytest.raises(GeneratorError, match="ended with exit status 3") as e:
        answers(make("--ends", 3, "--says", says))
    assert "  | ValueError: No available memory for the cache blocks.\n  | ...\n  | shutdown 18" in str(e.value)
    assert len(lives.all) == 1


def test_one_that_never_gets_ready_is_ended(make: Make, lives: Lives) -> None:
    """After the time-out, with what it printed."""
    with pytest.raises(GeneratorError, match=r"was not ready within 2 s \(engine_timeout_s\)") as e:
        answers(make("--sleeps", 600, "--says", "Loading weights: 1%", start_s=2))
    assert "Loading weights: 1%" in str(e.value)
    assert lives.nothing_left()


def test_one_that_refuses_the_first_token_is_ended(make: Make, lives: Lives) -> None:
    """It lists its model, but has no chat template."""
    with pytest.raises(GeneratorError, match=r"gives no token: .*HTTP status 400.*there is no chat template"):
        answers(make("--refuses"))
    assert lives.nothing_left()


def test_a_program_that_is_not_there_is_told(make: Make, model: Path) -> None:
    """As its system says it."""
    options = EngineOptions("no-such-engine {model} {port}")
    with pytest.raises(GeneratorError, match=r"could not be started \(No such file or directory\)"):
        answers(EngineGenerator(f"engine:{model}", options))


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_port_that_somebody_takes_is_left_to_them(
    make: Make, lives: Lives, monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    """Another server has it, or gets it while the engine loads: the engine gets another one, the stranger no prompt."""
    with serving(FakeServer(model_replies=[error(503, "busy")] * 99)) as stranger:
        ports = iter([int(stranger.url.rpartition(":")[2])])
        chosen, listens, looks = replica.free_port, replica.is_listening, iter([is_seen])
        monkeypatch.setattr(replica, "free_port", lambda: next(ports, None) or chosen())
        monkeypatch.setattr(replica, "is_listening", lambda port: next(looks, True) and listens(port))
        assert answers(make(), 3).total() == 3
    assert len(lives.all) == 2 - is_seen
    assert not stranger.requests
    assert not (is_seen and stranger.keys)


def test_engines_live_as_long_as_the_block(make: Make, lives: Lives, tmp_path: Path) -> None:
    """Rounds of a run ask the same one; its log is where the run says."""
    generator = make()
    with running_engines(tmp_path / "my run.engine", generator, None):
        assert answers(generator, 2).total() == answers(generator, 3).total() - 1 == 2
        assert not lives.nothing_left()
    assert len(lives.all) == 1
    assert lives.nothing_left()
    assert (tmp_path / "my run.engine" / "engine-1.log").exists()


def test_a_call_that_is_closed_ends_its_engine(make: Make, lives: Lives) -> None:
    """As an interrupted run closes it."""
    asked = make("--delay-s", 0.1).generate(prompts(20), SCHEMA, Sampling())
    next(asked)
    asked.close()  # type: ignore[attr-defined]
    assert lives.nothing_left()


def test_answers_from_the_journal_start_no_engine(make: Make, lives: Lives, tmp_path: Path) -> None:
    """Another port and another number of engines are the same model: nothing is asked again."""
    for starts in (1, 1):
        with Journal(tmp_path / "journal") as journal:
            found = list(ask(make(), SCHEMA, Sampling(), prompts(3), journal, Usage(), lambda: True))
        assert len(found) == 3
        assert len(lives.all) == starts


def test_identity_is_the_models_and_what_may_change_its_answers(model: Path, home: Path) -> None:
    """Content, engine, and options; neither where it runs nor how fast."""

    def identity(command: str, **options: Any) -> dict[str, object]:
        return dict(EngineGenerator(f"engine:{model}", EngineOptions(command, **options)).identity)

    first = identity("python -m sglang --model-path {model} --port {port} --api-key {key} --tp 2 --quantization fp8")
    assert first == {
        "model": "my model",
        "revision": first["revision"],
        "weights": "engine",
        "options": ["--quantization fp8", "-m sglang"],
    }
    elsewhere = "/opt/bin/python3 -m sglang --quantization fp8 --model-path {model} --host {host} --port {port}"
    elsewhere += " --tp {tensor_parallel}"
    assert identity(elsewhere, arguments="--mem-fraction-static=0.8", tensor_parallel=4) == first
    assert identity(elsewhere, arguments="--kv-cache-dtype fp8") != first
    (model / "model.safetensors").write_text("other weights")
    assert identity(elsewhere) != first


@pytest.mark.parametrize(
    "options",
    [
        "--default-chat-template-kwargs '{\"enable_thinking\": false}'",
        '--hf-overrides \'{"rope": {"type": "yarn"}}\'',
        "--reasoning {model} on",
        "--quantization {model}",
    ],
)
def test_options_with_braces_decide(model: Path, home: Path, options: str) -> None:
    """JSON, and what stands beside a placeholder."""
    template = "serve --port {port} --host {host} {model}"
    plain = EngineGenerator(f"engine:{model}", EngineOptions(template))
    other = EngineGenerator(f"engine:{model}", EngineOptions(f"{template} {options}"))
    shell = EngineGenerator(f"engine:{model}", EngineOptions(shlex.join(["bash", "-c", f"{template} {options}"])))
    assert "options" not in plain.identity
    assert len({str(other.identity), str(plain.identity), str(shell.identity)}) == 3


def test_files_among_the_options_count_by_their_content(model: Path, home: Path, tmp_path: Path) -> None:
    """Wherever they lie; code of the model counts where it is run."""

    def identity(arguments: str = "", trust_remote_code: bool = False) -> dict[str, object]:
        options = EngineOptions(arguments=arguments, trust_remote_code=trust_remote_code)
        return dict(EngineGenerator(f"vllm:{model}", options).identity)

    here, there = tmp_path / "a=b", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "adapter.safetensors").write_text("1")
        (folder / "engine.log").write_text(str(folder))
    first = identity(f"--lora-modules mine={there} other={there / 'adapter.safetensors'}")
    assert str(tmp_path) not in str(first)
    moved = there.rename(tmp_path / "moved")
    assert identity(f"--lora-modules mine={moved} other={moved / 'adapter.safetensors'}") == first
    assert identity(f"--template {here}") == identity(f"--template={moved}")
    (moved / "adapter.safetensors").write_text("2")
    assert identity(f"--lora-modules mine={moved} other={here / 'adapter.safetensors'}") != first
    assert identity(f"--template {here}") != identity(f"--template={moved}")

    for trusted in (True, False):
        before = identity(trust_remote_code=trusted)
        (model / "modeling.py").write_text(f"trusted = {trusted}")
        assert (identity(trust_remote_code=trusted) != before) is trusted


def test_the_first_engine_ends_when_the_second_cannot_be_started(
    make: Make, lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes at any moment."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    start, seen = replica.Replica.start, list[replica.Replica]()

    def interrupted(self: replica.Replica) -> None:
        seen.append(self)
        if len(seen) == 2:
            until(lambda: bool(lives.all), 60)
            raise KeyboardInterrupt
        start(self)

    monkeypatch.setattr(replica.Replica, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        answers(make())
    assert lives.processes
    assert lives.nothing_left()


def test_a_forked_process_does_not_end_its_parents_engine(make: Make, lives: Lives, tmp_path: Path) -> None:
    """It has a copy of all that stops one."""
    words = [sys.executable, "-S", str(ROOT / "tests" / "stand_in_engine.py"), "--model", "m", "--record"]
    words += [str(lives.file), "--port", str(replica.free_port())]
    variables = {**os.environ, "CRAFT_HF_ENGINE_KEY": "secret"}
    engine = EngineProcess(words, variables, tmp_path / "engine-1.log", "secret")
    try:
        until(lambda: bool(lives.all), 60)
        if (forked := os.fork()) == 0:
            try:
                engine.ask_to_stop()
                engine.stop()
                engine._kill()
            finally:
                os._exit(0)
        os.waitpid(forked, 0)
        assert not engine.has_ended(1)
    finally:
        engine.stop()
    assert lives.nothing_left()


def test_an_engine_with_a_key_of_its_own_is_told_soon(make: Make, lives: Lives) -> None:
    """It answers all the time, but not us."""
    with pytest.raises(GeneratorError, match=r"HTTP status 401.*has one of its own; write \{key\} into engine_command"):
        answers(make("--own-key", start_s=600))
    assert lives.nothing_left()


HALF_READ = """
import sys
from craft_hf.generation import EngineGenerator, EngineOptions, Sampling
from tests.server_client import SCHEMA, prompts
asked = EngineGenerator(sys.argv[1], EngineOptions(sys.argv[2])).generate(prompts(9), SCHEMA, Sampling())
next(asked)
"""


def test_a_program_that_ends_while_it_asks_leaves_nothing(model: Path, home: Path, lives: Lives) -> None:
    """At its end no thread can be waited for."""
    words = [sys.executable, "-c", HALF_READ, f"engine:{model}", command(lives, "--children", "--delay-s", 0.2)]
    subprocess.run(words, cwd=ROOT, timeout=60, check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert len(lives.all) == 1
    until(lives.nothing_left, 60)


CLIENT = """
import sys, time
from pathlib import Path
from craft_hf.generation.engine.process import EngineProcess
from craft_hf.generation.engine.command import EngineCommand
words = EngineCommand(sys.argv[2:]).arguments(int(sys.argv[1]), "secret")
EngineProcess(words, EngineCommand([]).environment("secret", ()), Path("engine-1.log").absolute(), "secret")
time.sleep(600)
"""


@pytest.mark.parametrize(("victim", "number"), [("client", 9), ("client", 15), ("watchdog", 9), ("engine", 9)])
def test_whoever_is_killed_nothing_is_left(victim: str, number: int, lives: Lives, tmp_path: Path) -> None:
    """The process that asked for the engine, the watchdog, or the engine itself: all children go, from any group."""
    words = [sys.executable, "-S", str(ROOT / "tests" / "stand_in_engine.py"), "--model", "m", "--port", "{port}"]
    words += ["--record", str(lives.file), "--children"]
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(replica.free_port()), *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        until(lambda: "ready" in "".join(log.read_text() for log in tmp_path.glob("engine-1.log")), 60)
        engine = lives.all[0]["pid"]
        watchdog = parent_of(engine)
        assert parent_of(watchdog) == client.pid
        time.sleep(2 if victim == "engine" else 0)  # until the watchdog has looked for children
        os.kill({"client": client.pid, "watchdog": watchdog, "engine": engine}[victim], number)
        until(lives.nothing_left, 60)
        until(lambda: not is_running(watchdog), 60)
    finally:
        client.kill()
        client.wait()
        for pid in lives.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def parent_of(pid: int) -> int:
    """The process that has started another one."""
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, check=True).stdout)
