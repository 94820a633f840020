#!/usr/bin/env bash
# Builds Imprint, starts it on the embedded database and runs `examples/demo.rs` against it. The server stays up, and a
# second run uses it again.
#
#   scripts/demo.sh         PORT=8080 is where it starts to look for a free port
#   scripts/demo.sh stop    stops the server; its database and key stay
set -euo pipefail
cd "$(dirname "$0")/.."

home=.imprint
target=${CARGO_TARGET_DIR:-target}
imprint=$target/release/imprint
pid_file=$home/serve.pid
url_file=$home/serve.url
log=$home/serve.log
key_file=$home/demo.key
database=sqlite:$home/demo.db

# A process id can be used again by another program after a restart of the machine.
running() { [ -s "$pid_file" ] && [[ "$(readlink "/proc/$(cat "$pid_file")/exe" 2>/dev/null)" == */release/imprint* ]]; }

stop() {
  if running; then
    local pid
    pid=$(cat "$pid_file")
    kill "$pid"
    while [ -e "/proc/$pid" ]; do sleep 0.1; done
    echo "The server on $(cat "$url_file") has stopped."
  fi
  rm -f "$pid_file" "$url_file"
}

taken() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start() {
  local port=${PORT:-8080}
  while taken "$port"; do port=$((port + 1)); done
  echo "http://127.0.0.1:$port" >"$url_file"
  # Its own session: Ctrl-C on the demo leaves the server up.
  setsid "$imprint" serve --listen "127.0.0.1:$port" --database-url "$database" --models models >"$log" 2>&1 </dev/null &
  echo $! >"$pid_file"
  until "$imprint" health "$(cat "$url_file")" 2>/dev/null; do
    running || { echo "demo.sh: the server did not start; the end of $log:" >&2; tail -n 20 "$log" >&2; exit 1; }
    sleep 0.1
  done
}

if [ "${1:-}" = stop ]; then
  stop
  exit 0
fi

cargo build --release --locked --bin imprint --example demo

mkdir -p "$home"
# A server of an earlier build would answer for the old code.
if running && [ "$imprint" -nt "$pid_file" ]; then stop; fi
if [ ! -s "$key_file" ]; then
  (umask 077 && "$imprint" keys create demo --database-url "$database" >"$key_file")
fi
running || start

IMPRINT_URL=$(cat "$url_file") IMPRINT_KEY_FILE=$key_file "$target/release/examples/demo"
echo
echo "To stop the server: make stop (its log is $log)"
