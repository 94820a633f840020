#!/usr/bin/env python3
"""Records the contract's examples: one conversation that uses every operation, on a running server.

    IMPRINT_URL=http://127.0.0.1:8080 IMPRINT_KEY=imprint_… scripts/examples.py > openapi/examples.json

The server needs the base models `omniglot`, `ranking` and `tagging`, and a tenant that has nothing yet. The document shows what is recorded, and
`cargo test --test it examples` plays it again: each request as it is written there, each answer of the recorded form.
"""

import base64
import json
import os
import pathlib
import re
import sys
import urllib.error
import urllib.request

URL, KEY = os.environ["IMPRINT_URL"], os.environ["IMPRINT_KEY"]
HERE = pathlib.Path(__file__).parent.parent
DOCUMENT = json.loads((HERE / "openapi/openapi.json").read_text())
PATHS = {o["operationId"]: (m.upper(), p) for p, item in DOCUMENT["paths"].items() for m, o in item.items()}
#: Answers that are shown as they are only in part.
LONGEST = 4_000

steps = []


def drawing(folder, name):
    return base64.b64encode((HERE / "examples/omniglot" / folder / name).read_bytes()).decode()


def do(operation, body=None, status=200, headers=None, query=None, **path):
    """Sends a request, notes it with its answer, and returns that."""
    method, route = PATHS[operation]
    place = re.sub(r"\{(\w+)\}", lambda name: str(path[name[1]]), route)
    if query:
        place += "?" + "&".join(f"{name}={value}" for name, value in query.items())
    is_lines = isinstance(body, str)
    data = None if body is None else body.encode() if is_lines else json.dumps(body).encode()
    request = urllib.request.Request(URL + place, data, {"authorization": f"Bearer {KEY}", **(headers or {})}, method=method)
    if data is not None:
        request.add_header("content-type", "application/x-ndjson" if is_lines else "application/json")
    try:
        with urllib.request.urlopen(request) as answer:
            found, kind, content = answer.status, answer.headers.get("content-type", ""), answer.read()
    except urllib.error.HTTPError as error:
        found, kind, content = error.code, "", error.read()
    if found != status:
        sys.exit(f"{operation}: {found}, not {status}: {content.decode(errors='replace')[:500]}")
    answer = json.loads(content) if kind.startswith("application/json") else None
    step = {"operation": operation, "path": path, "query": query, "headers": headers, "request": body, "status": status}
    steps.append({name: value for name, value in step.items() if value} | ({} if answer is None else {"response": answer}))
    return answer if answer is not None else content


support = sorted(path.name for path in (HERE / "examples/omniglot/support").iterdir())
labels = sorted({name.rsplit("-", 1)[0] for name in support})[:2]
examples = [
    {"input": {"image": drawing("support", name)}, "label": label}
    for label in labels
    for name in [name for name in support if name.startswith(label)][:2]
]
queries = sorted(path.name for path in (HERE / "examples/omniglot/query").iterdir())
asked = [name for name in queries if name.startswith(labels[0])][0]
more = {"input": {"image": drawing("query", [name for name in queries if name.startswith(labels[1])][0])}, "label": labels[1]}
query = [{"image": drawing("query", asked)}]
infer = {"inputs": [{"name": "query", "shape": [1], "datatype": "BYTES", "data": [query[0]["image"]]}]}

for operation in ["livez", "readyz", "startupz", "read_docs", "list_base_models", "limits", "whoami"]:
    do(operation)
for operation in ["inference_server", "inference_live", "inference_ready"]:
    do(operation)
do("describe_problem", code="not_found")
do("find_base_model", name="omniglot")
do("adapt_predict", {"base_model": "omniglot", "support": examples, "query": query, "top_k": 2})
texts = [{"text": example["input"]["image"], "label": example["label"]} for example in examples]
do("classify", {"model": "omniglot", "inputs": [query[0]["image"]], "examples": texts})

task = do("create_task", {"name": "letters", "base_model": "omniglot", "support": examples, "metadata": {"team": "mail"}}, 201)["id"]
etag = do("find_task", task=task)["etag"]
do("update_task", {"name": "letters of the mail"}, headers={"If-Match": etag}, task=task)
do("list_tasks", query={"metadata": "team%3Dmail"})
added = do("add_support", {"examples": [more | {"external_id": "scan-7", "weight": 2}]}, task=task)["ids"][0]
do("list_support", query={"label": labels[1]}, task=task)
etag = do("find_support", task=task, support=added)["etag"]
do("update_support", {"label": labels[0], "weight": 0.5}, headers={"If-Match": etag}, task=task, support=added)
do("delete_named_support", status=204, query={"external_id": "scan-7"}, task=task)
added = do("add_support", {"examples": [more]}, task=task)["ids"][0]
do("delete_support", status=204, task=task, support=added)

adaptation = do("create_adaptation", {"seed": 1}, 201, {"Prefer": "wait=30"}, task=task)["id"]
do("find_adaptation", adaptation=adaptation)
do("list_adaptations", query={"task": task})
do("list_adaptation_events", adaptation=adaptation)
do("cancel_adaptation", adaptation=adaptation)
do("create_adaptation", {"seed": 2}, 201, {"Prefer": "wait=30"}, task=task)
do("list_adapters", task=task)
do("find_adapter", task=task, version=1)
do("verify_adapter", task=task, version=1)
weights = do("adapter_weights", task=task, version=1)
do("promote_adapter", task=task, version=1)
do("rollback", task=task)
do("import_adapter", {"weights": base64.b64encode(weights).decode(), "labels": labels, "promote": "never"}, task=task)
prediction = do("predict", {"query": query, "top_k": 2, "store": True}, task=task)["predictions"][0]["id"]
do("search", {"query": query[0], "limit": 2}, task=task)
do("suggest", {"query": [query[0], more["input"]], "limit": 1}, task=task)
do("take_feedback", {"prediction_id": prediction, "label": labels[0]}, task=task)
do("compare", {"versions": [1, 2], "query": query}, task=task)
do("evaluate", {"examples": [{"input": query[0], "label": labels[0]}]}, task=task)
do("inference_model", task=task)
do("inference_model_ready", task=task)
do("infer", infer, task=task)
do("inference_model_version", task=task, version=1)
do("inference_model_version_ready", task=task, version=1)
do("infer_version", infer, task=task, version=1)

lines = "".join(json.dumps({"input": query[0], "external_id": name}) + "\n" for name in ("scan-8", "scan-9"))
bulk = do("create_bulk_prediction", lines, 202, task=task)["id"]
do("list_bulk_predictions", task=task)
do("find_bulk_prediction", bulk=bulk)
do("bulk_prediction_output", query={"from": 1}, bulk=bulk)
do("cancel_bulk_prediction", bulk=bulk)
do("delete_bulk_prediction", status=204, bulk=bulk)

monitor = do("create_monitor", {"label": labels[0], "baseline": 0.5}, 201, task=task)["id"]
do("find_monitor", monitor=monitor)
do("list_monitors", task=task)
do("update_monitor", {"name": "first letters"}, monitor=monitor)
do("list_monitor_events", monitor=monitor)
do("delete_monitor", status=204, monitor=monitor)

webhook = do("create_webhook", {"url": "https://example.com/imprint", "topics": ["adaptation.failed"]}, 201)["webhook"]["id"]
do("list_webhooks")
do("find_webhook", webhook=webhook)
do("update_webhook", {"topics": []}, webhook=webhook)
do("rotate_webhook", {"overlap_s": 3600}, webhook=webhook)
message = do("test_webhook", status=202, webhook=webhook)["id"]
do("list_deliveries", webhook=webhook)
do("redeliver", status=202, webhook=webhook, message=message)
do("delete_webhook", status=204, webhook=webhook)

key = do("create_key", {"scope": "predict", "expires_in_s": 86400}, 201)["key"]["id"]
do("list_keys")
do("rotate_key", {"overlap_s": 60}, 201, key=key)
do("revoke_key", status=204, key=key)

do("usage")
do("list_audit", query={"limit": 2})
do("export_all")
example = do("add_support", {"examples": [more]}, task=task)["ids"][0]
do("erase", {"scope": "example", "task": task, "support": example})
do("list_receipts")
do("delete_task", status=204, task=task)

space, bread = "Last ship to Europa: humans and machines among the moons of Jupiter", "Bread from your own oven"
signals = [
    {"input": space, "value": 1, "time": "2026-11-02T18:30:00Z"},
    {"input": {"text": bread, "prior": -2.5}, "value": 1, "weight": 2},
    {"input": "The body in the harbour: a detective story", "value": -1},
]
shelf = [
    {"id": "crime-2", "input": "Murder at the opera, an inspector's third case"},
    {"id": "space-2", "input": "The colony: life on a planet with two suns"},
    {"id": "cook-2", "input": {"text": "Forty soups for winter evenings", "prior": -2.8}},
]
reader = {"name": "reader 17", "base_model": "ranking", "settings": {"half_life_days": 90}, "support": signals}
task = do("create_task", reader, 201)["id"]
do("create_adaptation", {}, 201, {"Prefer": "wait=30"}, task=task)
do("rank", {"candidates": shelf, "top_n": 2, "nearest": 1}, task=task)
do("delete_task", status=204, task=task)

told = [
    {"input": "Two tickets to Lyon for Ms Berger", "spans": [
        {"start": 15, "end": 19, "label": "city"}, {"start": 27, "end": 33, "label": "person"}]},
    {"input": "Mr Okafor flies from Oslo", "spans": [
        {"start": 3, "end": 9, "label": "person"}, {"start": 21, "end": 25, "label": "city"}]},
]
task = do("create_task", {"name": "bookings", "base_model": "tagging", "support": told}, 201)["id"]
do("create_adaptation", {"inner_steps": 20}, 201, {"Prefer": "wait=30"}, task=task)
do("tag", {"inputs": ["One room in Porto for Ms Lind"]}, task=task)
do("delete_task", status=204, task=task)

missing = set(PATHS) - {step["operation"] for step in steps}
if missing:
    sys.exit(f"operations without an example: {', '.join(sorted(missing))}")
text = json.dumps(steps, indent=1, ensure_ascii=False)
# What is shown once must not look like anybody's.
text = re.sub(r"imprint_[0-9a-z]{26}_[0-9a-f]{64}", "imprint_0123456789abcdefghjkmnpqrs_" + "0" * 64, text)
text = re.sub(r"whsec_[A-Za-z0-9+/=]+", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", text)
print(text)
