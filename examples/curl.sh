#!/usr/bin/env bash
# The whole life of a task in curl: examples in three forms, adaptations, answers, corrections, versions, weights, an end.
#
#     examples/curl.sh --server http://127.0.0.1:8080 --key imprint_…
#
# Without them it speaks to the server of `make demo`. The server needs the base model `text`. Nothing is left behind.
set -euo pipefail

SERVER=http://127.0.0.1:8080 KEY=
while [ $# -gt 1 ]; do
  case $1 in
    --server) SERVER=$2 ;;
    --key) KEY=$2 ;;
  esac
  shift 2
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
demo=$(dirname "$0")/../.imprint/demo.key
if [ -z "$KEY" ] && [ -s "$demo" ]; then KEY=$(cat "$demo"); fi

say() { printf '\n\n== %s\n' "$1"; }
api() { curl -sS --fail-with-body "$SERVER$1" -H "Authorization: Bearer $KEY" "${@:2}"; }
json() { api "$1" -H 'Content-Type: application/json' "${@:2}"; }
first() { grep -o "$1_[a-z0-9]\{26\}" | head -1; } # the first id of a kind

say 'a task; its metadata finds it again'
T=$(json /v1/tasks -d '{"name": "tickets", "base_model": "text", "metadata": {"team": "shop"}}' | first task)
api "/v1/tasks?metadata=team%3Dshop&limit=1"

say 'examples: as JSON, as JSON lines, as CSV'
json "/v1/tasks/$T/support" -d '{"examples": [
  {"input": "where is my parcel", "label": "delivery", "external_id": "mail-1"},
  {"input": "my order has not arrived", "label": "delivery"}]}'
api "/v1/tasks/$T/support" -H 'Content-Type: application/x-ndjson' --data-binary @- <<'LINES'
{"input": "I want my money back", "label": "refund"}
{"input": "please return the amount I paid", "label": "refund", "weight": 2}
LINES
api "/v1/tasks/$T/support" -H 'Content-Type: text/csv' --data-binary @- <<'TABLE'
label,input
account,I cannot log in
account,reset my password
delivery,where is my parcel
TABLE

say 'an adaptation is a job: 202, and where to look'
api "/v1/tasks/$T/adaptations" -X POST -D "$folder/headers" -H 'Idempotency-Key: first'
A=$(first adpt < "$folder/headers")

say 'its life as it happens, until it is done'
curl -sSN "$SERVER/v1/adaptations/$A/events" -H "Authorization: Bearer $KEY" -H 'Accept: text/event-stream'

say 'the same request again acts once, and is answered alike'
api "/v1/tasks/$T/adaptations" -X POST -D - -o /dev/null -H 'Idempotency-Key: first' | grep -i '^idempotent-replayed'

say 'answers: the best label, marked where it is not sure enough, and what is like the question'
json "/v1/tasks/$T/predict" -d '{"query": ["the courier never came", "hm"], "top_k": 1, "abstain": true, "nearest": 1, "store": true}' |
  tee "$folder/answer"

say 'what would have been right: the question becomes an example'
P=$(first pred < "$folder/answer")
json "/v1/tasks/$T/feedback" -d "{\"prediction_id\": \"$P\", \"label\": \"delivery\"}"

say 'an example is changed as it was read, and not if it changed since'
api "/v1/tasks/$T/support?external_id=mail-1" | tee "$folder/example"
S=$(first sup < "$folder/example")
TAG=$(sed 's/.*"etag":"\\\("[^"\\]*\).*/\1"/' "$folder/example")
json "/v1/tasks/$T/support/$S" -X PATCH -H "If-Match: $TAG" -d '{"weight": 3}'
json "/v1/tasks/$T/support/$S" -X PATCH -H "If-Match: $TAG" -d '{"weight": 4}' || true

say 'the second version, at once; both side by side; and back'
api "/v1/tasks/$T/adaptations" -X POST -H 'Prefer: wait=30'
json "/v1/tasks/$T/compare" -d '{"versions": [1, 2], "query": ["the courier never came"]}'
api "/v1/tasks/$T/rollback" -X POST

say 'weights out, and in again: these are there already'
api "/v1/tasks/$T/adapters/2/weights" -o "$folder/weights.safetensors"
printf '{"weights": "%s", "labels": ["delivery", "refund", "account"], "promote": "never"}' \
  "$(base64 -w0 "$folder/weights.safetensors")" > "$folder/import"
json "/v1/tasks/$T/adapters/import" -d "@$folder/import"

say 'many inputs, answered when nobody waits for anything else'
B=$(printf '{"input": "%s"}\n' 'no parcel yet' 'my money please' |
  api "/v1/tasks/$T/bulk-predictions?top_k=1" -H 'Content-Type: application/x-ndjson' --data-binary @- | first bulk)
until api "/v1/bulk-predictions/$B" | grep -q '"status":"succeeded"'; do sleep 0.2; done
api "/v1/bulk-predictions/$B/output?from=0"

say 'the same task through the Open Inference Protocol'
json "/v2/models/$T/infer" -d '{"inputs": [{"name": "query", "shape": [1], "datatype": "BYTES", "data": ["money back"]}]}'

say 'all in one call, nothing stored: in words of our own, and in those of Cohere'
EXAMPLES='{"text": "red apple", "label": "fruit"}, {"text": "green pear", "label": "fruit"},
  {"text": "fast car", "label": "vehicle"}, {"text": "slow train", "label": "vehicle"}'
json /v1/adapt-predict -d "{\"base_model\": \"text\", \"query\": [\"ripe plum\"], \"support\": [${EXAMPLES//\"text\"/\"input\"}]}"
json /v1/classify -d "{\"inputs\": [\"ripe plum\"], \"examples\": [$EXAMPLES]}"

say 'an example is erased, with all that was made of it, and a signed receipt'
json /v1/erase -d "{\"scope\": \"example\", \"task\": \"$T\", \"support\": \"$S\"}"

say 'what was used, and the end'
api /v1/usage
api "/v1/tasks/$T" -X DELETE
echo gone
