"""The field's learners on Omniglot split as in the papers, each with the same time of one core, and what they reach on the way.

    cargo build --release
    python benches/papers.py --imprint target/release/imprint --data DIR --json papers.json --plot papers.svg

`examples/train/omniglot-characters.toml`: 900 characters to train on and 100 to validate on, of all alphabets, 241 to test
on, each in four rotations that are classes of their own. Every learner trains conv4 from nothing, in the way of its paper
(inner steps, step sizes and statistics), but for a few minutes where the papers took hours on a GPU: the curve says whether
it was still rising. Beside what is measured (5-way 1-shot, inductive, 600 episodes) stands the published figure.
"""

import argparse
import json
import math
import os
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "examples/train/omniglot-characters.toml"

FIVE = "{ way = [5, 5], shot = [1, 1], query = 5 }"
HEAD = 'head_init = { kind = "learned", way = 5 }'
FEW = {"way": "[5, 5]", "shot": "[1, 1]", "query": 5}

# Name: learner, episode, norm, outer steps of so many tasks, published 5-way 1-shot.
LEARNERS = {
    "ProtoNet": ('kind = "protonet"', {}, "running", 800, 1, 98.8),
    "R2-D2": ('kind = "r2d2"', {}, "running", 800, 1, None),
    "MAML": (f'kind = "maml"\ninner_steps = 1\ninner_lr = 0.4\norder = "second"\n{HEAD}', FEW, "support", 500, 8, 98.7),
    "ANIL": (f'kind = "anil"\ninner_steps = 5\ninner_lr = 0.4\norder = "second"\n{HEAD}', FEW, "support", 700, 8, None),
    "Meta-SGD": (f'kind = "meta_sgd"\ninner_steps = 1\ninner_lr = 0.4\norder = "second"\n{HEAD}', FEW, "support", 500, 8, 99.53),
    "MAML++": (
        f'kind = "maml_plus_plus"\ninner_steps = 5\ninner_lr = 0.1\nmulti_step = 0.5\nfirst_order = 0.3\n{HEAD}',
        FEW, "support", 120, 8, 99.47,
    ),
    "Proto-MAML": (
        'kind = "maml"\ninner_steps = 2\ninner_lr = 0.1\norder = "second"\nhead_init = { kind = "prototype" }',
        FEW | {"way": "[5, 10]"}, "support", 200, 8, None,
    ),
    "Reptile": (
        f'kind = "reptile"\ninner_steps = 5\ninner_lr = 0.1\n{HEAD}', FEW | {"query": 9}, "support", 250, 8, 95.39,
    ),
}  # fmt: skip


def config(name, points):
    learner, episode, norm, steps, tasks, _ = LEARNERS[name]
    text = FILE.read_text()
    parts = re.split(r"(?m)^\[(\w+)\]\n", text)
    sections = dict(zip(parts[1::2], parts[2::2]))
    sections["learner"] = learner + "\n"
    for key, value in episode.items():
        sections["episode"] = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", sections["episode"])
    sections["backbone"] = sections["backbone"].replace('"running"', f'"{norm}"')
    outer = re.sub(r"(?m)^steps = .*$", f"steps = {steps}", sections["outer"])
    sections["outer"] = re.sub(r"(?m)^meta_batch = .*$", f"meta_batch = {tasks}\nclip = 10.0", outer)
    sections["validation"] = f"every = {steps // points}\nepisodes = 200\nsettings = [{FIVE}]\n"
    return parts[0] + "".join(f"[{section}]\n{body.strip()}\n\n" for section, body in sections.items())


def run(name, flags, folder):
    slug = re.sub(r"\W+", "-", name.lower()).strip("-")
    file = folder / f"{slug}.toml"
    file.write_text(config(name, flags.points))
    _, _, _, _, tasks, published = LEARNERS[name]
    arguments = ["train", file, "--name", slug, "--data", flags.data, "--models", folder / "models", "--restart"]
    arguments += ["--run-dir", folder / slug, "--threads", flags.threads, "--test-episodes", 600]
    before = os.times()
    done = subprocess.run([flags.imprint, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    after = os.times()
    said = done.stdout + done.stderr
    points = re.findall(r"validation at step (\d+): 5-way 1-shot ([\d.]+)", said)
    manifest = json.loads((folder / "models" / slug / "manifest.json").read_text())
    minutes = (after.children_user + after.children_system - before.children_user - before.children_system) / 60
    inductive = next(figure for figure in manifest["figures"] if not figure["transductive"])
    return {
        "learner": name,
        "curve": [[int(step) * tasks, 100 * float(accuracy)] for step, accuracy in points],
        "test": [round(100 * inductive["mean"], 2), round(100 * inductive["ci95"], 2)],
        "published": published,
        "minutes": round(minutes, 1),
    }


COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#e377c2", "#17becf"]


def plot(results):
    """Accuracy by tasks learned from, as SVG; tasks are on a logarithmic scale."""
    width, height, left, top, right, bottom = 760, 420, 50, 16, 150, 44
    tasks = [x for result in results for x, _ in result["curve"]]
    lowest = 5 * math.floor(min(y for result in results for _, y in result["curve"]) / 5)
    first, last = math.log10(min(tasks)), math.log10(max(tasks))
    across = lambda x: left + (math.log10(x) - first) / (last - first) * (width - left - right)
    down = lambda y: top + (100 - y) / (100 - lowest) * (height - top - bottom)
    text = lambda x, y, words, more="": f'<text x="{x:.0f}" y="{y:.0f}" {more}>{words}</text>'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for y in range(lowest, 101, 5):
        lines.append(f'<path d="M{left} {down(y):.1f}H{width - right}" stroke="#ddd"/>')
        lines.append(text(left - 6, down(y) + 4, f"{y} %", 'text-anchor="end"'))
    for x in (10**power * part for power in range(1, 6) for part in (1, 2, 5)):
        if min(tasks) <= x <= max(tasks):
            lines.append(text(across(x), height - bottom + 18, f"{x:,}", 'text-anchor="middle"'))
    lines.append(text((left + width - right) / 2, height - 6, "tasks learned from", 'text-anchor="middle"'))
    for place, (result, colour) in enumerate(zip(results, COLOURS)):
        points = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in result["curve"])
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(text(width - right + 12, top + 14 + 20 * place, result["learner"], f'fill="{colour}"'))
    return "\n".join([*lines, "</svg>\n"])


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--imprint", default=str(ROOT / "target/release/imprint"))
    flags.add_argument("--data", default="data")
    flags.add_argument("--learners", default=",".join(LEARNERS), help="some of them")
    flags.add_argument("--points", type=int, default=6, help="of each curve")
    flags.add_argument("--threads", type=int, default=1)
    flags.add_argument("--json", type=Path, help="adds what was measured to this file")
    flags.add_argument("--plot", type=Path, help="draws all that is in that file")
    flags = flags.parse_args()
    flags.imprint, flags.data = os.path.abspath(flags.imprint), os.path.abspath(flags.data)

    results = json.loads(flags.json.read_text()) if flags.json and flags.json.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        for name in filter(None, flags.learners.split(",")):
            result = run(name, flags, Path(folder))
            results = [other for other in results if other["learner"] != name] + [result]
            curve = ", ".join(f"{tasks}: {accuracy:.1f}" for tasks, accuracy in result["curve"])
            mean, ci95 = result["test"]
            print(f"{name:<11} {mean:.2f} ± {ci95:.2f} %  published {result['published'] or '–'}", end="")
            print(f"  after {result['minutes']} minutes; validation after so many tasks {curve}", flush=True)
            if flags.json:
                flags.json.write_text(json.dumps(results, indent=1) + "\n")
    if flags.plot:
        flags.plot.write_text(plot(results))


if __name__ == "__main__":
    main()
