"""llama.cpp's own HTTP server over a GGUF file; runs in the environment of the engine, where craft_hf is not."""

import sys
import threading

import xllamacpp


def main(model: str, name: str, port: str, threads: str) -> None:
    """Serve a model on a port of loopback until the process is killed.

    Args:
        model: a GGUF file.
        name: what the model is called.
        port: a free one.
        threads: how many it computes with.
    """
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.model_alias = {name}
    parameters.port = int(port)
    parameters.n_parallel = 2
    parameters.n_ctx = 16_384
    parameters.kv_unified = True
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(threads)
    server = xllamacpp.Server(parameters)
    print("listens at", server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
