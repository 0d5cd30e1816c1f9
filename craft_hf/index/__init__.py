"""The index: a folder of HDF5 shards with documents and embeddings."""

from craft_hf.index.build import IndexInfo, build_index, read_info
from craft_hf.index.search import Index

__all__ = ["Index", "IndexInfo", "build_index", "read_info"]
