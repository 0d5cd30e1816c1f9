"""llama.cpp's own HTTP server as the package xllamacpp brings it; runs in the environment of the engine.

Of the options of llama-server it takes those below.
"""

import argparse
import os
import threading

import xllamacpp


def main() -> None:
    """Serve a model until the process is killed."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ctx-size", type=int, default=16_384, help="tokens of all requests together")
    parser.add_argument("--parallel", type=int, default=4, help="requests at a time")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--n-gpu-layers", type=int)
    given = parser.parse_args()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = given.model
    parameters.model_alias = {given.alias}
    parameters.hostnames, parameters.port = [given.host], given.port
    if key := os.environ.get("LLAMA_API_KEY"):
        parameters.api_keys = [key]
    parameters.n_parallel, parameters.n_ctx, parameters.kv_unified = given.parallel, given.ctx_size, True
    if given.threads:
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = given.threads
    if given.n_gpu_layers is not None:
        parameters.n_gpu_layers = given.n_gpu_layers
    server = xllamacpp.Server(parameters)
    print("listens at", server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
