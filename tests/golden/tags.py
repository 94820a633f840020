"""Makes tags.json: what seqeval and scikit-learn say of the tags that tests/maths/tags.rs gives to Imprint.

    pip install seqeval==1.2.2 && python tests/golden/tags.py > tests/golden/tags.json

Tags are drawn at random, so that every way in which a span can begin, end or go wrong occurs, sequences that IOB2 does
not allow among them.
"""

import json
import random

from seqeval.metrics import classification_report as of_spans
from sklearn.metrics import classification_report as of_words

rng = random.Random(5)
LABELS = ["event", "person", "place"]
TAGS = ["O"] + [f"{prefix}-{label}" for label in LABELS for prefix in "BI"]


def sentence():
    truth = rng.choices(TAGS, weights=[6, 2, 2, 2, 2, 1, 1], k=rng.randint(1, 12))
    return truth, [tag if rng.random() < 0.7 else rng.choice(TAGS) for tag in truth]


def lines(report):
    return {
        name: [line["precision"], line["recall"], line["f1-score"], int(line["support"])]
        for name, line in report.items()
        if isinstance(line, dict)
    }


sentences = [sentence() for _ in range(60)]
truth, answered = [truth for truth, _ in sentences], [answered for _, answered in sentences]
flat_truth, flat_answered = sum(truth, []), sum(answered, [])
common = {"output_dict": True, "zero_division": 0}
report = of_words(flat_truth, flat_answered, labels=TAGS, **common)
# Of all classes together scikit-learn prints the micro mean as `accuracy`: precision, recall and F1 are one number.
token = lines(report) | {"micro avg": [report["accuracy"]] * 3 + [len(flat_truth)]}
print(
    json.dumps(
        {
            "labels": LABELS,
            "truth": truth,
            "answered": answered,
            "entities": lines(of_spans(truth, answered, **common)),
            "tokens": token,
            "tokens_in_spans": lines(of_words(flat_truth, flat_answered, labels=TAGS[1:], **common)),
        }
    )
)
