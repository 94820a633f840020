"""Meta-training by Imprint and by its peers in turn: medians, and ratios with their least and most.

    python3 -m venv .venv && .venv/bin/pip install -r benches/meta_training/requirements.txt
    .venv/bin/python benches/meta_training/compare.py [--rounds 5] [--seconds 10] [--threads 0] [--bench conv4]

A ratio is taken within a round, between two runs that follow each other, since a machine's speed changes from minute to
minute. The program is built first, by `cargo bench`.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
PEERS = ["eager", "vmap", "higher", "jax"]


def program() -> str:
    build = ["cargo", "bench", "--locked", "--bench", "meta_training", "--no-run", "--message-format", "json"]
    lines = subprocess.run(build, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    artifacts = (json.loads(line) for line in lines)
    return next(a["executable"] for a in artifacts if a.get("target", {}).get("name") == "meta_training")


def measure(command: list[str]) -> dict:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr[-1000:]}")
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=0, help="0 takes one for each core")
    parser.add_argument("--bench", choices=["conv4", "sinusoid"], action="append")
    parser.add_argument("--peer", choices=PEERS, action="append")
    parser.add_argument("--program", help="the bench, if it is built already")
    arguments = parser.parse_args()
    ours = arguments.program or program()
    tail = [str(arguments.seconds), str(arguments.threads or os.cpu_count())]
    peers = arguments.peer or PEERS
    for bench in arguments.bench or ["conv4", "sinusoid"]:
        runs: dict[str, list[dict]] = {name: [] for name in ["imprint", *peers]}
        for _ in range(arguments.rounds):
            runs["imprint"].append(measure([ours, bench, *tail]))
            for peer in peers:
                script = str(ROOT / "benches/meta_training/peers.py")
                runs[peer].append(measure([sys.executable, "-W", "ignore", script, peer, bench, *tail]))
        print(f"{bench}, {arguments.rounds} rounds, {tail[1]} threads")
        for name, results in runs.items():
            rate = statistics.median(result["tasks_per_second"] for result in results)
            peak = statistics.median(result["peak_mib"] for result in results)
            ratios = [a["tasks_per_second"] / b["tasks_per_second"] for a, b in zip(runs["imprint"], results)]
            line = f"  {name:8} {rate:10.2f} tasks/s  peak {peak:6.0f} MiB"
            if name != "imprint":
                line += f"  imprint ×{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
            print(line, flush=True)


if __name__ == "__main__":
    main()
