"""The index: a folder of HDF5 shards with documents and embeddings."""

SHARD_DOCUMENTS = 50_000
"""Documents of a shard; here, because the commands tell it in their help, which imports no h5py."""
