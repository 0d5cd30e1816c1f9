"""The `datasets` builder behind `load_dataset("craft", task=...)`.

The builder only hands on: the run itself is done once, in the parent process, by `craft_hf.run`; what `datasets`
then does with rows, shards and processes is reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import datasets

from craft_hf.base import EMBEDDED, JSON, CraftError, InputError
from craft_hf.dataset import task_features
from craft_hf.quality import DUPLICATE_THRESHOLD
from craft_hf.retrieval import MIXED
from craft_hf.run.resolution import ResolvedRun, resolve
from craft_hf.run.runs import ensure_run, read_rows
from craft_hf.run.settings import Resources, RunSettings
from craft_hf.tasks import NAMES

SHARDS = 8
"""Parts into which the rows are cut for `num_proc`; a number of processes above it gives no more speed."""


@dataclass(repr=False)
class CraftConfig(datasets.BuilderConfig):  # type: ignore[misc]  # datasets has no types
    """What `load_dataset("craft", ...)` takes; the meaning of each is in `RunSettings` and `Resources`.

    The fields of `Resources` say how fast the run goes, not what comes out: they are not part of the cache's identity.
    Keys for a server come from the environment (CRAFT_HF_API_KEY), never from here.
    """

    task: str | None = None
    few_shots: str | None = None
    index: str | None = None
    generator: str = EMBEDDED
    generator_model: str | None = None
    num_samples: int | None = None
    size: str | None = None
    seed: int = 0
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 40
    max_new_tokens: int | None = None
    duplicate_threshold: float = DUPLICATE_THRESHOLD
    prefix_groups: int | str | None = None
    retrieval: str = MIXED
    min_similarity: float = -1.0
    max_budget: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    skip_checks: str | None = None
    test_sets: str | None = None
    earlier: str | None = None
    judge: str | None = None
    judge_model: str | None = None
    judge_draws: int = 1
    review: str | None = None
    batch_size: int | None = None
    device: str | None = None
    concurrency: int = 64
    timeout_s: float = 120.0
    max_retries: int = 4

    def __repr__(self) -> str:
        """Say the task alone: `datasets` prints it when an argument is unknown, and a URL may hold a key."""
        return f"CraftConfig(name={self.name!r}, task={self.task!r})"

    @cached_property
    def run(self) -> ResolvedRun:
        """The run that this configuration asks for; looked up once, checked here because fields may be set late."""
        if self.task is None and self.name not in NAMES:
            raise InputError(f'which task? Pass task="..." as one of {", ".join(NAMES)}, or as the folder of your own.')
        if self.name in NAMES and self.task not in (None, self.name):
            raise InputError(f'two tasks were given, "{self.name}" and task="{self.task}"; give one of them.')
        given = {**vars(self), "task": self.task or self.name}
        settings, resources = ({f.name: given[f.name] for f in fields(kind)} for kind in (RunSettings, Resources))
        return resolve(RunSettings(**settings), Resources(**resources))

    def __getstate__(self) -> dict[str, object]:
        """Leave the run, and with it a loaded model, out of what goes to worker processes."""
        return {name: value for name, value in vars(self).items() if name != "run"}

    def create_config_id(self, config_kwargs: Mapping[str, JSON], custom_features: object = None) -> str:
        """Return the name of the cache folder: the task and a hash of all that decides the rows.

        `datasets` would hash the arguments as passed, which misses a changed index behind the same path and takes a
        default that is written out for another dataset.
        """
        if custom_features is not None:
            raise InputError("features= is not supported: the columns follow from the task; cast the dataset instead.")
        self.__dict__.pop("run", None)  # a shipped configuration is one object for the whole process: look again
        if self.name == "default":
            self.name: str = self.run.task.name
        return self.run.run_id


class Craft(datasets.GeneratorBasedBuilder):  # type: ignore[misc]  # datasets has no types
    """Runs retrieval and generation as dataset generation."""

    BUILDER_CONFIG_CLASS = CraftConfig
    _folder: Path | None = None
    BUILDER_CONFIGS = [CraftConfig(name=name, task=name) for name in NAMES]  # noqa: RUF012 (datasets' own shape)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=task_features(self.config.run.task))

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        """Name the split; cheap, because it also runs for streaming and for listing the splits."""
        self._fresh = bool(getattr(getattr(dl_manager, "download_config", None), "force_download", False))
        return [datasets.SplitGenerator(name=datasets.Split.TRAIN, gen_kwargs={"shards": list(range(SHARDS))})]

    def _prepare_split(self, split_generator: datasets.SplitGenerator, **kwargs: object) -> None:
        """Do the run here, in the parent, before `datasets` starts any worker process."""
        try:
            self._folder = ensure_run(self.config.run, self._fresh)
            rows = read_rows(self._folder, 0, 1)
        except OSError as e:  # `datasets` would show it as "Cannot find data file"
            raise CraftError(f"the run failed: {e}") from e
        split_generator.split_info.num_examples = len(rows)
        super()._prepare_split(split_generator, **kwargs)

    def _generate_examples(self, shards: Sequence[int]) -> Iterator[tuple[tuple[int, int], dict[str, JSON]]]:
        folder = self._folder or ensure_run(self.config.run)  # streaming comes here without _prepare_split
        for shard in shards:
            for number, row in enumerate(read_rows(folder, shard, SHARDS)):
                yield (shard, number), row
