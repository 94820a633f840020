"""Clients that were written for others, as they come, against a real server: `scripts/python-client.sh` starts one."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import cohere
import numpy as np
import pytest
import tritonclient.http as triton
from huggingface_hub import InferenceClient
from imprint_client import Imprint
from tritonclient.utils import InferenceServerException

URL, KEY = os.environ["IMPRINT_URL"], os.environ["IMPRINT_KEY"]

TICKETS = [
    ("where is my parcel", "delivery"),
    ("my order has not arrived", "delivery"),
    ("I want my money back", "refund"),
    ("please return the amount I paid", "refund"),
    ("I cannot log in", "account"),
    ("reset my password", "account"),
]
QUESTIONS = ["the courier never came", "give me my money back"]


def test_coheres_own_client_classifies_from_a_few_examples_and_more_when_there_are_more() -> None:
    client = cohere.Client(KEY, base_url=URL)
    examples = [cohere.ClassifyExample(text=text, label=label) for text, label in TICKETS]

    answer = client.classify(inputs=QUESTIONS, examples=examples)

    assert [one.input for one in answer.classifications] == QUESTIONS
    assert [one.prediction for one in answer.classifications] == ["delivery", "refund"]
    first = answer.classifications[0]
    assert first.confidences == [first.confidence] and first.confidence == first.labels["delivery"].confidence
    assert sum(label.confidence for label in first.labels.values()) == pytest.approx(1.0)
    assert answer.meta is not None and answer.meta.billed_units.classifications == len(QUESTIONS)

    praise = ["what a lovely shop", "you are the best, thank you"]
    examples += [cohere.ClassifyExample(text=text, label="praise") for text in praise]
    later = client.classify(model="text", inputs=["thanks, I love it", *QUESTIONS], examples=examples, truncate="END")
    assert [one.prediction for one in later.classifications] == ["praise", "delivery", "refund"]


def test_hugging_faces_own_client_finds_spans() -> None:
    told = [
        {"input": "Two tickets to Lyon for Ms Berger", "spans": [
            {"start": 15, "end": 19, "label": "city"}, {"start": 27, "end": 33, "label": "person"}]},
        {"input": "Mr Okafor flies from Oslo", "spans": [
            {"start": 3, "end": 9, "label": "person"}, {"start": 21, "end": 25, "label": "city"}]},
    ]  # fmt: skip
    text = "Mr Okafor took two tickets to Lyon"
    with Imprint(URL, KEY) as client:
        task = client.create_task("bookings", "tagging", support=told).id
        client.adapt(task)
        found = InferenceClient(f"{URL}/v1/tasks/{task}/tag", token=KEY).token_classification(text)
        client.delete_task(task)
    assert {(one.entity_group, one.word) for one in found} == {("person", "Okafor"), ("city", "Lyon")}
    assert all(text[one.start : one.end] == one.word and 0 < one.score <= 1 for one in found)


def test_coheres_own_client_is_told_what_is_wrong() -> None:
    examples = [cohere.ClassifyExample(text=text, label=label) for text, label in TICKETS]
    with pytest.raises(cohere.UnprocessableEntityError) as unknown:
        cohere.Client(KEY, base_url=URL).classify(model="nobody", inputs=["?"], examples=examples)
    assert unknown.value.body["errors"][0]["pointer"] == "/model"
    with pytest.raises(cohere.UnauthorizedError):
        cohere.Client("wrong", base_url=URL).classify(inputs=["?"], examples=examples)


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_own_client_asks_a_task_before_and_after_more_examples(binary: bool) -> None:
    """Tensors as bytes, which is what the client does unless it is told not to, and as JSON."""
    headers = {"authorization": f"Bearer {KEY}"}
    client = triton.InferenceServerClient(urlsplit(URL).netloc)

    def ask(**options: object) -> triton.InferResult:
        query = triton.InferInput("query", [len(QUESTIONS)], "BYTES")
        query.set_data_from_numpy(np.array(QUESTIONS, dtype=object), binary_data=binary)
        return client.infer(task.id, [query], headers=headers, **options)

    with Imprint(URL, KEY) as imprint:
        task = imprint.create_task("tickets", "text", support=[{"input": text, "label": label} for text, label in TICKETS[2:]])
        assert client.is_server_live() and client.is_server_ready()
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        assert not client.is_model_ready(task.id, headers=headers)
        imprint.adapt(task.id)
        assert client.is_model_ready(task.id, headers=headers)
        metadata = client.get_model_metadata(task.id, headers=headers)
        assert (metadata["versions"], metadata["inputs"][0]["datatype"]) == (["1"], "BYTES")
        assert list(ask().as_numpy("label"))[1] in ("refund", b"refund")

        imprint.add_support(task.id, [{"input": text, "label": label} for text, label in TICKETS[:2]])
        imprint.adapt(task.id)
        answer = ask(request_id="7")
        labels = [label.decode() if isinstance(label, bytes) else label for label in answer.as_numpy("label")]
        assert (labels, answer.get_response()["id"]) == (["delivery", "refund"], "7")
        assert answer.get_response()["model_version"] == "2"
        scores = answer.as_numpy("scores")
        assert scores.shape == (2, 3) and np.allclose(scores.sum(axis=1), 1.0, atol=1e-5)

        best = ask(outputs=[triton.InferRequestedOutput("scores", binary_data=binary, class_count=1)]).as_numpy("scores")
        assert str(best[0, 0]).rstrip("'").endswith(":delivery")
        before = ask(model_version="1").as_numpy("scores")
        assert before.shape == (2, 2)
        imprint.delete_task(task.id)
    with pytest.raises(InferenceServerException, match="404"):
        client.get_model_metadata(task.id, headers=headers)
