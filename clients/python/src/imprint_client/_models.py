"""What the server answers. Fields that a newer server adds are left aside."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

T = TypeVar("T")


def read(cls: type[T], body: dict[str, Any]) -> T:
    """The fields of `cls` that are in `body`."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: value for name, value in body.items() if name in names})


@dataclass(frozen=True)
class Task:
    id: str
    name: str
    kind: str
    base_model: str
    labels: list[dict[str, Any]]
    etag: str
    created_at: str
    updated_at: str
    metadata: dict[str, Any]
    active_version: int | None = None
    latest_version: int | None = None
    state: str | None = None
    support_count: int | None = None
    settings: dict[str, Any] | None = None


@dataclass(frozen=True)
class Example:
    id: str
    input: Any
    created_at: str
    label: str | None = None
    value: float | None = None
    #: For how many examples it counts, if that is not 1.
    weight: float | None = None
    spans: list[dict[str, Any]] | None = None
    external_id: str | None = None
    etag: str | None = None


@dataclass(frozen=True)
class Added:
    added: int
    ids: list[str]
    duplicates: list[dict[str, Any]]
    support_count: int
    adaptation: dict[str, Any] | None = None
    rejected: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Adaptation:
    id: str
    task: str
    status: str
    recipe: dict[str, Any]
    attempt: int
    created_at: str
    latency_budget_ms: int | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    queue: dict[str, Any] | None = None
    started_at: str | None = None
    finished_at: str | None = None

    @property
    def is_over(self) -> bool:
        return self.status in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Adapter:
    version: int
    id: str
    base_model: dict[str, str]
    support_hash: str
    support_count: int
    labels: list[str]
    sha256: str
    bytes: int
    created_at: str
    recipe: dict[str, Any]
    quality: dict[str, Any] | None = None


@dataclass(frozen=True)
class Span:
    """A stretch of a text: the end is excluded, and both count characters, as Python's strings do."""

    start: int
    end: int
    label: str
    text: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    #: None in the output of a bulk prediction.
    id: str | None = None
    label: str | None = None
    confidence: float | None = None
    value: float | None = None
    abstained: bool = False
    scores: tuple[tuple[str, float], ...] = ()
    spans: tuple[Span, ...] = ()
    tags: tuple[str, ...] = ()

    @classmethod
    def read(cls, body: dict[str, Any]) -> Prediction:
        scores = tuple((score["label"], score["score"]) for score in body.get("scores", []))
        spans = tuple(read(Span, span) for span in body.get("spans", []))
        return read(cls, {**body, "scores": scores, "spans": spans, "tags": tuple(body.get("tags", []))})


@dataclass(frozen=True)
class Predictions:
    predictions: list[Prediction]
    base_model: dict[str, str]
    #: "adapter", or "prototype" while a task has none; None for `adapt_predict`.
    served_by: str | None = None
    version: int | None = None
    support_hash: str | None = None
    quality: dict[str, Any] | None = None

    @classmethod
    def read(cls, body: dict[str, Any]) -> Predictions:
        return read(cls, {**body, "predictions": [Prediction.read(answer) for answer in body["predictions"]]})


@dataclass(frozen=True)
class BulkPrediction:
    id: str
    task: str
    version: int
    status: str
    lines: int
    answered: int
    refused: int
    bytes: int
    created_at: str
    error: dict[str, Any] | None = None
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str | None = None

    @property
    def is_over(self) -> bool:
        return self.status in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class BulkLine:
    """What became of one input: a prediction, or errors."""

    index: int
    external_id: str | None = None
    prediction: Prediction | None = None
    errors: tuple[dict[str, Any], ...] = ()

    @classmethod
    def read(cls, body: dict[str, Any]) -> BulkLine:
        prediction = Prediction.read(body["prediction"]) if "prediction" in body else None
        return read(cls, {**body, "prediction": prediction, "errors": tuple(body.get("errors", []))})


@dataclass(frozen=True)
class Event:
    id: str
    type: str
    data: dict[str, Any]
    created_at: str
