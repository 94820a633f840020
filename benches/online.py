"""Meta-learning online: tasks arrive in rounds, and each round's are met before they are learned from.

    cargo build --release
    python benches/online.py --imprint target/release/imprint

Follow the meta-leader (Finn et al. 2019, arXiv:1902.08438): after each round θ is moved, from where it is, to suit all tasks
that have been met, by `imprint train --continue`. The stream is of sinusoids whose phases arrive in six ranges from 0 to 2π,
`examples/train/sinusoid-stream.toml`. Beside it stand

  anew        the same steps each round, from a fresh θ: what a round costs is the same,
  anew, all   from a fresh θ with as many steps as the online θ has taken in all rounds so far: as many times dearer as there were rounds,
  first       the θ of the first round, never moved again,
  hindsight   one θ, trained once on all rounds with the steps of all: what regret is measured against.

The loss of a round is the mean squared error on the tasks that it brings, ten examples each, of the θ from before them.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "examples/train/sinusoid-stream.toml"
PHASES = "phase = [0.0, 2.0]"


class Stream:
    def __init__(self, flags, folder):
        self.flags, self.folder, self.models = flags, folder, folder / "models"

    def phases(self, first, last):
        each = 2 / self.flags.rounds
        return f"phase = [{first * each:.6f}, {last * each:.6f}]"

    def run(self, *arguments):
        command = [self.flags.imprint, *map(str, arguments), "--models", self.models, "--threads", str(self.flags.threads)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        return done.stdout

    def train(self, name, rounds, steps, earlier=None):
        """θ for the tasks of the first `rounds`."""
        text = FILE.read_text()
        assert PHASES in text
        file = self.folder / f"{name}.toml"
        file.write_text(text.replace(PHASES, self.phases(0, rounds)))
        going_on = ["--continue", self.models / earlier] if earlier else []
        where = ["--run-dir", self.folder / "runs" / name]
        self.run("train", file, "--name", name, "--steps", steps, "--test-episodes", 0, *where, *going_on)
        return name

    def loss(self, name, round_):
        """Of a θ on the tasks that `round_` brings."""
        task = self.folder / f"round-{round_}.toml"
        task.write_text(f'kind = "sinusoid"\n{self.phases(round_ - 1, round_)}\n')
        figures = ["--way", 1, "--shot", 10, "--query", 50, "--episodes", self.flags.episodes, "--json"]
        figure = json.loads(self.run("eval", name, "--task", task, *figures))["figures"][0]["inductive"]
        return figure["mean"], figure["ci95"]


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--imprint", default=str(ROOT / "target/release/imprint"))
    flags.add_argument("--rounds", type=int, default=6)
    flags.add_argument("--steps", type=int, default=500, help="outer steps a round")
    flags.add_argument("--episodes", type=int, default=600)
    flags.add_argument("--threads", type=int, default=1)
    flags = flags.parse_args()
    flags.imprint = os.path.abspath(flags.imprint)

    with tempfile.TemporaryDirectory() as folder:
        stream = Stream(flags, Path(folder))
        first = stream.train("round-1", 1, flags.steps)
        hindsight = stream.train("hindsight", flags.rounds, flags.rounds * flags.steps)
        ways = ["online", "anew", "anew, all", "first", "hindsight"]
        known = dict.fromkeys(ways, first) | {"hindsight": hindsight}
        total = dict.fromkeys(ways, 0.0)
        print("round  " + "".join(f"{way:>18}" for way in ways), flush=True)
        for round_ in range(2, flags.rounds + 1):
            figures = {way: stream.loss(known[way], round_) for way in ways}
            cells = "".join(f"{mean:>10.3f} ± {ci95:.3f}" for mean, ci95 in figures.values())
            print(f"{round_:>5}  {cells}", flush=True)
            for way, (mean, _) in figures.items():
                total[way] += mean
            if round_ < flags.rounds:
                known["online"] = stream.train(f"online-{round_}", round_, flags.steps, known["online"])
                known["anew"] = stream.train(f"anew-{round_}", round_, flags.steps)
                known["anew, all"] = stream.train(f"all-{round_}", round_, round_ * flags.steps)
        print("regret " + "".join(f"{total[way] - total['hindsight']:>18.3f}" for way in ways))


if __name__ == "__main__":
    main()
