#!/usr/bin/env bash
# Makes sure that the system has what the build needs. Installs what is missing where it may (as root, or by sudo
# without a password); elsewhere it says what to install, and fails.
#
#   scripts/system-packages.sh               to build: a C++ compiler, Python with pip, certificates, Rust
#   scripts/system-packages.sh tests         and to test: Python's venv, curl, and PostgreSQL's server programs
#                                            unless TEST_DATABASE_URL is set
set -euo pipefail

has() { command -v "$1" >/dev/null 2>&1; }

if ! has cargo; then
  echo "system-packages.sh: needs Rust, which rustup installs (https://rustup.rs)" >&2
  exit 1
fi

missing=()
{ has cc && has c++; } || missing+=(build-essential)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
[ -e /etc/ssl/certs/ca-certificates.crt ] || ! has apt-get || missing+=(ca-certificates)
if [ "${1:-}" = tests ]; then
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  has curl || missing+=(curl)
  [ -n "${TEST_DATABASE_URL:-}" ] || has initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null \
    || missing+=(postgresql)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if ! has apt-get; then
  echo "system-packages.sh: please install what Debian calls: ${missing[*]}" >&2
  exit 1
elif [ "$(id -u)" = 0 ]; then
  as_root=()
elif sudo -n true 2>/dev/null; then
  as_root=(sudo)
else
  echo "system-packages.sh: please run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

echo "system-packages.sh: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
