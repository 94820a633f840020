"""The clients against a real server: `scripts/python-client.sh` starts one and sets IMPRINT_URL and IMPRINT_KEY."""

from __future__ import annotations

import asyncio
import os

import httpx
import numpy as np
import pytest
from imprint_client import AsyncImprint, Imprint, ImprintError
from imprint_client.sklearn import ImprintClassifier
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

URL, KEY = os.environ["IMPRINT_URL"], os.environ["IMPRINT_KEY"]

WAVE = [{"input": [x], "value": float(2 * np.sin(x + 0.5))} for x in (-4.0, -2.5, -1.0, 0.5, 2.0, 3.5)]


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Scanned digits, eight pixels square, as the base model's 28: white ink on black."""
    data = load_digits()
    images = np.kron(data.images / 16.0, np.ones((3, 3)))
    return np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(-1, 784), data.target


def test_a_conversation_from_examples_to_feedback() -> None:
    with Imprint(URL, KEY) as client:
        task = client.create_task("wave", "sinusoid", support=WAVE[:4])
        assert client.add_support(task.id, WAVE[4:]).support_count == 6
        adaptation = client.adapt(task.id)
        assert adaptation.status == "succeeded"
        assert [event.type for event in client.list_events(adaptation.id)][-1] == "done"

        answer = client.predict(task.id, [[0.0], [1.0]], store=True)
        assert answer.version == 1
        values = [prediction.value for prediction in answer.predictions]
        assert values == pytest.approx([2 * np.sin(0.5), 2 * np.sin(1.5)], abs=0.4)

        told = client.feedback(task.id, answer.predictions[0].id, value=0.96)
        assert told["support"]["support_count"] == 7
        assert client.evaluate(task.id, WAVE)["mean_squared_error"] < 0.1
        assert [adapter.version for adapter in client.list_adapters(task.id)] == [1]
        hurried = client.adapt(task.id, latency_budget_ms=1)
        assert (hurried.latency_budget_ms, hurried.result["recipe"]["inner_steps"]) == (1, 1)
        assert len(list(client.list_support(task.id))) == 7
        client.delete_task(task.id)
        with pytest.raises(ImprintError) as missing:
            client.get_task(task.id)
        assert (missing.value.status, missing.value.code) == (404, "not_found")


def test_many_inputs_are_answered_in_their_places() -> None:
    with Imprint(URL, KEY) as client:
        task = client.create_task("wave", "sinusoid", support=WAVE)
        client.adapt(task.id)
        inputs = [[x / 100] for x in range(300)]
        bulk = client.start_bulk_prediction(task.id, [*inputs, {"input": [0.0, 1.0], "external_id": "wide"}])
        lines = list(client.bulk_output(bulk.id))
        assert [line.index for line in lines] == list(range(301))
        alone = client.predict(task.id, inputs[:3]).predictions
        # Rows of one request go through the network together, and more rows may add up in another order.
        answered = [line.prediction.value for line in lines[:3] if line.prediction]
        assert answered == pytest.approx([one.value for one in alone], rel=1e-5)
        assert (lines[300].external_id, lines[300].errors[0]["code"]) == ("wide", "wrong_width")
        assert [line.index for line in client.bulk_output(bulk.id, first=299)] == [299, 300]
        assert client.get_bulk_prediction(bulk.id).refused == 1
        client.delete_bulk_prediction(bulk.id)
        client.delete_task(task.id)


def test_the_async_client_says_the_same() -> None:
    async def conversation() -> list[float | None]:
        async with AsyncImprint(URL, KEY) as client:
            task = await client.create_task("wave", "sinusoid", support=WAVE)
            await client.adapt(task.id)
            names = [row.id async for row in client.list_tasks()]
            assert task.id in names
            answer = await client.predict(task.id, [[0.0]])
            await client.delete_task(task.id)
            return [prediction.value for prediction in answer.predictions]

    with Imprint(URL, KEY) as client:
        blocking = client.adapt_predict("sinusoid", WAVE, [[0.0]])
    assert asyncio.run(conversation()) == [prediction.value for prediction in blocking.predictions]


def test_what_is_wrong_is_said_with_its_place() -> None:
    with Imprint(URL, KEY) as client, pytest.raises(ImprintError) as wrong:
        client.create_task("wave", "sinusoid", support=[{"input": [0.0], "label": "x"}])
    assert (wrong.value.code, wrong.value.errors[0]["pointer"]) == ("invalid_values", "/support/0/label")


class Flaky(httpx.BaseTransport):
    """Loses or turns away requests before they come to the server, or their answers after."""

    def __init__(self, faults: list[str]) -> None:
        self.inner, self.faults, self.keys = httpx.HTTPTransport(), faults, []  # type: ignore[var-annotated]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("idempotency-key"))
        fault = self.faults.pop(0) if self.faults else None
        if fault == "busy":
            return httpx.Response(503, headers={"retry-after": "0"}, json={"code": "overloaded"})
        response = self.inner.handle_request(request)
        if fault == "lost":
            response.read()
            raise httpx.ReadError("the connection went away")
        return response


def test_a_request_is_repeated_until_it_is_answered_and_acts_once() -> None:
    transport = Flaky(["busy", "lost", "busy"])
    with Imprint(URL, KEY) as plain, Imprint(URL, KEY, transport=transport) as client:
        before = sum(1 for _ in plain.list_tasks())
        task = client.create_task("once", "sinusoid", support=WAVE)
        assert sum(1 for _ in plain.list_tasks()) == before + 1
        plain.delete_task(task.id)
    assert len(transport.keys) == 4
    assert len(set(transport.keys)) == 1


def test_a_request_is_given_up_after_its_last_retry() -> None:
    transport = Flaky(["busy"] * 9)
    with Imprint(URL, KEY, transport=transport, max_retries=2) as client, pytest.raises(ImprintError) as busy:
        client.get_task("task_" + "0" * 26)
    assert (busy.value.status, len(transport.keys)) == (503, 3)


def test_the_classifier_learns_digits_from_a_few() -> None:
    images, labels = digits()
    chosen = np.concatenate([np.flatnonzero(labels == digit)[:5] for digit in range(10)])
    others = np.setdiff1d(np.arange(500), chosen)[:200]
    model = ImprintClassifier("omniglot", URL, KEY)

    model.fit(images[chosen], labels[chosen])
    probabilities = model.predict_proba(images[others])

    assert probabilities.shape == (200, 10)
    assert np.allclose(probabilities.sum(axis=1), 1.0)
    assert model.score(images[others], labels[others]) > 0.8
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(ValueError, match="takes rows of shape"):
        model.fit(images[chosen, :10], labels[chosen])


def test_the_classifier_keeps_what_scikit_learn_asks_of_every_classifier() -> None:
    checks = check_estimator(ImprintClassifier("tabular", URL, KEY, fill_up=True), on_skip=None)
    assert {check["check_name"] for check in checks if check["status"] != "passed"} <= {
        "check_array_api_input",  # without SCIPY_ARRAY_API
        "check_classifier_data_not_an_array",  # without pandas
    }
    assert sum(check["status"] == "passed" for check in checks) > 50


def test_the_classifier_learns_a_table_from_a_few_rows() -> None:
    wines = load_wine()
    chosen = np.concatenate([np.flatnonzero(wines.target == kind)[:5] for kind in range(3)])
    others = np.setdiff1d(np.arange(len(wines.target)), chosen)
    model = make_pipeline(StandardScaler(), ImprintClassifier("tabular", URL, KEY, fill_up=True))
    model.fit(wines.data[chosen], wines.target_names[wines.target[chosen]])
    assert model.score(wines.data[others], wines.target_names[wines.target[others]]) > 0.75


def test_an_example_is_changed_as_it_was_read_and_erased_for_good() -> None:
    with Imprint(URL, KEY) as client:
        task = client.create_task("wave", "sinusoid", support=WAVE)
        client.adapt(task.id)
        example = next(iter(client.list_support(task.id)))

        changed = client.update_support(task.id, example.id, value=0.25, weight=2, if_match=example.etag)
        assert (changed.id, changed.value, changed.weight) == (example.id, 0.25, 2)
        with pytest.raises(ImprintError) as stale:
            client.update_support(task.id, example.id, value=0.5, if_match=example.etag)
        assert (stale.value.status, stale.value.code) == (412, "changed")

        receipt = client.erase("example", task=task.id, support=example.id)
        assert (receipt["removed"]["support"], set(receipt["remaining"].values())) == (1, {0})
        assert example.id not in [left.id for left in client.list_support(task.id)]
        assert client.usage()["stored"]["tasks"] >= 1


def test_a_webhook_is_made_with_a_secret_that_is_shown_once() -> None:
    with Imprint(URL, KEY) as client:
        made = client.create_webhook("https://example.com/imprint", ["adaptation.failed"])
        assert made["secret"].startswith("whsec_")
        assert "secret" not in made["webhook"]
        client.delete_webhook(made["webhook"]["id"])
