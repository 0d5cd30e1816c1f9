"""Embeds texts as unit vectors, with a sentence-transformers model."""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from craft_hf.base.errors import InputError, StorageError
from craft_hf.base.models import EMBEDDED, embedder_fingerprint, embedder_weights, inference_dtype, torch_device
from craft_hf.base.progress import Activity
from craft_hf.base.quiet import quiet_loading

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

B = TypeVar("B")

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
"""float32, shape (rows, dimension)."""

BATCH_TOKENS = (2048, 65_536)
"""Most tokens of a batch, padding included: on a CPU, and on CUDA."""

_EVEN_TOKENS = (256, 8192)
"""Tokens of a batch of `encode_each`, on a CPU and on CUDA; a batch that is not full is filled up, in vain."""

_EVEN_STEP = 16
"""Texts are padded to multiples of so many tokens there, and from 64 of them on to multiples of twice as many."""

_POOL_BATCHES = 16
"""Batches that each device of a pool is given at a time; while the last of them is embedded, others wait."""

_CHARACTERS = 8
"""Characters for each token of the window that a long text is tokenized up to at first; in English, a token has 4."""

_NO_LIMIT = 10**6
"""Lengths from it on are what models say that have none."""


_padding = threading.Lock()
"""Held while texts are padded to a length: that is a state of the tokenizer."""


class _Pool(NamedTuple):
    """A pool of sentence-transformers.

    Attributes:
        processes: what `start_multi_process_pool` returned.
        devices: how many there are.
        batch_tokens: most tokens of a batch, padding included.
    """

    processes: dict[str, Any]
    devices: int
    batch_tokens: int


class Embedder:
    """A sentence-transformers model.

    Args:
        name: "embedded" for all-MiniLM-L6-v2 from PyPI, a Hub id, or a folder.
        device: a torch device; by default CUDA where there is one, else the CPU.
        revision: commit of a Hub model; by default the newest.

    The model runs in bfloat16 where the hardware has it (on CPUs with AVX512-BF16 or AMX, and on CUDA), about twice as
    fast as float32 on such CPUs; the vectors are normalised in float32 afterwards.

    Attributes:
        name: what opens the model again; of a folder the absolute path.
        model: what the model is called.
        revision: its commit, its package's version, or a hash of its folder's content.
        identity: hash of weights, tokenizer, pooling and prompts, see `embedder_fingerprint`; it tells whether two
            vectors were made by the same model, wherever that came from.
        dimension: of the vectors.
        window: most tokens of a text that the model reads, without the special ones that it adds; None if there is no
            limit, or the model does not tell tokens apart. What stands behind is not in the vector.

    Raises:
        InputError: the model cannot be loaded.
    """

    window: int | None = None

    _is_float32 = False
    """Whether the model runs in float32 even where the hardware has bfloat16."""

    _device: str | None = None

    _pool: _Pool | None = None
    """Processes that embed, each on a device of its own."""

    def __init__(self, name: str = EMBEDDED, device: str | None = None, revision: str | None = None) -> None:
        weights = embedder_weights(name, revision)
        self.name = str(Path(name).absolute()) if name != EMBEDDED and Path(name).is_dir() else name
        self.model, self.revision = weights.name, weights.revision
        self.identity = embedder_fingerprint(Path(weights.location))
        self._device = device
        self.dimension = int(self._encoder.get_embedding_dimension() or 0)
        self.window = _window(self._encoder)

    @property
    def versioned_name(self) -> str:
        """What the model is called and its revision, as "model@revision"."""
        return f"{self.model}@{self.revision}"

    @property
    def _encoder(self) -> SentenceTransformer:
        """The model, loaded once in each process, so that an embedder can be pickled."""
        encoder, identity = _load(self.name, self._device, self.revision, self._is_float32)
        if identity != self.identity:
            raise InputError(
                f"the embedding model {self.name!r} is not the same on this machine: expected {self.revision}, found "
                "other weights, tokenizer or pooling; install the same one on all machines."
            )
        return encoder

    @property
    def place(self) -> str:
        """Where it embeds, as "on cpu"."""
        return f"on {self._pool.devices} devices" if self._pool else f"on {self._encoder.device}"

    @contextlib.contextmanager
    def on_all_devices(self, devices: Sequence[str] | None = None) -> Iterator[None]:
        """Embed on several devices at a time while this is entered, in a process for each.

        It begins such processes only where it makes a difference: a single device embeds in this process.

        Args:
            devices: torch devices; by default all of CUDA, if none was named.
        """
        if devices is None:
            devices = [] if self._device else _cuda_devices()
        if len(devices) < 2:
            yield
            return
        encoder = self._encoder
        home = encoder.device
        processes = encoder.start_multi_process_pool(list(devices))
        self._pool = _Pool(processes, len(devices), BATCH_TOKENS[devices[0].startswith("cuda")])
        try:
            yield
        finally:
            self._pool = None
            encoder.stop_multi_process_pool(processes)
            encoder.to(home)  # the pool has moved it to the CPU

    @property
    def prompt(self) -> str:
        """What the model puts before each text, "" for nothing."""
        return _prompt(self._encoder)

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """Embed texts, in batches of similar length, and return the vectors in the order of the texts.

        Args:
            texts: any number.
            progress: called with the number of texts after each batch.

        Returns:
            Unit vectors, float32 (texts, dimension).

        Raises:
            InputError: the model returns NaN, infinity, or zeros for a text.
            StorageError: a process of `on_all_devices` was lost.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for rows, made in self.encode_batches(texts):
            vectors[rows] = made
            if progress:
                progress(len(rows))
        return vectors

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
        """Embed texts like `encode`, and yield each batch when it is done: which texts it holds, and their vectors."""
        encoder = self._encoder
        clean = self._readable(texts)
        if self._pool:
            yield from self._pooled(clean, self._pool)
            return
        on_gpu = encoder.device.type == "cuda"
        batches = _batches(_lengths(encoder, clean), BATCH_TOKENS[on_gpu])

        def embed(batch: list[int]) -> tuple[list[int], Vectors]:
            return batch, self._unit_vectors([clean[i] for i in batch])

        yield from map(embed, batches) if on_gpu else _in_threads(embed, batches)

    def encode_each(self, texts: Sequence[str]) -> Vectors:
        """Embed texts like `encode`, each as if there were no others.

        The last bits of a vector depend on the shape of the batch in which it was made. Here that follows from the
        length of the text alone: batches have as many rows as belong to it, of which some may be empty. What stands in
        the other rows changes nothing.
        """
        encoder = self._encoder.eval()
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not callable(encoder.tokenizer) or "message" in getattr(encoder[0], "modality_config", ()):
            for row, text in enumerate(texts):
                vectors[row] = self.encode([text])[0]
            return vectors
        clean, prompt = self._readable(texts), _prompt(encoder)
        on_gpu = encoder.device.type == "cuda"

        def embed(batch: tuple[int, int, list[int]]) -> tuple[list[int], Vectors]:
            import torch

            length, size, rows = batch
            filled = [clean[row] for row in rows] + [""] * (size - len(rows))
            padded = {"text": {"padding": "max_length", "max_length": length}}
            with torch.inference_mode():
                with _padding:
                    features = encoder.preprocess(filled, prompt=prompt or None, processing_kwargs=padded)
                on_device = {k: v.to(encoder.device) if torch.is_tensor(v) else v for k, v in features.items()}
                made = encoder(on_device)["sentence_embedding"][: len(rows)]
                return rows, self._normalized(made, [clean[row] for row in rows])

        lengths = _lengths(encoder, [prompt + text for text in clean])
        batches = _even_batches(lengths, encoder.max_seq_length, _EVEN_TOKENS[on_gpu], leave_one=on_gpu)
        for rows, made in map(embed, batches) if on_gpu else _in_threads(embed, batches, first_alone=False):
            vectors[rows] = made
        return vectors

    def encode_cached(self, texts: Sequence[str]) -> Vectors:
        """Embed texts like `encode`, with a cache for repeated calls, such as those for a task's few-shots.

        The vectors of the last 16 different calls are kept, and are read-only.
        """
        return _encoded(self.name, self._device, self.revision, tuple(texts))

    def token_starts(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Yield for each text where its tokens start, in characters; all of it, however long it is."""
        tokenizer = self._encoder.tokenizer
        for block in _blocks([_without_surrogates(text) for text in texts]):
            tokens = tokenizer(block, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            yield from ([start for start, _ in spans] for spans in tokens["offset_mapping"])

    def heads(self, texts: Sequence[str]) -> list[int]:
        """Return where the part of each text ends that the model reads, in characters: its length if it reads it all.

        A text is tokenized only as far as needed.
        """
        ends = [len(text) for text in texts]
        if self.window is None:
            return ends
        left, size = list(range(len(texts))), _CHARACTERS * self.window
        while left:
            parts = [texts[i][:size] for i in left]
            longer = []
            for i, part, starts in zip(left, parts, self.token_starts(parts), strict=True):
                if len(starts) > self.window + (len(part) < len(texts[i])):  # the last token may be cut itself
                    ends[i] = len(part[: starts[self.window]].rstrip())
                elif len(part) < len(texts[i]):
                    longer.append(i)
            left, size = longer, 2 * size
        return ends

    def _readable(self, texts: Sequence[str]) -> list[str]:
        """Return texts without lone surrogates, and long ones only as far as the model reads them."""
        clean = [_without_surrogates(text) for text in texts]
        if self.window is not None:
            long = [i for i, text in enumerate(clean) if len(text) > _CHARACTERS * self.window]
            for i, end in zip(long, self.heads([clean[i] for i in long]), strict=True):
                clean[i] = clean[i][:end]
        return clean

    def _pooled(self, texts: list[str], pool: _Pool) -> Iterator[tuple[list[int], Vectors]]:
        """Let a pool embed texts: of similar length, several batches for each of its processes at a time."""
        lengths = _lengths(self._encoder, texts)
        rows = sorted(range(len(texts)), key=lambda row: -lengths[row])
        while rows:
            size = max(1, pool.batch_tokens // max(1, lengths[rows[0]]))
            taken, rows = rows[: _POOL_BATCHES * size * pool.devices], rows[_POOL_BATCHES * size * pool.devices :]
            try:
                made = self._unit_vectors([texts[row] for row in taken], size, pool=pool.processes, chunk_size=size)
            except RuntimeError as e:
                if all(process.is_alive() for process in pool.processes["processes"]):
                    raise
                raise StorageError(
                    "a process that embeds on a device of its own was lost, often because memory ran out "
                    f"({' '.join(str(e).split())}). What was embedded is kept; run the same command again."
                ) from e
            yield taken, made

    def _unit_vectors(self, batch: list[str], size: int | None = None, **options: Any) -> Vectors:
        import torch

        with torch.inference_mode():
            made = self._encoder.encode(
                batch, batch_size=size or len(batch), convert_to_tensor=True, show_progress_bar=False, **options
            )
            return self._normalized(made, batch)

    def _normalized(self, made: torch.Tensor, batch: Sequence[str]) -> Vectors:
        """Return what the model made of some texts as unit vectors in float32."""
        import torch

        made = made.float()
        norms = made.norm(dim=1, keepdim=True)
        if len(bad := torch.nonzero(~((norms[:, 0] > 0) & torch.isfinite(norms[:, 0])))):
            raise InputError(
                f"the embedding model {self.name!r} returns NaN, infinity or zeros for the text "
                f"{batch[int(bad[0])][:80]!r}; expected a non-zero finite vector: try another device or model."
            )
        vectors: Vectors = (made / norms).cpu().numpy()
        return vectors


def _cuda_devices() -> list[str]:
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


@functools.lru_cache(maxsize=16)
def _encoded(name: str, device: str | None, revision: str, texts: tuple[str, ...]) -> Vectors:
    vectors = Embedder(name, device, revision).encode(texts)
    vectors.setflags(write=False)
    return vectors


def _in_threads(
    work: Callable[[B], tuple[list[int], Vectors]], batches: Iterator[B], first_alone: bool = True
) -> Iterator[tuple[list[int], Vectors]]:
    """Process as many batches at a time as torch has threads, each in one thread: faster than all threads per batch.

    Args:
        work: embeds a batch.
        batches: those that there are.
        first_alone: do the first batch alone, with all threads: one batch is done faster so.
    """
    if first_alone:
        yield from map(work, itertools.islice(batches, 1))
    import torch

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield from pool.map(work, batches)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(threads)


def _without_surrogates(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _prompt(encoder: SentenceTransformer) -> str:
    return encoder.prompts.get(encoder.default_prompt_name or "") or ""


def _window(encoder: SentenceTransformer) -> int | None:
    """Return how many tokens of a text the model reads, besides special ones and the prompt that it puts before it."""
    limit, tokenizer = encoder.max_seq_length, encoder.tokenizer
    if not limit or limit >= _NO_LIMIT:
        return None
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"the embedding model reads {limit} tokens at once, but its tokenizer ({type(tokenizer).__name__}) does "
            "not tell where these are in a text: longer texts would be cut unseen. Expected a model with a fast "
            "tokenizer (tokenizer.json)."
        )
    prompt = _prompt(encoder)
    before = len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) if prompt else 0
    return max(1, int(limit - tokenizer.num_special_tokens_to_add() - before))


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield texts in blocks of about a million characters: tokens and their places take a hundred times the memory."""
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size > 1_000_000:
            yield block
            block, size = [], 0
    if block:
        yield block


def _lengths(encoder: SentenceTransformer, texts: Sequence[str]) -> list[int]:
    """Return how many tokens of each text the model reads."""
    limit = encoder.max_seq_length or sys.maxsize
    if not callable(encoder.tokenizer):  # a model without a tokenizer
        return [len(text) for text in texts]
    found: list[int] = []
    for start in range(0, len(texts), 1024):
        tokens = encoder.tokenizer(list(texts[start : start + 1024]), add_special_tokens=True, verbose=False)
        found += (min(len(line), limit) for line in tokens["input_ids"])
    return found


def _batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield batches of rows, longest first, each of as many as fit into `budget` tokens with padding; at least one."""
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while rows:
        size = max(1, budget // max(1, lengths[rows[0]]))
        yield rows[:size]
        del rows[:size]


def _even_batches(
    lengths: Sequence[int], limit: int | None, budget: int, leave_one: bool = False
) -> Iterator[tuple[int, int, list[int]]]:
    """Yield batches as their padded length, their size, which is what fits into `budget` tokens or one, and rows.

    Args:
        lengths: tokens of each row.
        limit: most tokens that the model reads.
        budget: tokens of a batch.
        leave_one: leave a row empty where there are several: without a token that is padding, CUDA takes another way.
    """
    by_length: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        step = _EVEN_STEP if length <= 4 * _EVEN_STEP else 2 * _EVEN_STEP
        padded = -(-length // step) * step
        by_length.setdefault(min(padded, limit) if limit else padded, []).append(row)
    for length, rows in by_length.items():
        size = max(1, budget // length)
        taken = max(1, size - leave_one)
        yield from ((length, size, rows[start : start + taken]) for start in range(0, len(rows), taken))


@functools.lru_cache(maxsize=2)
def _load(name: str, device: str | None, revision: str, is_float32: bool) -> tuple[SentenceTransformer, str]:
    """Load a model onto a device, by default CUDA where there is one; return it with its `embedder_fingerprint`."""
    with Activity("Loading the embedding model"):
        return _load_now(name, device, revision, is_float32)


def _load_now(name: str, device: str | None, revision: str, is_float32: bool) -> tuple[SentenceTransformer, str]:
    import torch
    from safetensors import SafetensorError

    weights = embedder_weights(name, revision)
    device = str(torch_device(device))
    try:
        with quiet_loading():
            from sentence_transformers import SentenceTransformer

            encoder = SentenceTransformer(weights.location, device=device)
    except (OSError, ValueError, SafetensorError, RuntimeError) as e:
        reason = " ".join(str(e).split())
        raise InputError(
            f"the embedding model {name!r} cannot be loaded on {device}: {reason}. Expected a "
            f'sentence-transformers folder, the Hub id of one that is in the cache or can be reached, or "{EMBEDDED}".'
        ) from e
    return encoder.to(torch.float32 if is_float32 else inference_dtype(device)), embedder_fingerprint(
        Path(weights.location)
    )
