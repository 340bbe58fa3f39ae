# Shared by the scripts: source it from the repository's root, under `set -euo pipefail`.

target="${CARGO_TARGET_DIR:-target}"
case "$target" in /*) ;; *) target="$PWD/$target" ;; esac
venv="$target/venv"

# Says what went wrong and ends the script.
die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# new_scratch NAME: makes a scratch directory that other users can pass through: PostgreSQL's own one lies within.
new_scratch() {
  local made
  made=$(mktemp -d "${TMPDIR:-/tmp}/tenantry-$1.XXXXXX")
  chmod 711 "$made"
  echo "$made"
}

# Prints a TCP port on 127.0.0.1 that nothing listens on, below the range the kernel hands out itself.
free_port() {
  local port
  while :; do
    port=$((15000 + RANDOM % 17000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# wait_ready URL PID SECONDS: returns when URL answers 2xx; fails when process PID ends or SECONDS have passed.
wait_ready() {
  local deadline=$((SECONDS + $3))
  until curl -fsS -o /dev/null --max-time 2 "$1" 2>/dev/null; do
    kill -0 "$2" 2>/dev/null || return 1
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}
