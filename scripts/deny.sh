#!/usr/bin/env bash
# The dependencies' licences, sources and known vulnerabilities, by cargo-deny and `deny.toml`.
#
# The vulnerabilities come from RustSec's git repository. Where that cannot be reached, an earlier copy is used, or that one
# check is left out: both are said aloud. Licences, bans and sources need the crates alone, and are always checked.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
tools=target/tools
export PATH="$PWD/$tools/bin:$PATH"

if ! cargo deny --version 2>/dev/null | grep -qF "cargo-deny $version"; then
  echo "deny.sh: building cargo-deny $version into $tools"
  # Unoptimised: it builds in about three minutes on two cores, and still checks this tree in a second.
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=target/tools/build \
    cargo install --quiet --locked --profile dev --root "$tools" "cargo-deny@$version"
  rm -rf target/tools/build
fi

deny() { cargo deny --locked --log-level error "$@"; }

deny check bans licenses sources

if deny fetch db >/dev/null 2>&1; then
  deny check advisories
elif compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/.git" >/dev/null; then
  echo "deny.sh: NOTICE: RustSec's database could not be fetched; checking advisories against the copy of an earlier run" >&2
  deny --offline check advisories
else
  echo "deny.sh: NOTICE: RustSec's database could not be fetched; advisories were NOT checked" >&2
fi
