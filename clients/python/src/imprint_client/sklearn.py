"""A base model as a scikit-learn classifier."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ._sync import Imprint


def shape_of(schema: dict[str, Any]) -> tuple[int, ...]:
    """Shape of one input of a base model."""
    if schema["type"] == "vector":
        return (schema["width"],)
    if schema["type"] == "image":
        return (schema["channels"], schema["height"], schema["width"])
    raise ValueError(f"a base model of inputs of type {schema['type']} takes no rows of numbers")


class ImprintClassifier(ClassifierMixin, BaseEstimator):
    """Adapts a base model to what it is fitted on; nothing is stored on the server.

    ``X`` has a row for each input: numbers for base models of vectors, pixels from 0 to 1 for those of images (in the
    base model's shape, flat or not).

    :param base_model: the base model's name.
    :param base_url: where the server is.
    :param api_key: the tenant's key.
    :param batch: most rows in one request; the base model's limit by default.
    :param fill_up: whether rows may be shorter than the base model's, and are filled up with zeros, as base models of
        tables expect.
    """

    def __init__(
        self,
        base_model: str = "omniglot",
        base_url: str = "http://127.0.0.1:8080",
        api_key: str | None = None,
        batch: int | None = None,
        fill_up: bool = False,
    ) -> None:
        self.base_model = base_model
        self.base_url = base_url
        self.api_key = api_key
        self.batch = batch
        self.fill_up = fill_up

    def fit(self, X: Any, y: Any) -> ImprintClassifier:
        X, y = validate_data(self, X, y, dtype="numeric", allow_nd=True)
        check_classification_targets(y)
        # Labels travel as their places in `classes_`, whatever they are.
        self.classes_, places = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("a classifier needs at least two classes, and there is one class")
        with Imprint(self.base_url, self.api_key) as client:
            base = client.base_model(self.base_model)
        self.shape_ = shape_of(base["input"])
        self.batch_ = self.batch or base["limits"]["max_query"]
        self.support_ = [
            {"input": row, "label": str(place)} for row, place in zip(self._inputs(X), places, strict=True)
        ]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "support_")
        inputs = self._inputs(validate_data(self, X, dtype="numeric", allow_nd=True, reset=False))
        probabilities = np.zeros((len(inputs), len(self.classes_)))
        with Imprint(self.base_url, self.api_key) as client:
            for start in range(0, len(inputs), self.batch_):
                answer = client.adapt_predict(self.base_model, self.support_, inputs[start : start + self.batch_])
                for row, prediction in enumerate(answer.predictions, start):
                    for label, score in prediction.scores:
                        probabilities[row, int(label)] = score
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def _inputs(self, X: np.ndarray) -> list[Any]:
        rows = X.reshape(len(X), -1).astype(float)
        missing = math.prod(self.shape_) - rows.shape[1]
        if missing < 0 or (missing > 0 and not self.fill_up):
            raise ValueError(f"`{self.base_model}` takes rows of shape {self.shape_}, not {X.shape[1:]}")
        rows = np.pad(rows, ((0, 0), (0, missing)))
        if len(self.shape_) == 1:
            return rows.tolist()
        return [{"shape": list(self.shape_), "values": row} for row in rows.tolist()]
