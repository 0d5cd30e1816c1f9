"""Shards embedded by other processes: the same index as without them, whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from craft_hf.base.embedder import Embedder, Vectors
from craft_hf.base.errors import InputError, StorageError
from craft_hf.base.executors import open_workers
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import Shard
from craft_hf.retrieval.index.verify import verify_index
from tests import ROOT
from tests.vectors import HashEmbedder, given_index, parts_of, shard_paths, visible, whole_numbers

ROWS = [{"id": f"d{i}", "text": f"document {i} " * 30} for i in range(40)]


class SlowEmbedder(HashEmbedder):
    """Takes its time, and writes down who embedded what (one line with process and first text for each call)."""

    def __init__(self, log: Path, seconds: float = 0.2) -> None:
        super().__init__()
        self._log, self._seconds = log, seconds

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """Embed texts."""
        with self._log.open("a") as file:
            file.write(f"{os.getpid()} {texts[0].split()[1]}\n")
        time.sleep(self._seconds)
        return super().encode(texts, progress)


def built(folder: Path, embedder: Embedder, where: str) -> None:
    """Build the index of ROWS in shards of two, and compare with one that was built here."""
    with open_workers(where) as workers:
        info = build_index([Corpus(ROWS)], folder, embedder, shard_documents=2, workers=workers)
    plain = build_index([Corpus(ROWS)], folder.with_name("plain"), HashEmbedder(), shard_documents=2)
    assert info == plain
    assert verify_index(folder) == []


@pytest.mark.long
@pytest.mark.slow
def test_processes_build_the_same_index(tmp_path: Path) -> None:
    """Two processes share the shards; search in pieces, by the same processes, gives the same hits."""
    built(tmp_path / "index", SlowEmbedder(tmp_path / "log"), "2")
    assert len({line.split()[0] for line in (tmp_path / "log").read_text().splitlines()}) == 2
    rng = np.random.default_rng(0)
    index = given_index(tmp_path / "vectors", whole_numbers(rng, 300), 17)
    queries = whole_numbers(rng, 5)
    with open_workers("2") as workers:
        scores, rows = index.search(queries, 50, workers=workers)
    want_scores, want_rows = index.search(queries, 50)
    np.testing.assert_array_equal(scores, want_scores)
    np.testing.assert_array_equal(rows, want_rows)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.weights
def test_real_model_in_processes_gives_the_same_vectors(tmp_path: Path) -> None:
    """The embedder is sent to the processes by name, and loaded there."""
    rows = [{"id": str(i), "text": f"Sentence number {i} is about plants and light. " * 6} for i in range(6)]
    build_index([Corpus(rows)], tmp_path / "here", Embedder(), shard_documents=3)
    with open_workers("2") as workers:
        build_index([Corpus(rows)], tmp_path / "there", Embedder(), shard_documents=3, workers=workers)
    query = Embedder().encode(["plants"])
    here, there = (Index.open(tmp_path / name).search(query, 6) for name in ("here", "there"))
    np.testing.assert_allclose(here[0], there[0], atol=1e-3)


@pytest.mark.slow
def test_lost_process_is_a_clear_error_and_costs_nothing(tmp_path: Path) -> None:
    """A process that is killed ends the build; run again, only what is missing is embedded."""
    log = tmp_path / "log"

    def kill_one() -> None:
        while not log.exists() or len(log.read_text().splitlines()) < 6:
            time.sleep(0.01)
        os.kill(int(log.read_text().split()[0]), signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(StorageError, match=r"a worker process was lost.*run the same command again"):
        built(tmp_path / "index", SlowEmbedder(log), "2")
    killer.join()
    whole = len(list((tmp_path / "index").glob("*.h5")))
    assert whole >= 4
    log.unlink()
    built(tmp_path / "index", SlowEmbedder(log, 0), "")
    assert 20 - whole - 2 <= len(log.read_text().splitlines()) <= 20 - whole, "vectors of shards in hand are kept, too"


class Poisoned(HashEmbedder):
    """Kills its process at one of the texts."""

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """Embed texts."""
        if any("document 6 " in text for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().encode(texts, progress)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["2", "dask", pytest.param("ray", marks=pytest.mark.long)])
def test_worker_that_dies_again_and_again_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The error says which documents the shard holds that killed it, and why; what was embedded is kept.

    A pool of processes breaks as a whole, and does not tell which of the shards in hand was to blame.
    """
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    named = r"'d\d+' to 'd\d+'" if where == "2" else "'d6' to 'd7'"
    with (
        pytest.raises(StorageError, match=rf"embedded the shard of .* {named} \(\w+: .+\), often"),
        open_workers(where) as workers,
    ):
        build_index([Corpus(ROWS[:12])], Path("index"), Poisoned(), shard_documents=2, workers=workers)
    rest = HashEmbedder()
    build_index([Corpus(ROWS[:12])], Path("index"), rest, shard_documents=2)
    assert 2 <= len(rest.asked) < 12
    assert verify_index(Path("index")) == []


def test_paths_are_absolute_before_they_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may have another working folder: index, shard and a model's folder are found from there."""
    monkeypatch.chdir(tmp_path)
    vectors = whole_numbers(np.random.default_rng(0), 5)
    index = given_index(Path("index"), vectors, 5)
    parts = pickle.dumps((index, Shard(shard_paths(Path("index"))[0])))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    there, shard = pickle.loads(parts)
    np.testing.assert_array_equal(
        there.search(vectors, 5)[1], given_index(tmp_path / "same", vectors, 5).search(vectors, 5)[1]
    )
    assert shard.rows == 5


class Dying(HashEmbedder):
    """Embeds two texts at a time, and kills its process at one of the texts."""

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
        """Embed texts."""
        for start in range(0, len(texts), 2):
            rows = list(range(start, min(start + 2, len(texts))))
            if any("document 17 " in texts[row] for row in rows):
                os.kill(os.getpid(), signal.SIGKILL)
            yield rows, self.encode([texts[row] for row in rows])


def test_lost_process_costs_the_batch_in_hand(tmp_path: Path) -> None:
    """What a process had embedded of its shard before it was killed is found again."""
    with pytest.raises(StorageError, match="a worker process was lost"), open_workers("1") as workers:
        build_index([Corpus(ROWS)], tmp_path, Dying(), shard_documents=10, workers=workers)
    rest = HashEmbedder()
    build_index([Corpus(ROWS)], tmp_path, rest, shard_documents=10)
    assert rest.asked == [row["text"] for row in ROWS[16:]]
    assert visible(tmp_path) == parts_of(tmp_path)


@pytest.mark.slow
def test_workers_end_with_a_build_that_is_killed(tmp_path: Path) -> None:
    """Also one that has a shard in hand for minutes: nobody writes to the folder when the build is run again."""
    log = tmp_path / "log"
    child = multiprocessing.get_context("spawn").Process(
        target=built, args=(tmp_path / "index", SlowEmbedder(log, 600), "2")
    )
    child.start()
    while not log.exists() or len(_processes(log)) < 2:
        time.sleep(0.05)
    child.kill()
    child.join()
    end = time.monotonic() + 60
    while any(_is_alive(process) for process in _processes(log)) and time.monotonic() < end:
        time.sleep(0.05)
    left = [process for process in _processes(log) if _is_alive(process)]
    for process in left:
        os.kill(int(process), signal.SIGKILL)
    assert not left


def _is_alive(process: str) -> bool:
    """Whether a process runs; one that ended may wait for somebody to ask for its exit code."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_interrupt_does_not_wait_for_the_shards_in_hand(tmp_path: Path) -> None:
    """Ctrl-C ends the build at once, and its processes with it, though each would work for minutes."""
    log = tmp_path / "log"

    def interrupt() -> None:
        while not log.exists() or len(log.read_text().splitlines()) < 2:
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            built(tmp_path / "index", SlowEmbedder(log, 600), "2")
    finally:
        signal.signal(signal.SIGINT, before)
    interrupter.join()
    assert time.monotonic() - start < 300, "less than a shard takes"
    for process in _processes(log):
        assert not Path(f"/proc/{process}").exists()


@pytest.mark.long
@pytest.mark.slow
def test_ray_cluster_that_loses_a_node_builds_the_same_index(tmp_path: Path) -> None:
    """A real cluster of two nodes; one is killed in the middle, its shards are embedded by the other."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    log = tmp_path / "log"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        other = cluster.add_node(num_cpus=1)
        ray.init(
            address=cluster.address, log_to_driver=False, logging_level="error",
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
        )  # fmt: skip
        killed = threading.Event()

        def kill_node() -> None:
            while not log.exists() or len(_processes(log)) < 2:
                time.sleep(0.05)
            cluster.remove_node(other, allow_graceful=False)
            killed.set()

        killer = threading.Thread(target=kill_node)
        killer.start()
        built(tmp_path / "index", SlowEmbedder(log, 1), "ray")
        killer.join(30)
        assert killed.is_set(), "both nodes worked, and one was lost"
        _embedded_once_but_for(log, in_flight=2)
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.long
def test_dask_cluster_that_loses_a_worker_builds_the_same_index(tmp_path: Path) -> None:
    """A real cluster of two worker processes; one is killed in the middle and replaced."""
    distributed = pytest.importorskip("distributed")

    log = tmp_path / "log"
    environment = {"PYTHONPATH": str(ROOT)}
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, worker_dashboard_address=None, env=environment
    ) as cluster:

        def kill_worker() -> None:
            while not log.exists() or len(_processes(log)) < 2:
                time.sleep(0.05)
            os.kill(int(log.read_text().split()[0]), signal.SIGKILL)

        killer = threading.Thread(target=kill_worker)
        killer.start()
        built(tmp_path / "index", SlowEmbedder(log), cluster.scheduler_address)
        killer.join(30)
        assert not killer.is_alive(), "both workers worked, and one was lost"
    _embedded_once_but_for(log, in_flight=2)


def _processes(log: Path) -> set[str]:
    return {line.split()[0] for line in log.read_text().splitlines()}


def _embedded_once_but_for(log: Path, in_flight: int) -> None:
    """No shard was embedded twice but those that the lost worker had in hand."""
    firsts = [line.split()[1] for line in log.read_text().splitlines()]
    assert len(set(firsts)) == 20
    assert len(firsts) <= 20 + in_flight


@pytest.mark.parametrize("where", ["0", "-1", "two", "http://host:1"])
def test_unknown_workers_are_refused(where: str) -> None:
    """The error says what is expected."""
    with pytest.raises(InputError, match='expected a number of processes, "ray"'), open_workers(where):
        pass


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("tcp://127.0.0.1:9", "Dask scheduler"),
        pytest.param("ray://127.0.0.1:9", "Ray cluster", marks=pytest.mark.long),  # Ray tries for 30 s
    ],
)
def test_cluster_that_is_not_there_is_named(where: str, name: str) -> None:
    """An address at which nobody listens."""
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(InputError, match=f"the {name} '{where}' cannot be reached"),
        open_workers(where),
    ):
        pass
