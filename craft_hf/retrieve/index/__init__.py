"""The index: a folder of HDF5 shards with documents and embeddings."""

from craft_hf.index.build import build_index
from craft_hf.index.hub import find_index, index_folder, pull_index, push_index
from craft_hf.index.info import IndexInfo, read_info
from craft_hf.index.search import Index
from craft_hf.index.verify import verify_index

__all__ = [
    "Index",
    "IndexInfo",
    "build_index",
    "find_index",
    "index_folder",
    "pull_index",
    "push_index",
    "read_info",
    "verify_index",
]
