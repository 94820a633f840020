"""Questions that no label fits: how well a running server's confidence tells them from those that one does.

    imprint serve                          # in another terminal
    python benches/out_of_scope.py examples/train/text.toml --data DIR --key KEY

For each seed ten examples of each held-out intent of CLINC150, ten other questions of each, and as many of its
out-of-scope questions, by `adapt-predict`. Besides the area under the curve, what `abstain` does: its line is drawn from
the examples alone, none of which is out of scope. `--names off` calls the labels by numbers.

`--baseline ENCODER` asks no server: scikit-learn's logistic regression on the embeddings of the encoder in that folder, its
confidence the largest probability; C is the best of six for each figure on the test itself, in the baseline's favour.
"""

import argparse
import csv
import gzip
import json
import random
import tomllib
import urllib.request
from pathlib import Path
from statistics import mean, stdev

SHOT = ASKED = 10
AT_ONCE = 250


def ask(arguments, support, texts):
    answers = []
    for start in range(0, len(texts), AT_ONCE):
        body = {"base_model": "text", "support": support, "query": texts[start : start + AT_ONCE], "top_k": 1, "abstain": True}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {arguments.key}"}
        request = urllib.request.Request(f"{arguments.server}/v1/adapt-predict", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            answers += json.load(answer)["predictions"]
    return answers


class Baseline:
    def __init__(self, folder):
        from text_baseline import Encoder

        self.encode, self.known = Encoder(folder), {}

    def rows(self, texts):
        new = sorted(set(texts) - set(self.known))
        self.known.update(zip(new, self.encode(new)) if new else [])
        return [self.known[text] for text in texts]

    def answers(self, support, texts, c):
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=c, max_iter=1000)
        model.fit(self.rows([one["input"] for one in support]), [one["label"] for one in support])
        shares = model.predict_proba(self.rows(texts))
        return [{"label": model.classes_[row.argmax()], "confidence": row.max()} for row in shares]


def area(inside, outside):
    """The probability that a question in scope is answered more surely than one out of scope (Mann-Whitney)."""
    order = sorted([(score, True) for score in inside] + [(score, False) for score in outside])
    below, sum_of_ranks = 0, 0.0
    for _, is_inside in order:
        if is_inside:
            sum_of_ranks += below
        else:
            below += 1
    return sum_of_ranks / (len(inside) * len(outside))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--server", default="http://127.0.0.1:8080")
    parser.add_argument("--key", default="")
    parser.add_argument("--baseline")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--names", choices=["on", "off"], default="on")
    arguments = parser.parse_args()
    tables = tomllib.loads(arguments.config.read_text())["task"]["tables"]
    table = next(table for table in tables if "oos" in table.get("skip", []))
    with gzip.open(arguments.data / table["file"], "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    intents = {}
    for row in rows:
        if row[table["group"]] in table["test"] and row["intent"] != "oos":
            intents.setdefault(row["intent"], []).append(row["text"])
    strange = [row["text"] for row in rows if row["intent"] == "oos"]
    figures = {"area under the curve": [], "accuracy in scope": [], "answered in scope": [], "right of those": [], "answered out of scope": []}
    baseline = Baseline(arguments.baseline) if arguments.baseline else None
    by_c = {c: ([], []) for c in (1, 3, 10, 30, 100, 300)}
    for seed in range(arguments.seeds):
        rng = random.Random(seed)
        support, questions = [], []
        for number, (intent, texts) in enumerate(intents.items()):
            drawn = rng.sample(texts, SHOT + ASKED)
            label = intent if arguments.names == "on" else str(number)
            support += [{"input": text, "label": label} for text in drawn[:SHOT]]
            questions += [(text, label) for text in drawn[SHOT:]]
        others = rng.sample(strange, len(questions))
        if baseline:
            for c, (areas, accuracies) in by_c.items():
                inside, outside = (baseline.answers(support, texts, c) for texts in ([text for text, _ in questions], others))
                areas.append(area([a["confidence"] for a in inside], [a["confidence"] for a in outside]))
                accuracies.append(mean(answer["label"] == label for answer, (_, label) in zip(inside, questions)))
            continue
        inside = ask(arguments, support, [text for text, _ in questions])
        outside = ask(arguments, support, others)
        right = [answer["label"] == label for answer, (_, label) in zip(inside, questions)]
        answered = [not answer.get("abstained", False) for answer in inside]
        figures["area under the curve"].append(area([a["confidence"] for a in inside], [a["confidence"] for a in outside]))
        figures["accuracy in scope"].append(mean(right))
        figures["answered in scope"].append(mean(answered))
        figures["right of those"].append(mean(r for r, a in zip(right, answered) if a))
        figures["answered out of scope"].append(mean(not answer.get("abstained", False) for answer in outside))
    if baseline:
        best = lambda which: max((by_c[c][which] for c in by_c), key=mean)
        figures = {"area under the curve": best(0), "accuracy in scope": best(1)}
    for name, values in figures.items():
        print(f"{name}: {mean(values):.4f} ± {1.96 * stdev(values) / len(values) ** 0.5:.4f}")


if __name__ == "__main__":
    main()
