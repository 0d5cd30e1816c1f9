"""The index: a folder of HDF5 shards with documents and embeddings."""
