"""The baselines of docs/ranking.md: the same people, signals and candidates as `imprint eval` has, without a base model.

    imprint eval ranking --data DIR --json > ranking.json
    pip install torch==2.11.0 transformers && \
    python benches/ranking_baseline.py examples/train/ranking.toml --data DIR --imprint ranking.json

* popularity: how many of the people to train on like an item.
* item-kNN: the cosine between embeddings by the same encoder, to a power, summed over the signals; alone, and with a share
  of the logarithm of popularity.
* factorisation, as LightFM has it (Kula 2015, arXiv:1507.08439): an item is a vector and a bias of its own and a linear map
  of its embedding; learned with a vector for each person to train on, by BPR or by the softmax over the catalogue; a new
  person's vector is fitted to the signals under a penalty.
* EASE (Steck 2019, arXiv:1905.03375), for scale: it knows no texts, and is refitted for each catalogue.

What each can choose (powers, shares, sizes, penalties, passes) is chosen by NDCG@10 of the people for validation at 5
signals. With --imprint, the last column is the mean of each person's difference to the base model, with its 95 % interval.
"""

import argparse
import csv
import gzip
import hashlib
import itertools
import json
import tomllib
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

LIKED = 0.5


def digest(text):
    return hashlib.sha256(text.encode()).digest()


def rows(path):
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as file:
        yield from csv.DictReader(file)


class Catalogue:
    """Items, people and splits as `src/meta/task/preferences.rs` reads them."""

    def __init__(self, task, data):
        table, signals = task["items"], task["signals"]
        self.places, self.texts = {}, []
        for row in rows(data / table["file"]):
            self.places[row[table["id"]]] = len(self.texts)
            parts = [part.strip() for name in table["text"] for part in row[name].split("|")]
            self.texts.append(", ".join(part for part in parts if part))
        worst, best = signals.get("scale", [1, 5])
        people = {}
        for row in rows(data / signals["file"]):
            rating = signals.get("rating")
            value = 1.0 if rating is None else 2 * (float(row[rating]) - worst) / (best - worst) - 1
            deed = (self.places[row[signals["item"]]], min(1.0, max(-1.0, value)))
            person = row[signals["person"]]
            people.setdefault(digest(person), {})[digest(f"{person}/{row[signals['item']]}")] = deed
        train, validation = task["tenths"]
        self.people = {"train": [], "validation": [], "test": []}
        for key in sorted(people):
            tenth = key[0] % 10
            split = "train" if tenth < train else "validation" if tenth < train + validation else "test"
            self.people[split].append([people[key][order] for order in sorted(people[key])])
        self.choices = [[item for item, value in deeds if value >= LIKED] for deeds in self.people["train"]]
        self.counts = np.bincount([item for chosen in self.choices for item in chosen], minlength=len(self.texts))
        self.priors = np.log((self.counts + 0.5) / (len(self.choices) + 1))

    def episodes(self, split, shot):
        for deeds in self.people[split]:
            liked = [item for item, value in deeds[shot:] if value >= LIKED]
            if liked:
                yield deeds[:shot], liked


def judged(catalogue, split, shot, score):
    """NDCG@10 and hit of each person; `score` takes all supports at once and gives a row of scores for each."""
    episodes = list(catalogue.episodes(split, shot))
    figures = []
    for (support, liked), scores in zip(episodes, score([support for support, _ in episodes])):
        scores = scores.copy()
        scores[[item for item, _ in support]] = -np.inf
        gains = np.isin(np.argsort(-scores, kind="stable")[:10], liked)
        discounts = 1 / np.log2(np.arange(2, 12))
        figures.append([(gains * discounts).sum() / discounts[: min(10, len(set(liked)))].sum(), float(gains.any())])
    return np.array(figures)


def embedded(texts, folder):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order, found = sorted(range(len(texts)), key=lambda place: len(texts[place])), np.zeros((len(texts), 384), np.float32)
    with torch.no_grad():
        for start in range(0, len(order), 64):
            some = order[start : start + 64]
            pieces = tokenizer([texts[place] for place in some], padding=True, truncation=True, return_tensors="pt")
            mask = pieces["attention_mask"][..., None].float()
            means = (model(**pieces).last_hidden_state * mask).sum(1) / mask.sum(1)
            found[some] = torch.nn.functional.normalize(means, dim=1).numpy()
    return found


def popularity(catalogue):
    return lambda supports: [catalogue.priors] * len(supports)


def neighbours(catalogue, embeddings, power, share, shift):
    def score(supports):
        for support in supports:
            items, values = [item for item, _ in support], np.array([value for _, value in support])
            near = np.maximum(embeddings @ embeddings[items].T, 0) ** power
            yield near @ (values + shift) + share * catalogue.priors

    return score


def ease(catalogue, penalty, most=3000):
    kept = np.argsort(-catalogue.counts, kind="stable")[:most]
    place = {item: index for index, item in enumerate(kept)}
    table = np.zeros((len(catalogue.choices), len(kept)))
    for person, chosen in enumerate(catalogue.choices):
        table[person, [place[item] for item in chosen if item in place]] = 1
    inverse = np.linalg.inv(table.T @ table + penalty * np.eye(len(kept)))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)

    def score(supports):
        for support in supports:
            scores = catalogue.priors - 1e3
            scores[kept] = sum(weights[place[item]] for item, value in support if value >= LIKED and item in place) + (
                1e-4 * catalogue.priors[kept]
            )
            yield scores

    return score


class Factorisation:
    def __init__(self, catalogue, embeddings, loss, size, penalty, knows_texts):
        generator = torch.Generator().manual_seed(1)
        draw = lambda *shape: (torch.randn(*shape, generator=generator) * 0.05).requires_grad_()
        self.loss, self.catalogue, self.penalty, self.generator = loss, catalogue, penalty, generator
        self.texts, items = torch.tensor(embeddings), len(embeddings)
        self.own, self.map, self.people = draw(items, size), draw(384, size), draw(len(catalogue.choices), size)
        self.bias = torch.zeros(items, requires_grad=True)
        self.knows_texts = knows_texts
        self.optimizer = torch.optim.Adam([self.own, self.map, self.people, self.bias], lr=0.02)
        pairs = [(person, item) for person, chosen in enumerate(catalogue.choices) for item in chosen]
        self.pairs = torch.tensor(pairs)

    def items(self):
        return self.own + self.texts @ self.map if self.knows_texts else self.own

    def surprise(self, vectors, chosen, items):
        if self.loss == "softmax":
            return torch.nn.functional.cross_entropy(vectors @ items.T + self.bias, chosen)
        others = torch.randint(len(items), chosen.shape, generator=self.generator)
        margin = (vectors * (items[chosen] - items[others])).sum(1) + self.bias[chosen] - self.bias[others]
        return -torch.nn.functional.logsigmoid(margin).mean()

    def epoch(self):
        for some in torch.randperm(len(self.pairs), generator=self.generator).split(2048):
            person, chosen = self.pairs[some].T
            vectors, items = self.people[person], self.items()
            size = (vectors**2).sum() / len(some) + (items[chosen] ** 2).sum() / len(some)
            self.optimizer.zero_grad()
            (self.surprise(vectors, chosen, items) + self.penalty * size).backward()
            self.optimizer.step()

    def scores(self, pull):
        """Fits new people's vectors: a penalised maximum under the softmax over the catalogue."""

        def score(supports):
            with torch.no_grad():
                items, bias = self.items().clone(), self.bias.clone()
            table = torch.zeros(len(supports), len(items))
            for person, support in enumerate(supports):
                for item, value in support:
                    table[person, item] = float(value >= LIKED)
            vectors = torch.zeros(len(supports), items.shape[1], requires_grad=True)
            optimizer = torch.optim.Adam([vectors], lr=0.1)
            for _ in range(60):
                surprise = -(torch.log_softmax(vectors @ items.T + bias, 1) * table).sum()
                optimizer.zero_grad()
                (surprise + pull * (vectors**2).sum()).backward()
                optimizer.step()
            return (vectors @ items.T + bias).detach().numpy()

        return score


def factorised(catalogue, embeddings, epochs, judge):
    best = (-1.0, None, None)
    for loss, size, penalty, knows_texts in itertools.product(["bpr", "softmax"], [16, 64], [1e-3, 1e-2], [False, True]):
        model = Factorisation(catalogue, embeddings, loss, size, penalty, knows_texts)
        for epoch in range(1, epochs + 1):
            model.epoch()
            if epoch % max(1, epochs // 4):
                continue
            for pull in [0.03, 0.3, 3.0]:
                figure = judge(model.scores(pull))
                if figure > best[0]:
                    kept = Factorisation.__new__(Factorisation)
                    kept.__dict__ = model.__dict__ | {
                        name: getattr(model, name).detach().clone() for name in ("own", "map", "bias")
                    }
                    best = (figure, kept.scores(pull), f"{loss}, {size} numbers, penalty {penalty}, texts {knows_texts}, pull {pull}, {epoch} passes")
    return best


def interval(figures):
    return f"{figures.mean():.4f} ± {1.96 * figures.std(ddof=1) / len(figures) ** 0.5:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="the training file whose people are measured on")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--encoders", type=Path, default=Path(".imprint/encoders"))
    parser.add_argument("--imprint", type=Path, help="what `imprint eval --json` printed for the same people")
    parser.add_argument("--epochs", type=int, default=20)
    arguments = parser.parse_args()
    task = tomllib.loads(arguments.config.read_text())
    task = task.get("task", task)
    task = task["of"][0] if task["kind"] == "mixture" else task
    catalogue = Catalogue(task, arguments.data)
    embeddings = embedded(catalogue.texts, arguments.encoders / task["encoder"])
    judge = lambda score: judged(catalogue, "validation", 5, score)[:, 0].mean()
    best = lambda make, grid: max(((judge(make(*choice)), make(*choice), choice) for choice in grid), key=lambda tried: tried[0])
    knn = lambda power, share, shift: neighbours(catalogue, embeddings, power, share, shift)
    shares = [0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0]
    methods = {
        "popularity": (popularity(catalogue), ""),
        "item-kNN": best(knn, itertools.product([1, 2, 4], [0.0], [0, 0.5, 1]))[1:],
        "item-kNN and popularity": best(knn, itertools.product([1, 2, 4], shares, [0, 0.5, 1]))[1:],
        "EASE": best(lambda penalty: ease(catalogue, penalty), [(20,), (50,), (100,), (200,), (500,)])[1:],
        "factorisation": factorised(catalogue, embeddings, arguments.epochs, judge)[1:],
    }
    found = json.loads(arguments.imprint.read_text())["figures"] if arguments.imprint else []
    own = {int(line["setting"].split("-")[0]): np.array(line["each"]) for line in found}
    for shot in (5, 10):
        for name, (score, choice) in methods.items():
            figures = judged(catalogue, "test", shot, score)
            line = f"{shot:>2} signals  {name:<24} NDCG@10 {interval(figures[:, 0])}  hits {interval(figures[:, 1])}"
            if shot in own:
                line += f"  base model ahead by {interval(own[shot][:, 0] - figures[:, 0])}"
            print(f"{line}  {len(figures)} people  {choice}", flush=True)
        if shot in own:
            print(f"{shot:>2} signals  {'base model':<24} NDCG@10 {interval(own[shot][:, 0])}  hits {interval(own[shot][:, 1])}")


if __name__ == "__main__":
    main()
