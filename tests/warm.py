"""What processes of `tests.command_process` begin with: libraries, the embedding model, and the few-shots' vectors."""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not outlive a fork

import aiohttp  # noqa: F401
import torch

torch.set_num_threads(1)

import craft_hf  # noqa: E402
import craft_hf.cli.generate  # noqa: E402
import craft_hf.dataset.plots  # noqa: E402
import craft_hf.run.runs  # noqa: E402

craft_hf.retrieve("bioqa", k=1)
