"""Runs Imprint and its peers by turns under the same load and prints medians, and ratios with their least and most.

    cargo build --release && cargo bench --no-run
    .venv/bin/python benches/peers/compare.py [--rounds 5] [--seconds 10] [--clients 64] [--json]

Both sides are driven by `imprint bench`, from the same machine, one at a time. A ratio is taken within a round, between
two runs that follow each other, since a machine's speed changes from minute to minute.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).parent.parent.parent
HERE = ROOT / "benches/peers"
CORES = os.cpu_count() or 1
FASTAPI = [sys.executable, str(HERE / "fastapi_server.py")]
PEERS = {
    "fastapi": FASTAPI,
    "fastapi, a process a core": [*FASTAPI, "--processes", str(CORES)],
    "fastapi, channels last, a process a core": [*FASTAPI, "--processes", str(CORES), "--channels-last"],
    "litserve, a worker a core, batches of 8": [sys.executable, str(HERE / "litserve_server.py")],
}


def sequential_server() -> str | None:
    """The newest build of `cargo bench --bench sequential_server`."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in target.glob("release/deps/sequential_server-*") if not path.suffix]
    return str(max(built, key=lambda path: path.stat().st_mtime)) if built else None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"the server at {url} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=1).read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing answers at {url}")


def measure(imprint: str, port: int, arguments) -> dict:
    command = [imprint, "bench", "--url", f"http://127.0.0.1:{port}", "--clients", str(arguments.clients), "--json"]
    command += ["--seconds", str(arguments.seconds), "--query", str(arguments.query)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if result.get("errors"):
        print(f"errors: {result['errors']}", file=sys.stderr)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--imprint", default=str(ROOT / "target/release/imprint"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--query", type=int, default=5)
    parser.add_argument("--only", help="peers whose names have this in them")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if sequential := sequential_server():
        PEERS["axum and tch, one request at a time"] = [sequential]
    model = str(ROOT / "models/omniglot")
    folder = tempfile.TemporaryDirectory()
    servers, ports = {}, {}
    try:
        ports["imprint"] = free_port()
        serve = [arguments.imprint, "serve", "--listen", f"127.0.0.1:{ports['imprint']}", "--no-auth"]
        serve += ["--models", str(ROOT / "models"), "--database-url", f"sqlite:{folder.name}/bench.db", "--log", "warn"]
        servers["imprint"] = subprocess.Popen(serve, stderr=subprocess.DEVNULL, start_new_session=True)
        for name, command in PEERS.items():
            if arguments.only and arguments.only not in name:
                continue
            ports[name] = free_port()
            command = [*command, "--model", model, "--port", str(ports[name])]
            servers[name] = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        for name, port in ports.items():
            wait_for(f"http://127.0.0.1:{port}/v1/base-models/omniglot", servers[name])
        runs = {name: [] for name in ports}
        for server in servers.values():
            os.killpg(server.pid, signal.SIGSTOP)  # some of them are never idle
        for _ in range(arguments.rounds):
            for name, port in ports.items():
                os.killpg(servers[name].pid, signal.SIGCONT)
                runs[name].append(measure(arguments.imprint, port, arguments))
                os.killpg(servers[name].pid, signal.SIGSTOP)
    finally:
        for server in servers.values():
            for sent in (signal.SIGTERM, signal.SIGCONT):
                os.killpg(server.pid, sent)  # with the processes that it has started
    for name, results in runs.items():
        rate = statistics.median(result["requests_per_second"] for result in results)
        p50 = statistics.median(result["p50_ms"] for result in results)
        p99 = statistics.median(result["p99_ms"] for result in results)
        line = {"server": name, "requests_per_second": rate, "p50_ms": p50, "p99_ms": p99}
        for figure, over in (("requests_per_second", 1), ("p99_ms", -1)):
            ratios = [(ours[figure] / theirs[figure]) ** over for ours, theirs in zip(runs["imprint"], results)]
            line[f"imprint_better_in_{figure}"] = [statistics.median(ratios), min(ratios), max(ratios)]
        if arguments.json:
            print(json.dumps(line))
        else:
            throughput, p99s = line["imprint_better_in_requests_per_second"], line["imprint_better_in_p99_ms"]
            print(f"{name:42} {rate:8.1f}/s  p50 {p50:7.1f} ms  p99 {p99:7.1f} ms", end="")
            if name != "imprint":
                print(f"  imprint: throughput ×{throughput[0]:.2f} ({throughput[1]:.2f}–{throughput[2]:.2f})", end="")
                print(f", p99 ÷{p99s[0]:.2f} ({p99s[1]:.2f}–{p99s[2]:.2f})", end="")
            print()


if __name__ == "__main__":
    main()
