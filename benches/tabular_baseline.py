#!/usr/bin/env python3
"""What `imprint eval tabular` is compared with: scikit-learn's logistic regression, and the nearest row, on a few rows of each
class of the tables that the base model never saw.

    python benches/tabular_baseline.py --data DIR
"""

import argparse
import gzip
import pathlib
import tomllib

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

QUERY = 5
MODELS = {"logistic": lambda: LogisticRegression(max_iter=500), "nearest": lambda: KNeighborsClassifier(1)}


def table(path):
    """Standardised columns, and classes."""
    with gzip.open(path, "rt") as lines:
        target = next(lines).rstrip("\n").split("\t").index("target")
        cells = np.array([[float(cell) for cell in line.split("\t")] for line in lines])
    columns = np.delete(cells, target, 1)
    return (columns - columns.mean(0)) / (columns.std(0) + 1e-12), cells[:, target]


def episode(tables, shot, random):
    rows, classes = tables[random.integers(len(tables))]
    whole = [one for one in np.unique(classes) if (classes == one).sum() >= shot + QUERY]
    chosen = random.choice(whole, random.integers(2, min(10, len(whole)) + 1), replace=False)
    drawn = [random.permutation(np.flatnonzero(classes == one))[: shot + QUERY] for one in chosen]
    learned, asked = (np.concatenate(part) for part in zip(*((d[:shot], d[shot:]) for d in drawn)))
    return rows[learned], classes[learned], rows[asked], classes[asked]


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", type=pathlib.Path, required=True)
parser.add_argument("--episodes", type=int, default=400)
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
config = tomllib.loads((pathlib.Path(__file__).parent.parent / "examples/train/tabular.toml").read_text())
tables = [table(options.data / path) for path in config["task"]["files"]["test"]]
random = np.random.default_rng(options.seed)
for shot in (1, 5, 10):
    episodes = [episode(tables, shot, random) for _ in range(options.episodes)]
    for name, model in MODELS.items():
        scores = [model().fit(x, y).score(asked, truth) for x, y, asked, truth in episodes]
        spread = 1.96 * np.std(scores) / len(scores) ** 0.5
        print(f"{shot:2}-shot {name}: {100 * np.mean(scores):.2f} ± {100 * spread:.2f} %")
