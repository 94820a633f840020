"""The asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar

import httpx

from . import _operations as op
from ._models import Adaptation, Adapter, Added, BulkLine, BulkPrediction, Event, Example, Predictions, Task
from ._operations import Operation, Page
from ._retries import backoff, headers_of, may_repeat_lost, pause_after, problem_of

T = TypeVar("T")


class AsyncImprint:
    """A server of Imprint, and the key of one tenant.

    :param base_url: where the server is.
    :param api_key: a key of ``imprint keys create``; not needed where the server runs with ``--no-auth``.
    :param timeout: longest time that one request may take, in seconds.
    :param max_retries: how often a request is sent again that the server could not take.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 60.0,
        max_retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout, transport=transport)
        self._max_retries = max_retries

    async def __aenter__(self) -> AsyncImprint:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self._http.aclose()

    async def send(self, operation: Operation[T]) -> T:
        """Sends an operation, again if need be, and reads its answer."""
        headers = headers_of(operation)
        for attempt in range(self._max_retries + 1):
            is_last = attempt == self._max_retries
            try:
                response = await self._http.request(
                    operation.method,
                    operation.path,
                    json=operation.body,
                    content=operation.content,
                    params=operation.query,
                    headers=headers,
                )
            except httpx.TransportError:
                if is_last or not may_repeat_lost(operation):
                    raise
                await asyncio.sleep(backoff(attempt))
                continue
            if response.is_success:
                return operation.answer(response)
            pause = pause_after(response, attempt)
            if pause is None or is_last:
                raise problem_of(response)
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def create_task(
        self,
        name: str,
        base_model: str,
        *,
        kind: str | None = None,
        labels: Sequence[str] | None = None,
        support: Sequence[dict[str, Any]] | None = None,
        metadata: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> Task:
        """Makes a task, with its first examples if there are any."""
        fields = {"kind": kind, "labels": labels, "support": support, "metadata": metadata, "settings": settings}
        return await self.send(op.create_task(name, base_model, **fields))

    async def get_task(self, task: str) -> Task:
        return await self.send(op.get_task(task))

    async def update_task(
        self,
        task: str,
        *,
        name: str | None = None,
        metadata: dict[str, Any] | None = None,
        add_labels: Sequence[str] | None = None,
        settings: dict[str, Any] | None = None,
        if_match: str | None = None,
    ) -> Task:
        """Changes a task; with ``if_match``, only as it was read."""
        fields = {"name": name, "metadata": metadata, "add_labels": add_labels, "settings": settings}
        return await self.send(op.update_task(task, if_match, **fields))

    async def delete_task(self, task: str) -> None:
        await self.send(op.delete_task(task))

    async def list_tasks(self) -> AsyncIterator[Task]:
        """All tasks, newest first, a page at a time."""
        async for row in self._rows(op.list_tasks):
            yield row

    async def add_support(
        self, task: str, examples: Sequence[dict[str, Any]], *, unlabelled: Sequence[Any] = ()
    ) -> Added:
        """Adds examples to a task: all of them, or none and the reasons."""
        return await self.send(op.add_support(task, examples, unlabelled))

    async def list_support(self, task: str) -> AsyncIterator[Example]:
        """All examples of a task, newest first, a page at a time."""
        async for row in self._rows(lambda after: op.list_support(task, after)):
            yield row

    async def update_support(
        self,
        task: str,
        example: str,
        *,
        label: str | None = None,
        value: float | None = None,
        weight: float | None = None,
        external_id: str | None = None,
        if_match: str | None = None,
    ) -> Example:
        """Changes what an example is labelled with; with ``if_match``, only as it was read."""
        fields = {"label": label, "value": value, "weight": weight, "external_id": external_id}
        return await self.send(op.update_support(task, example, if_match, **fields))

    async def delete_support(self, task: str, example: str) -> None:
        await self.send(op.delete_support(task, example))

    async def adapt(
        self,
        task: str,
        *,
        inner_steps: int | None = None,
        seed: int | None = None,
        latency_budget_ms: int | None = None,
        promote: bool | str | None = None,
        wait: int = 30,
    ) -> Adaptation:
        """Adapts a task to its examples and waits for the end. One that fails is an :class:`ImprintError`."""
        fields = {"inner_steps": inner_steps, "seed": seed, "latency_budget_ms": latency_budget_ms, "promote": promote}
        adaptation = await self.send(op.create_adaptation(task, wait, **fields))
        while not adaptation.is_over:
            await asyncio.sleep(0.5)
            adaptation = await self.get_adaptation(adaptation.id)
        return adaptation

    async def start_adaptation(
        self,
        task: str,
        *,
        inner_steps: int | None = None,
        seed: int | None = None,
        latency_budget_ms: int | None = None,
        promote: bool | str | None = None,
    ) -> Adaptation:
        """Puts an adaptation into the queue."""
        fields = {"inner_steps": inner_steps, "seed": seed, "latency_budget_ms": latency_budget_ms, "promote": promote}
        return await self.send(op.create_adaptation(task, 0, **fields))

    async def get_adaptation(self, adaptation: str) -> Adaptation:
        return await self.send(op.get_adaptation(adaptation))

    async def cancel_adaptation(self, adaptation: str) -> Adaptation:
        return await self.send(op.cancel_adaptation(adaptation))

    async def list_events(self, adaptation: str) -> list[Event]:
        """What happened to an adaptation so far."""
        return await self.send(op.list_events(adaptation))

    async def list_adapters(self, task: str) -> AsyncIterator[Adapter]:
        """All versions of a task's adapter, newest first, a page at a time."""
        async for row in self._rows(lambda after: op.list_adapters(task, after)):
            yield row

    async def promote(self, task: str, version: int) -> Task:
        """Makes a version the one that answers."""
        return await self.send(op.promote(task, version))

    async def rollback(self, task: str) -> Task:
        """Makes the version that answered before the one that answers."""
        return await self.send(op.rollback(task))

    async def predict(
        self,
        task: str,
        query: Sequence[Any],
        *,
        version: int | None = None,
        top_k: int | None = None,
        abstain: bool | None = None,
        store: bool | None = None,
        prototype: bool | None = None,
    ) -> Predictions:
        """Predicts with a task's adapter; with ``prototype``, by the means of its examples while there is none."""
        fields = {"version": version, "top_k": top_k, "abstain": abstain, "store": store, "prototype": prototype}
        return await self.send(op.predict(task, query, **fields))

    async def start_bulk_prediction(
        self,
        task: str,
        inputs: Iterable[Any],
        *,
        version: int | None = None,
        top_k: int | None = None,
        abstain: bool | None = None,
    ) -> BulkPrediction:
        """Predicts for many inputs when there is nothing else to do. ``{"input": …, "external_id": …}`` names one."""
        fields = {"version": version, "top_k": top_k, "abstain": abstain}
        return await self.send(op.create_bulk_prediction(task, inputs, **fields))

    async def get_bulk_prediction(self, bulk: str) -> BulkPrediction:
        return await self.send(op.get_bulk_prediction(bulk))

    async def cancel_bulk_prediction(self, bulk: str) -> BulkPrediction:
        return await self.send(op.cancel_bulk_prediction(bulk))

    async def delete_bulk_prediction(self, bulk: str) -> None:
        await self.send(op.delete_bulk_prediction(bulk))

    async def bulk_output(self, bulk: str, *, first: int = 0) -> AsyncIterator[BulkLine]:
        """The lines of a bulk prediction's output from ``first`` on, as they are answered, until it is over."""
        while True:
            # The status first: once it is over, the lines are all there.
            is_over = (await self.get_bulk_prediction(bulk)).is_over
            lines = await self.send(op.bulk_output(bulk, first))
            for line in lines:
                yield line
                first = line.index + 1
            if is_over:
                return
            if not lines:
                await asyncio.sleep(0.5)

    async def rank(
        self,
        task: str,
        candidates: Sequence[dict[str, Any]],
        *,
        top_n: int | None = None,
        nearest: int | None = None,
        version: int | None = None,
    ) -> dict[str, Any]:
        """Puts candidates, each an `input` and perhaps an `id`, in the order in which a person would choose them."""
        return await self.send(op.rank(task, candidates, top_n=top_n, nearest=nearest, version=version))

    async def evaluate(
        self, task: str, examples: Sequence[dict[str, Any]], *, version: int | None = None
    ) -> dict[str, Any]:
        """Judges a version by labelled examples, which are not kept."""
        return await self.send(op.evaluate(task, examples, version))

    async def feedback(
        self, task: str, prediction: str, *, label: str | None = None, value: float | None = None
    ) -> dict[str, Any]:
        """Adds what a stored prediction was asked, with what would have been right, to the task's examples."""
        return await self.send(op.feedback(task, prediction, label, value))

    async def adapt_predict(
        self,
        base_model: str,
        support: Sequence[dict[str, Any]],
        query: Sequence[Any],
        *,
        kind: str | None = None,
        unlabelled: Sequence[Any] | None = None,
        recipe: dict[str, Any] | None = None,
        top_k: int | None = None,
        abstain: bool | None = None,
    ) -> Predictions:
        """Adapts and predicts in one call; nothing is stored."""
        fields = {"kind": kind, "unlabelled": unlabelled, "recipe": recipe, "top_k": top_k, "abstain": abstain}
        return await self.send(op.adapt_predict(base_model, support, query, **fields))

    async def create_webhook(self, url: str, topics: Sequence[str] = ()) -> dict[str, Any]:
        """Makes a webhook; its ``secret`` is shown now and never again."""
        return await self.send(op.create_webhook(url, topics))

    async def delete_webhook(self, webhook: str) -> None:
        await self.send(op.delete_webhook(webhook))

    async def usage(self, *, first: str | None = None, last: str | None = None) -> dict[str, Any]:
        """What the tenant had, day by day (``YYYY-MM-DD``), and what is stored."""
        return await self.send(op.usage(**{"from": first, "to": last}))

    async def erase(self, scope: str, *, task: str | None = None, support: str | None = None) -> dict[str, Any]:
        """Removes an ``example``, a ``task`` or the whole ``tenant`` for good; the signed receipt."""
        return await self.send(op.erase(scope, task=task, support=support))

    async def base_model(self, name: str) -> dict[str, Any]:
        return await self.send(op.base_model(name))

    async def _rows(self, page: Callable[[str | None], Operation[Page[T]]]) -> AsyncIterator[T]:
        after = None
        while True:
            found = await self.send(page(after))
            for row in found.data:
                yield row
            after = found.next_cursor
            if after is None:
                return
