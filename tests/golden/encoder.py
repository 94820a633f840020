"""Makes encoder.json: what sentence-transformers says to the texts that tests/it/encoder.rs gives to Imprint's encoder.

    imprint models pull
    pip install torch==2.11.0 sentence-transformers==6.2.0
    python tests/golden/encoder.py .imprint/encoders/all-MiniLM-L6-v2 > tests/golden/encoder.json

The folder holds config.json, tokenizer.json and model.safetensors; pooling is put together here as the model's own
`modules.json` has it: the mean over at most 256 tokens, then length 1.
"""

import json
import sys

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

TEXTS = [
    "hello",
    "i need $20000 transferred from my savings to my checking",
    "What can I do if my card still hasn't arrived after 2 weeks?",
    "Mid-cap funds can deliver more, stay put: Experts",
    "Où est la gare? C’est très loin — 3 km.",
    "東京で一番おいしいラーメン屋はどこですか",
    "antidisestablishmentarianism 😀 ok\tthen\nnext line",
    "the quick brown fox jumps over the lazy dog. " * 40,
]

transformer = Transformer(sys.argv[1], max_seq_length=256)
pooling = Pooling(transformer.get_embedding_dimension(), "mean")
model = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cpu")


def rounded(rows):
    return [[round(float(number), 7) for number in row] for row in rows]


# One at a time: no padding.
embeddings = [model.encode([text])[0] for text in TEXTS]
features = model.encode([TEXTS[2]], output_value="token_embeddings")[0]
json.dump(
    {"texts": TEXTS, "embeddings": rounded(embeddings), "features_of": 2, "features": rounded(features)},
    sys.stdout,
    ensure_ascii=False,
)
