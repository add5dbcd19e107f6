#!/usr/bin/env bash
# Install the built wheel into a fresh environment and run the tests from a folder without the source tree,
# so that a module missing from the wheel, or found only beside the tests, fails here and not at a user's.
set -euo pipefail

python="$1" dist="$(realpath "$2")"
shift 2
source_tree="$(cd "$(dirname "$0")/.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$dist"/dataver-*.whl \
    --group "$source_tree/pyproject.toml:test"

mkdir "$work/elsewhere"
for part in tests docs scripts benchmarks pyproject.toml README.md CHANGELOG.md; do
    if [ -e "$source_tree/$part" ]; then cp -r "$source_tree/$part" "$work/elsewhere/"; fi
done
cd "$work/elsewhere"
"$work/venv/bin/python" -c '
import sys, dataver, dataver_cli
for module in (dataver, dataver_cli):
    assert module.__file__.startswith(sys.prefix), f"{module.__name__} came from {module.__file__}"
'
DATAVER_TEST_DIST="$dist" "$work/venv/bin/python" -m pytest -n auto -m "not slow and not faults" "$@"
