"""What a user would build instead: FastAPI + uvicorn + PyTorch, the same base model, the same request and answer.

It answers POST /v1/adapt-predict and GET /v1/base-models/{name} as Imprint does, with orjson for bodies. Handlers are
plain functions, which FastAPI runs on a pool of threads, so that torch works while Python reads the next request.

    python -m venv .venv && .venv/bin/pip install -r benches/peers/requirements.txt
    .venv/bin/python benches/peers/fastapi_server.py --model models/omniglot --port 8090 [--processes 2] [--channels-last]
"""

import argparse
import os
import pathlib

import orjson
import torch
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from protonet import ProtoNet


def build() -> FastAPI:
    torch.set_num_threads(int(os.environ["PEER_THREADS"]))
    model = ProtoNet(pathlib.Path(os.environ["PEER_MODEL"]), os.environ["PEER_CHANNELS_LAST"] == "1")
    app = FastAPI()

    @app.get("/v1/base-models/{name}")
    def base_model(name: str) -> dict:
        return {"name": name, "input": model.manifest["input"]}

    def answer(request: bytes) -> bytes:
        body = orjson.loads(request)
        return orjson.dumps(model.adapt_predict([body], [model.images(body)])[0])

    @app.post("/v1/adapt-predict")
    async def adapt_predict(request: Request) -> Response:
        return Response(await run_in_threadpool(answer, await request.body()), media_type="application/json")

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="models/omniglot")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--channels-last", action="store_true")
    arguments = parser.parse_args()
    os.environ["PEER_MODEL"] = arguments.model
    os.environ["PEER_CHANNELS_LAST"] = "1" if arguments.channels_last else "0"
    os.environ["PEER_THREADS"] = str(max(1, (os.cpu_count() or 1) // arguments.processes))
    uvicorn.run(
        "fastapi_server:build", factory=True, port=arguments.port, workers=arguments.processes, log_level="warning",
        app_dir=str(pathlib.Path(__file__).parent),
    )
