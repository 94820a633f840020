"""Meta-training, and adaptations, by Imprint and by its peers in turn: medians, and ratios with their least and most.

    python3 -m venv .venv && .venv/bin/pip install -r benches/meta_training/requirements.txt
    .venv/bin/python benches/meta_training/compare.py [--rounds 5] [--seconds 10] [--threads 0] [--bench conv4]

`conv4` and `sinusoid` are outer steps, `adapt1` and `adapt5` the inner loop alone at 5-way 1-shot and 5-shot. `a core each`
is PyTorch's eager loop in as many processes of one thread. A ratio is taken within a round, between two runs that follow each other, since a machine's speed changes from minute to
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
PEERS = {
    "conv4": ["eager", "a core each", "vmap", "higher", "jax", "jax-map"],
    "sinusoid": ["eager", "a core each", "vmap", "higher", "jax"],
    "adapt1": ["eager", "a core each", "vmap", "jax", "jax-map"],
    "adapt5": ["eager", "a core each", "vmap", "jax", "jax-map"],
}


def program(bench: str) -> str:
    """The program that measures Imprint, built."""
    build = ["cargo", "bench", "--locked", "--bench", bench, "--no-run", "--message-format", "json"]
    lines = subprocess.run(build, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    artifacts = (json.loads(line) for line in lines)
    return next(a["executable"] for a in artifacts if a.get("target", {}).get("name") == bench)


def measure(command: list[str], copies: int = 1) -> dict:
    """What so many of one program say that run at the same time: rates and memory together."""
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(copies)]
    results = []
    for process in running:
        output, errors = process.communicate()
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}: {errors[-1000:]}")
        results.append(json.loads(output.splitlines()[-1]))
    together = {key: sum(result[key] for result in results) for key in ("tasks_per_second", "peak_mib")}
    return {**results[0], **together}


def of_peer(peer: str, bench: str, seconds: float, threads: int) -> dict:
    script = [sys.executable, "-W", "ignore", str(ROOT / "benches/meta_training/peers.py")]
    if peer == "a core each":
        return measure([*script, "eager", bench, str(seconds), "1"], threads)
    return measure([*script, peer, bench, str(seconds), str(threads)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--threads", type=int, default=0, help="0 takes one for each core")
    parser.add_argument("--bench", choices=list(PEERS), action="append")
    parser.add_argument("--peer", action="append", help="these alone")
    arguments = parser.parse_args()
    threads = arguments.threads or os.cpu_count()
    for bench in arguments.bench or list(PEERS):
        ours = program("adaptations" if bench.startswith("adapt") else "meta_training")
        peers = [peer for peer in PEERS[bench] if not arguments.peer or peer in arguments.peer]
        runs: dict[str, list[dict]] = {name: [] for name in ["imprint", *peers]}
        for _ in range(arguments.rounds):
            runs["imprint"].append(measure([ours, bench, str(arguments.seconds), str(threads)]))
            for peer in peers:
                runs[peer].append(of_peer(peer, bench, arguments.seconds, threads))
        print(f"{bench}, {arguments.rounds} rounds, {threads} threads")
        for name, results in runs.items():
            rate = statistics.median(result["tasks_per_second"] for result in results)
            peak = statistics.median(result["peak_mib"] for result in results)
            ratios = [a["tasks_per_second"] / b["tasks_per_second"] for a, b in zip(runs["imprint"], results)]
            line = f"  {name:12} {rate:10.2f} tasks/s  peak {peak:6.0f} MiB"
            if name != "imprint":
                line += f"  imprint ×{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
            if "part_of_peak" in results[0]:
                part = statistics.median(result["part_of_peak"] for result in results)
                flops = statistics.median(result["peak_gigaflops"] for result in results)
                line += f"  {100 * part:.0f} % of the {flops:.0f} gigaflops of a matrix product"
            print(line, flush=True)


if __name__ == "__main__":
    main()
