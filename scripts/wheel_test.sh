#!/usr/bin/env bash
# Install the built wheel into a fresh environment, import all its modules and run the tests of the commands, the public
# names and the formats from a folder without the source tree, so that a module missing from the wheel, or found only
# beside the tests, fails here and not at a user's. ARGS to pytest replace the selection of tests.
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
import importlib, pkgutil, sys, dataver, dataver_cli
for package in (dataver, dataver_cli):
    assert package.__file__.startswith(sys.prefix), f"{package.__name__} came from {package.__file__}"
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # of an extra, such as torch
            assert error.name.partition(".")[0] not in ("dataver", "dataver_cli"), error
'
[ $# -gt 0 ] || set -- tests/test_package.py tests/cli tests/golden tests/fs tests/web
DATAVER_TEST_DIST="$dist" "$work/venv/bin/python" -m pytest -n auto -m "not slow and not faults and not torture" "$@"
