"""The base model as PyTorch runs it, for the peers: ProtoNet on conv4 with running statistics, from a bundle's own files.

As well as this stack can: Pillow's BOX filter for images, `torch.inference_mode`, one forward pass for the support sets
and queries of all bodies together, and channels-last tensors on request.
"""

import base64
import io
import json
import pathlib
import struct

import numpy
import torch
import torch.nn.functional as F
from PIL import Image


def read_safetensors(path: pathlib.Path) -> dict[str, torch.Tensor]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            numbers = numpy.frombuffer(data[8 + length + start : 8 + length + end], dtype="<f4")
            tensors[name] = torch.tensor(numbers).reshape(entry["shape"])
    return tensors


class ProtoNet:
    """conv4 with running statistics, and class means."""

    def __init__(self, folder: pathlib.Path, channels_last: bool):
        self.manifest = json.loads((folder / "manifest.json").read_text())
        theta = read_safetensors(folder / "theta.safetensors")
        blocks = torch.nn.ModuleList()
        for block in range(4):
            weight = theta[f"backbone.conv{block}.weight"]
            conv = torch.nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            conv.weight.data, conv.bias.data = weight, theta[f"backbone.conv{block}.bias"]
            norm = torch.nn.BatchNorm2d(weight.shape[0])
            norm.weight.data, norm.bias.data = (theta[f"backbone.norm{block}.{part}"] for part in ("weight", "bias"))
            norm.running_mean, norm.running_var = (theta[f"stats.norm{block}.{part}"] for part in ("mean", "var"))
            blocks.append(torch.nn.Sequential(conv, norm, torch.nn.ReLU(), torch.nn.MaxPool2d(2)))
        self.backbone = torch.nn.Sequential(*blocks, torch.nn.Flatten()).eval()
        self.channels_last = channels_last
        if channels_last:
            self.backbone = self.backbone.to(memory_format=torch.channels_last)
        schema = self.manifest["input"]
        self.side = (schema["width"], schema["height"])

    def pixels(self, item: dict) -> numpy.ndarray:
        if "values" in item:
            grid = numpy.asarray(item["values"], dtype=numpy.float32).reshape(item["shape"])[0]
        else:
            image = Image.open(io.BytesIO(base64.b64decode(item["image"]))).convert("L")
            grid = numpy.asarray(image.resize(self.side, Image.Resampling.BOX), dtype=numpy.float32) / 255.0
        border = numpy.concatenate([grid[0], grid[-1], grid[1:-1, 0], grid[1:-1, -1]])
        return 1.0 - grid if border.mean() > 0.5 else grid

    def images(self, body: dict) -> numpy.ndarray:
        """Support, then query, `[S + Q, H, W]`."""
        items = [example["input"] for example in body["support"]] + body["query"]
        return numpy.stack([self.pixels(item) for item in items])

    @torch.inference_mode()
    def adapt_predict(self, bodies: list[dict], images: list[numpy.ndarray]) -> list[dict]:
        x = torch.from_numpy(numpy.concatenate(images))[:, None]
        if self.channels_last:
            x = x.to(memory_format=torch.channels_last)
        features = self.backbone(x).split([len(own) for own in images])
        return [self.answer(body, own) for body, own in zip(bodies, features)]

    def answer(self, body: dict, features: torch.Tensor) -> dict:
        labels = list(dict.fromkeys(example["label"] for example in body["support"]))
        classes = torch.tensor([labels.index(example["label"]) for example in body["support"]])
        support, query = features[: len(classes)], features[len(classes) :]
        one_hot = F.one_hot(classes, len(labels)).float()
        prototypes = (one_hot.T @ support) / one_hot.sum(0)[:, None]
        scores = torch.softmax(-torch.cdist(query, prototypes).square(), -1)
        held_out = self.leave_one_out(support, one_hot, prototypes, classes)
        predictions = []
        for row in scores.tolist():
            order = sorted(range(len(labels)), key=lambda index: -row[index])
            predictions.append(
                {
                    "label": labels[order[0]],
                    "confidence": row[order[0]],
                    "scores": [{"label": labels[index], "score": row[index]} for index in order],
                }
            )
        return {"predictions": predictions, "quality": {"method": "leave_one_out", "accuracy": held_out}}

    @staticmethod
    def leave_one_out(support, one_hot, prototypes, classes) -> float:
        counts = one_hot.sum(0)
        factor = (counts / (counts - 1).clamp_min(1)).square()
        distances = torch.cdist(support, prototypes).square()
        distances = distances * (one_hot * factor + (1 - one_hot))
        return (distances.argmin(-1) == classes).float().mean().item()
