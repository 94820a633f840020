"""What needs no server."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest
from imprint_client import NotGenuine, verify_webhook
from imprint_client.sklearn import ImprintClassifier
from sklearn.utils import estimator_checks

HERE = pathlib.Path(__file__).parent.parent
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
#: The example of the Standard Webhooks libraries' own tests.
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,Zm9yZ2Vk v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def test_the_blocking_client_is_the_asynchronous_one_without_await() -> None:
    spec = importlib.util.spec_from_file_location("generate_sync", HERE / "generate_sync.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    source = HERE / "src/imprint_client"

    generated = module.sync_of((source / "_async.py").read_text())

    assert (source / "_sync.py").read_text() == generated, "run clients/python/generate_sync.py"


def test_a_genuine_message_is_read() -> None:
    assert verify_webhook(SECRET, HEADERS, BODY, now=1614265330.0) == {"test": 2432232314}


@pytest.mark.parametrize(
    ("headers", "body", "now"),
    [
        (HEADERS, b'{"test": 2432232315}', 1614265330.0),
        (HEADERS, BODY, 1614265330.0 + 301),
        (HEADERS | {"webhook-id": "msg_another"}, BODY, 1614265330.0),
        (HEADERS | {"webhook-signature": "v1,Zm9yZ2Vk"}, BODY, 1614265330.0),
        ({}, BODY, 1614265330.0),
    ],
)
def test_a_message_that_is_not_is_refused(headers: dict[str, str], body: bytes, now: float) -> None:
    with pytest.raises(NotGenuine):
        verify_webhook(SECRET, headers, body, now=now)


#: Those of scikit-learn's checks that do not choose how wide inputs are: a base model does.
CHECKS = [
    "check_estimator_cloneable",
    "check_estimator_get_tags_default_keys",
    "check_estimator_repr",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("name", [name for name in CHECKS if hasattr(estimator_checks, name)])
def test_scikit_learns_checks_pass_that_leave_the_width_of_inputs_to_the_base_model(name: str) -> None:
    getattr(estimator_checks, name)("ImprintClassifier", ImprintClassifier())
