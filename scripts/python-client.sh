#!/bin/sh
# Tests the Python client against a real server of this checkout: set-up, server, tests, end.
# IMPRINT names the program; the debug build by default.
set -eu
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$folder"' EXIT INT TERM

venv=${IMPRINT_VENV:-.imprint/python}
test -x "$venv/bin/pip" || python3 -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check -e 'clients/python[test]'

imprint=${IMPRINT:-target/debug/imprint}
test -x "$imprint" || cargo build --locked
export IMPRINT_DATABASE_URL="sqlite:$folder/imprint.db"
"$imprint" serve --listen 127.0.0.1:0 --models models --device cpu 2>"$folder/log" &
server=$!
until IMPRINT_URL=$(sed -n 's/^imprint serves on //p' "$folder/log") && test -n "$IMPRINT_URL"; do
    kill -0 "$server" || { cat "$folder/log" >&2; exit 1; }
    sleep 0.2
done
IMPRINT_KEY=$("$imprint" keys create tests)
export IMPRINT_URL IMPRINT_KEY
"$venv/bin/python" -m pytest -q clients/python/tests
