"""The version of the package, from its metadata."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("craft_hf")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
