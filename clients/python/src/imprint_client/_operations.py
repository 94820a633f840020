"""Every operation as a value: what to send, and how to read the answer. Both clients send the same ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

from ._models import Adaptation, Adapter, Added, BulkLine, BulkPrediction, Event, Example, Predictions, Task, read

LINES = "application/x-ndjson"

T = TypeVar("T")


@dataclass(frozen=True)
class Operation(Generic[T]):
    method: str
    path: str
    read: Callable[[Any], T]
    body: dict[str, Any] | None = None
    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None

    def answer(self, response: httpx.Response) -> T:
        """What an answer that is a success says."""
        if response.headers.get("content-type") == LINES:
            return self.read([json.loads(line) for line in response.text.splitlines()])
        return self.read(response.json() if response.content else None)


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list, and where it goes on."""

    data: list[T]
    next_cursor: str | None


def given(**values: Any) -> dict[str, Any]:
    """What was given."""
    return {name: value for name, value in values.items() if value is not None}


def page_of(cls: type[T]) -> Callable[[Any], Page[T]]:
    return lambda body: Page([read(cls, row) for row in body["data"]], body.get("next_cursor"))


def nothing(_: Any) -> None:
    return None


def create_task(name: str, base_model: str, **fields: Any) -> Operation[Task]:
    body = given(name=name, base_model=base_model, **fields)
    return Operation("POST", "/v1/tasks", lambda answer: read(Task, answer), body)


def get_task(task: str) -> Operation[Task]:
    return Operation("GET", f"/v1/tasks/{task}", lambda answer: read(Task, answer))


def update_task(task: str, if_match: str | None, **fields: Any) -> Operation[Task]:
    headers = given(**{"if-match": if_match})
    return Operation("PATCH", f"/v1/tasks/{task}", lambda answer: read(Task, answer), given(**fields), headers=headers)


def delete_task(task: str) -> Operation[None]:
    return Operation("DELETE", f"/v1/tasks/{task}", nothing)


def list_tasks(after: str | None = None) -> Operation[Page[Task]]:
    return Operation("GET", "/v1/tasks", page_of(Task), query=given(after=after, limit=100))


def add_support(task: str, examples: Sequence[dict[str, Any]], unlabelled: Sequence[Any]) -> Operation[Added]:
    body: dict[str, Any] = {"examples": list(examples)}
    if unlabelled:
        body["unlabelled"] = list(unlabelled)
    return Operation("POST", f"/v1/tasks/{task}/support", lambda answer: read(Added, answer), body)


def list_support(task: str, after: str | None = None) -> Operation[Page[Example]]:
    return Operation("GET", f"/v1/tasks/{task}/support", page_of(Example), query=given(after=after, limit=100))


def update_support(task: str, example: str, if_match: str | None, **fields: Any) -> Operation[Example]:
    path, headers = f"/v1/tasks/{task}/support/{example}", given(**{"if-match": if_match})
    return Operation("PATCH", path, lambda answer: read(Example, answer), given(**fields), headers=headers)


def delete_support(task: str, example: str) -> Operation[None]:
    return Operation("DELETE", f"/v1/tasks/{task}/support/{example}", nothing)


def create_adaptation(task: str, wait: int, **fields: Any) -> Operation[Adaptation]:
    path, headers = f"/v1/tasks/{task}/adaptations", {"prefer": f"wait={wait}"} if wait else {}
    return Operation("POST", path, lambda answer: read(Adaptation, answer), given(**fields), headers=headers)


def get_adaptation(adaptation: str) -> Operation[Adaptation]:
    return Operation("GET", f"/v1/adaptations/{adaptation}", lambda answer: read(Adaptation, answer))


def cancel_adaptation(adaptation: str) -> Operation[Adaptation]:
    return Operation("POST", f"/v1/adaptations/{adaptation}/cancel", lambda answer: read(Adaptation, answer), {})


def list_events(adaptation: str) -> Operation[list[Event]]:
    def events(body: Any) -> list[Event]:
        return [read(Event, row) for row in body["data"]]

    return Operation("GET", f"/v1/adaptations/{adaptation}/events", events)


def list_adapters(task: str, after: str | None = None) -> Operation[Page[Adapter]]:
    return Operation("GET", f"/v1/tasks/{task}/adapters", page_of(Adapter), query=given(after=after, limit=100))


def promote(task: str, version: int) -> Operation[Task]:
    return Operation("POST", f"/v1/tasks/{task}/adapters/{version}/promote", lambda answer: read(Task, answer), {})


def rollback(task: str) -> Operation[Task]:
    return Operation("POST", f"/v1/tasks/{task}/rollback", lambda answer: read(Task, answer), {})


def predict(task: str, query: Sequence[Any], **fields: Any) -> Operation[Predictions]:
    body = given(query=list(query), **fields)
    return Operation("POST", f"/v1/tasks/{task}/predict", Predictions.read, body)


def create_bulk_prediction(task: str, inputs: Iterable[Any], **fields: Any) -> Operation[BulkPrediction]:
    lines = (one if isinstance(one, dict) and "input" in one else {"input": one} for one in inputs)
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path, headers = f"/v1/tasks/{task}/bulk-predictions", {"content-type": LINES}
    query = {name: str(value).lower() for name, value in given(**fields).items()}
    return Operation("POST", path, lambda answer: read(BulkPrediction, answer), None, query, headers, content)


def get_bulk_prediction(bulk: str) -> Operation[BulkPrediction]:
    return Operation("GET", f"/v1/bulk-predictions/{bulk}", lambda answer: read(BulkPrediction, answer))


def cancel_bulk_prediction(bulk: str) -> Operation[BulkPrediction]:
    return Operation("POST", f"/v1/bulk-predictions/{bulk}/cancel", lambda answer: read(BulkPrediction, answer), {})


def delete_bulk_prediction(bulk: str) -> Operation[None]:
    return Operation("DELETE", f"/v1/bulk-predictions/{bulk}", nothing)


def bulk_output(bulk: str, first: int) -> Operation[list[BulkLine]]:
    path = f"/v1/bulk-predictions/{bulk}/output"
    return Operation("GET", path, lambda lines: [BulkLine.read(line) for line in lines], query={"from": first})


def rank(task: str, candidates: Sequence[dict[str, Any]], **fields: Any) -> Operation[dict[str, Any]]:
    body = given(candidates=list(candidates), **fields)
    return Operation("POST", f"/v1/tasks/{task}/rank", dict, body)


def evaluate(task: str, examples: Sequence[dict[str, Any]], version: int | None) -> Operation[dict[str, Any]]:
    body = given(examples=list(examples), version=version)
    return Operation("POST", f"/v1/tasks/{task}/evaluate", dict, body)


def feedback(task: str, prediction: str, label: str | None, value: float | None) -> Operation[dict[str, Any]]:
    body = given(prediction_id=prediction, label=label, value=value)
    return Operation("POST", f"/v1/tasks/{task}/feedback", dict, body)


def adapt_predict(
    base_model: str, support: Sequence[dict[str, Any]], query: Sequence[Any], **fields: Any
) -> Operation[Predictions]:
    body = given(base_model=base_model, support=list(support), query=list(query), **fields)
    return Operation("POST", "/v1/adapt-predict", Predictions.read, body)


def create_webhook(url: str, topics: Sequence[str]) -> Operation[dict[str, Any]]:
    return Operation("POST", "/v1/webhooks", dict, {"url": url, "topics": list(topics)})


def delete_webhook(webhook: str) -> Operation[None]:
    return Operation("DELETE", f"/v1/webhooks/{webhook}", nothing)


def usage(**days: Any) -> Operation[dict[str, Any]]:
    return Operation("GET", "/v1/usage", dict, query=given(**days))


def erase(scope: str, **what: Any) -> Operation[dict[str, Any]]:
    return Operation("POST", "/v1/erase", dict, given(scope=scope, **what))


def base_model(name: str) -> Operation[dict[str, Any]]:
    return Operation("GET", f"/v1/base-models/{name}", dict)
