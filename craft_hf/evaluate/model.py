"""The model that is measured: a name comes in, a `Student` goes out, on which adapters can be put and taken off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from craft_hf.base import JSON, InputError, Weights, chat_template, file_fingerprint, generator_weights, require

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Student:
    """A causal language model in memory, in fp32 on a CPU and in its own type on a GPU.

    Args:
        name: "embedded", a Hub id, or a transformers folder.
        adapter: folder or Hub id of a PEFT adapter for it, or None for the plain model.
        device: torch device; CUDA if there is one, else the CPU.

    `model` and `tokenizer` are those of now: an adapter's folder brings the tokenizer and the chat template that it was
    trained with. A model without a chat template gets the one that the recipes train with.

    Raises:
        InputError: there is no such model or adapter.
        MissingExtra: an adapter was given, but peft is not installed.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def __init__(self, name: str, adapter: str | Path | None = None, device: str | None = None) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.weights: Weights = generator_weights(name)
        self.base, self.adapter = name, ""
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.float32 if place == "cpu" else "auto"
        try:
            self.model = AutoModelForCausalLM.from_pretrained(self.weights.location, dtype=dtype).to(place).eval()
            self.tokenizer = self._tokenizer(self.weights.location)
        except (OSError, ValueError) as e:
            raise InputError(f"the model {name} cannot be loaded; expected a Hub id or a folder: {e}") from e
        if adapter is not None:
            self.use(adapter)

    def use(self, adapter: str | Path | None) -> None:
        """Attach an adapter in place of the one that is there; None leaves the plain model.

        The base model stays in memory, so that many adapters can be measured one after the other.

        Raises:
            InputError: there is no such adapter, or it is for another model; load the student anew after that.
            MissingExtra: peft is not installed.
        """
        if self.adapter:
            self.model, self.adapter = self.model.unload(), ""
            self.tokenizer = self._tokenizer(self.weights.location)
        if adapter is None:
            return
        folder = Path(adapter)
        if folder.is_dir() and not (folder / "adapter_config.json").is_file():
            raise InputError(f"the adapter folder {folder} has no adapter_config.json; expected what a recipe writes.")
        peft = require("peft", "train")
        try:
            self.model = peft.PeftModel.from_pretrained(self.model, str(adapter)).eval()
            if (folder / "tokenizer_config.json").is_file():
                self.tokenizer = self._tokenizer(str(folder))
        except (OSError, ValueError, RuntimeError) as e:  # RuntimeError: its shapes are another model's
            raise InputError(f"the adapter {adapter} cannot be put on {self.base}: {e}") from e
        self.adapter = str(adapter)

    @property
    def name(self) -> str:
        """The model's name, or that of its adapter."""
        return self.adapter or self.base

    @property
    def identity(self) -> Mapping[str, JSON]:
        """What decides what the model says: its name and revision, and its adapter with a hash of its weights."""
        found: dict[str, JSON] = {"model": self.weights.name, "revision": self.weights.revision}
        if self.adapter:
            path = Path(self.adapter) / "adapter_model.safetensors"
            found |= {"adapter": self.adapter, "adapter_hash": file_fingerprint(path) if path.is_file() else ""}
        return found

    @property
    def context(self) -> int:
        """Tokens that the model can read; a huge number where it does not say."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 2**31)

    def head(self, prompt: str) -> str:
        """Return the text of a user's turn in the chat template, up to where the assistant answers, as in training."""
        turns = [{"role": "user", "content": prompt}]
        return str(self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))

    def tokens(self, text: str) -> list[int]:
        """Return the token ids of a text in which the chat template has set all special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _tokenizer(self, location: str) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(location)
        tokenizer.chat_template = tokenizer.chat_template or chat_template()
        return tokenizer


def padded(rows: Sequence[Sequence[int]], device: torch.device, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and attention mask, shape (rows, longest); token 0 fills up, for the mask hides it."""
    import torch

    longest = max(map(len, rows))
    gaps = [[0] * (longest - len(row)) for row in rows]
    ids = [[*gap, *row] if left else [*row, *gap] for gap, row in zip(gaps, rows, strict=True)]
    ones = [[*gap, *[1] * len(row)] if left else [*[1] * len(row), *gap] for gap, row in zip(gaps, rows, strict=True)]
    return torch.tensor(ids, device=device), torch.tensor(ones, device=device)
