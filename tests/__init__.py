"""The tests of craft_hf; folders mirror the package."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""
