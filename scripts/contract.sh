#!/bin/sh
# The OpenAPI document, by Spectral's rules for OpenAPI (.spectral.yaml). Not checked where there is no npm.
set -eu
cd "$(dirname "$0")/.."
if ! command -v npm >/dev/null; then
    echo "contract.sh: NOTICE: there is no npm; the OpenAPI document was NOT linted"
    exit 0
fi
tools=$PWD/target/tools/spectral
test -x "$tools/node_modules/.bin/spectral" || npm install --silent --no-fund --no-audit --prefix "$tools" @stoplight/spectral-cli@6.16.3
exec "$tools/node_modules/.bin/spectral" lint openapi/openapi.json --ruleset .spectral.yaml --fail-severity warn
