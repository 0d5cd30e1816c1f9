"""The `datasets` builder behind `load_dataset("craft", task=...)`.

The builder only hands on: the run itself is done once, in the parent process, by `craft_hf.run`; what `datasets`
then does with rows, shards and processes is reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, make_dataclass
from functools import cached_property
from pathlib import Path

import datasets

from craft_hf.base import JSON, CraftError, InputError
from craft_hf.dataset import task_features
from craft_hf.run.plugin import DATA, unused_argument
from craft_hf.run.resolution import ResolvedRun, resolve
from craft_hf.run.run_yaml import PRESET, settings_from, unknown_setting
from craft_hf.run.runs import ensure_run, read_rows, stream_rows
from craft_hf.run.settings import SETTINGS
from craft_hf.tasks import NAMES

SHARDS = 8
"""Parts into which the rows are cut for `num_proc`; a number of processes above it gives no more speed."""


_OF_OTHER_BUILDERS = {
    f.name: f.default for f in fields(datasets.BuilderConfig) if f.name in (*DATA, "version", "description")
}


class _Config(datasets.BuilderConfig):  # type: ignore[misc]  # datasets has no types
    """What a configuration does with its settings, whichever there are."""

    def __repr__(self) -> str:
        """Say the task alone: `datasets` prints it when an argument is unknown, and a URL may hold a key."""
        return f"CraftConfig(name={self.name!r}, task={self.task!r})"

    @cached_property
    def run(self) -> ResolvedRun:
        """The run that this configuration asks for; looked up once, checked here because fields may be set late."""
        for name, default in _OF_OTHER_BUILDERS.items():
            if getattr(self, name) != default:
                raise InputError(unused_argument(name))
        if self.task is None and self.name not in NAMES:
            raise InputError(f'which task? Pass task="..." as one of {", ".join(NAMES)}, or as the folder of your own.')
        if self.name in NAMES and self.task not in (None, self.name):
            raise InputError(f'two tasks were given, "{self.name}" and task="{self.task}"; give one of them.')
        given = {name: getattr(self, name) for name in (*SETTINGS, PRESET)}
        return resolve(settings_from({**given, "task": self.task or self.name}))

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


_Fields = make_dataclass(
    "_Fields", [(name, object, field(default=None)) for name in (*SETTINGS, PRESET)], bases=(_Config,), repr=False
)


class CraftConfig(_Fields):  # type: ignore[valid-type, misc]  # made from the settings
    """What `load_dataset("craft", ...)` takes: the settings of `craft_hf.RunSettings`, and `preset`.

    None stands for what is not given. Settings that decide no rows are not part of the cache's identity. Keys for a
    server come from the environment (CRAFT_HF_API_KEY), never from here.
    """

    def __init__(self, *args: object, **given: object) -> None:
        known = {f.name for f in fields(_Fields)}
        if unknown := next((name for name in given if name not in known), None):
            raise InputError(f'load_dataset("craft", ...): {unknown_setting(unknown)}')
        super().__init__(*args, **given)


class Craft(datasets.GeneratorBasedBuilder):  # type: ignore[misc]  # datasets has no types
    """Runs retrieval and generation as dataset generation."""

    BUILDER_CONFIG_CLASS = CraftConfig
    _folder: Path | None = None
    BUILDER_CONFIGS = [CraftConfig(name=name, task=name) for name in NAMES]  # noqa: RUF012 (datasets' own shape)

    def __init__(
        self, *args: object, _fresh: bool = False, token: object = None, storage_options: object = None, **given: object
    ) -> None:
        if isinstance(token, str):
            raise InputError(unused_argument("token"))
        if storage_options:
            raise InputError(unused_argument("storage_options"))
        self._fresh = _fresh
        super().__init__(*args, **given)

    def _info(self) -> datasets.DatasetInfo:
        run = self.config.run
        return datasets.DatasetInfo(features=task_features(run.task, run.settings.keep_reasoning))

    def _split_generators(self, dl_manager: datasets.DownloadManager) -> list[datasets.SplitGenerator]:
        """Name the split; cheap, because it also runs for streaming and for listing the splits.

        A stream has one shard: the first worker of a DataLoader does the run, and `datasets` stops the others.
        """
        if dl_manager.is_streaming and self._fresh:
            raise InputError(unused_argument("download_mode"))
        self._fresh |= bool(getattr(getattr(dl_manager, "download_config", None), "force_download", False))
        shards = 1 if dl_manager.is_streaming else SHARDS
        return [datasets.SplitGenerator(name=datasets.Split.TRAIN, gen_kwargs={"shards": list(range(shards))})]

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
        for shard in shards:
            # without _prepare_split, it is a stream
            rows = read_rows(self._folder, shard, SHARDS) if self._folder else stream_rows(self.config.run)
            for number, row in enumerate(rows):
                yield (shard, number), row
