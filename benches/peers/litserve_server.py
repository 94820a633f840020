"""What a user would build instead: LitServe with its batching across requests, the same base model and answers.

    .venv/bin/python benches/peers/litserve_server.py --model models/omniglot --port 8091 [--workers 2] [--batch 8]

Bodies wait up to --batch-timeout seconds for others, then go through the backbone together, on a worker process for
each core with one thread of torch's.
"""

import argparse
import os
import pathlib

import litserve
import torch
from protonet import ProtoNet


class Api(litserve.LitAPI):
    def __init__(self, folder: pathlib.Path, threads: int, **batching):
        super().__init__(api_path="/v1/adapt-predict", **batching)
        self.folder, self.threads = folder, threads

    def setup(self, device: str) -> None:
        torch.set_num_threads(self.threads)
        self.model = ProtoNet(self.folder, channels_last=True)

    def decode_request(self, request: dict) -> tuple:
        return request, self.model.images(request)

    def batch(self, inputs: list) -> list:
        return inputs

    def predict(self, inputs):
        bodies, images = zip(*inputs) if isinstance(inputs, list) else ([inputs[0]], [inputs[1]])
        answers = self.model.adapt_predict(list(bodies), list(images))
        return answers if isinstance(inputs, list) else answers[0]

    def unbatch(self, output: list) -> list:
        return output

    def encode_response(self, output: dict) -> dict:
        return output


if __name__ == "__main__":
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="models/omniglot")
    parser.add_argument("--port", type=int, default=8091)
    parser.add_argument("--workers", type=int, default=cores)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--batch-timeout", type=float, default=0.005)
    arguments = parser.parse_args()
    folder = pathlib.Path(arguments.model).resolve()
    threads = max(1, cores // arguments.workers)
    api = Api(folder, threads, max_batch_size=arguments.batch, batch_timeout=arguments.batch_timeout)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=arguments.workers)
    schema = ProtoNet(folder, channels_last=False).manifest["input"]

    @server.app.get("/v1/base-models/{name}")
    def base_model(name: str) -> dict:
        return {"name": name, "input": schema}

    server.run(port=arguments.port, log_level="warning", generate_client_file=False)
