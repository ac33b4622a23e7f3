#!/usr/bin/env bash
# Write requirements/lock.txt anew from pyproject.toml. torch and the model packages have files of
# their own: torch because its build depends on the machine, the model packages because one of them
# declares a dependency that would be compiled and isn't used.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/pip-compile --quiet --all-extras --generate-hashes --strip-extras --allow-unsafe \
  --unsafe-package torch --unsafe-package pip --no-emit-options --no-header \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
  -o requirements/lock.txt pyproject.toml
.venv/bin/python - <<'PY'
import pathlib, re
path = pathlib.Path("requirements/lock.txt")
text = re.sub(r"(?m)^torch==.*\n(?:    .*\n?)*", "", path.read_text())
text = re.sub(r"\n# The following packages are considered.*\n", "\n", text)
path.write_text("# Every package but torch and the models, pinned by hash. Made by `make lock`.\n" + text)
PY
