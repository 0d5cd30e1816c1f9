"""The model under evaluation: weights and tokenizer in memory, with a LoRA adapter attached or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from craft_hf.base import (
    JSON,
    ControlTokens,
    InputError,
    Weights,
    chat_template,
    file_fingerprint,
    generator_weights,
    quiet_loading,
    require,
    torch_device,
)  # fmt: skip

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class EvaluatedModel:
    """A causal language model in memory, in fp32 on a CPU and in the dtype of its weights on a GPU.

    Args:
        name: "embedded", a Hub id, or a transformers folder.
        adapter: folder or Hub id of a PEFT adapter for it, or None for the base model alone.
        device: torch device; by default CUDA where available, else the CPU.

    The attributes `model` and `tokenizer` change with the adapter: its folder may bring the tokenizer and the chat
    template that it was trained with. A model without a chat template gets the one that the recipes train with.

    Raises:
        InputError: the model or the adapter does not exist or cannot be loaded.
        MissingExtra: an adapter was given, but peft is not installed.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def __init__(self, name: str, adapter: str | Path | None = None, device: str | None = None) -> None:
        import torch

        device = str(torch_device(device))
        self.weights: Weights = generator_weights(name)
        self.base, self.adapter = name, ""
        dtype = torch.float32 if device == "cpu" else "auto"
        try:
            with quiet_loading():
                from transformers import AutoModelForCausalLM

                model = AutoModelForCausalLM.from_pretrained(self.weights.location, dtype=dtype)
            self.model = model.to(device).eval()
            self.tokenizer = self._load_tokenizer(self.weights.location)
        except (OSError, ValueError) as e:
            raise InputError(f"the model {name} cannot be loaded; expected a Hub id or a folder: {e}") from e
        if adapter is not None:
            self.set_adapter(adapter)

    def set_adapter(self, adapter: str | Path | None) -> None:
        """Attach an adapter, which replaces the one attached before; None leaves the base model alone.

        The base model stays in memory, so many adapters can be evaluated one after the other.

        Raises:
            InputError: the adapter does not exist or was trained for another model. Load the base model again before
                you continue.
            MissingExtra: peft is not installed.
        """
        if self.adapter:
            self.model, self.adapter = self.model.unload(), ""
            self.tokenizer = self._load_tokenizer(self.weights.location)
        if adapter is None:
            return
        folder = Path(adapter)
        if folder.is_dir() and not (folder / "adapter_config.json").is_file():
            raise InputError(
                f"the adapter folder {folder} has no adapter_config.json; expected the folder `adapter` that a recipe "
                "writes."
            )
        peft = require("peft", "train")
        try:
            with quiet_loading():
                self.model = peft.PeftModel.from_pretrained(self.model, str(adapter)).eval()
            if (folder / "tokenizer_config.json").is_file():
                self.tokenizer = self._load_tokenizer(str(folder))
        except (OSError, ValueError, RuntimeError) as e:  # RuntimeError: weights of other shapes
            raise InputError(f"the adapter {adapter} cannot be loaded into {self.base}: {e}") from e
        self.adapter = str(adapter)

    @property
    def name(self) -> str:
        """The name of the adapter, or of the base model where none is attached."""
        return self.adapter or self.base

    @property
    def identity(self) -> Mapping[str, JSON]:
        """Everything that the model's answers depend on: name and revision, and the adapter with a weight hash."""
        identity: dict[str, JSON] = {"model": self.weights.name, "revision": self.weights.revision}
        if self.adapter:
            path = Path(self.adapter) / "adapter_model.safetensors"
            identity |= {"adapter": self.adapter, "adapter_hash": file_fingerprint(path) if path.is_file() else ""}
        return identity

    @property
    def context_length(self) -> int:
        """Tokens that the model can read; 2**31 where its configuration does not say."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 2**31)

    def render_chat(self, prompt: str) -> str:
        """Return the prompt as a user turn in the chat template, up to where the assistant's answer begins."""
        turns = self._control_tokens.broken_up([{"role": "user", "content": prompt}])
        return str(self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))

    @cached_property
    def _control_tokens(self) -> ControlTokens:
        return ControlTokens(self.tokenizer)

    def tokenize(self, text: str) -> list[int]:
        """Return the token ids of a text; no special tokens are added, because the chat template contains them."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _load_tokenizer(self, location: str) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(location)
        tokenizer.chat_template = tokenizer.chat_template or chat_template()
        return tokenizer


def pad(rows: Sequence[Sequence[int]], device: torch.device, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids, padded with 0, and attention mask, each of shape (rows, longest row)."""
    import torch

    longest = max(map(len, rows))
    gaps = [[0] * (longest - len(row)) for row in rows]
    ids = [[*gap, *row] if left else [*row, *gap] for gap, row in zip(gaps, rows, strict=True)]
    ones = [[*gap, *[1] * len(row)] if left else [*[1] * len(row), *gap] for gap, row in zip(gaps, rows, strict=True)]
    return torch.tensor(ids, device=device), torch.tensor(ones, device=device)
