"""A base model as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_is_fitted

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
    """

    def __init__(
        self,
        base_model: str = "omniglot",
        base_url: str = "http://127.0.0.1:8080",
        api_key: str | None = None,
        batch: int | None = None,
    ) -> None:
        self.base_model = base_model
        self.base_url = base_url
        self.api_key = api_key
        self.batch = batch

    def fit(self, X: Any, y: Any) -> ImprintClassifier:
        X, y = np.asarray(X, dtype=float), np.asarray(y)
        if len(X) != len(y):
            raise ValueError(f"X has {len(X)} rows and y has {len(y)}")
        self.classes_ = unique_labels(y)
        with Imprint(self.base_url, self.api_key) as client:
            base = client.base_model(self.base_model)
        self.shape_ = shape_of(base["input"])
        self.batch_ = self.batch or base["limits"]["max_query"]
        self.n_features_in_ = int(np.prod(X.shape[1:]))
        # Labels travel as their places in `classes_`, whatever they are.
        places = np.searchsorted(self.classes_, y)
        self.support_ = [
            {"input": row, "label": str(place)} for row, place in zip(self._inputs(X), places, strict=True)
        ]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "support_")
        inputs = self._inputs(np.asarray(X, dtype=float))
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
        rows = X.reshape(len(X), -1)
        if rows.shape[1] != int(np.prod(self.shape_)):
            raise ValueError(f"`{self.base_model}` takes rows of shape {self.shape_}, not {X.shape[1:]}")
        if len(self.shape_) == 1:
            return rows.tolist()
        return [{"shape": list(self.shape_), "values": row} for row in rows.tolist()]
