"""What the conversations beside this file share: where the server is, and a call to it. Standard library only."""

import argparse
import json
import pathlib
import sys
import urllib.error
import urllib.request


def connect(description):
    """`--server` and `--key` from the command line; a function that sends one request and returns the answer's JSON."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8080")
    parser.add_argument("--key", help="the demo's by default")
    arguments = parser.parse_args()
    demo = pathlib.Path(__file__).parent.parent / ".imprint" / "demo.key"
    if arguments.key is None and not demo.exists():
        parser.error(f"--key is needed: `imprint keys create TENANT` makes one, and `make demo` leaves its own in {demo}")
    key = arguments.key or demo.read_text().strip()

    def call(method, path, body=None):
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Prefer": "wait=60"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(arguments.server + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer) if answer.status != 204 else None
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {json.load(error)['detail']}")
        except urllib.error.URLError as error:
            sys.exit(f"{arguments.server}: {error.reason}; --server names another")

    return call
