"""Run the store contract and the end-to-end suite against emulators of Google Cloud Storage and Azure.

    python scripts/clouds.py FOLDER [NAME…] [-- pytest's arguments]

Environments are kept in FOLDER (`environments`); Azurite is installed there by npm. Prints one line per
environment at the end; exits with 1 if any failed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from environments import main

PACKAGES: dict[str, tuple[str, ...]] = {
    "gcs": ("gcsfs>=2025.3", "gcp-storage-emulator>=2024.8"),
    "azure": ("adlfs>=2024.12",),
}
NODE_PACKAGES = {"azure": ("azurite@3",)}
TESTS = (
    "tests/storage/test_store_contract.py",
    "tests/storage/test_clouds.py",
    "tests/storage/test_foreign_replies.py",
    "tests/endtoend",
)


def tests(name: str, python: Path) -> tuple[list[str], dict[str, str]]:
    """Install an emulator; return the arguments of its tests, and their environment variables."""
    home = python.parent.parent
    for package in NODE_PACKAGES.get(name, ()):
        subprocess.run(
            [shutil.which("npm") or "npm", "install", "--silent", "--prefix", home, package], check=True
        )
    path = f"{home / 'node_modules' / '.bin'}{os.pathsep}{os.environ['PATH']}"
    return ["-m", "not faults", "-k", name, *TESTS], {"DATAVER_TEST_SERVERS": name, "PATH": path}


if __name__ == "__main__":
    sys.exit(main(PACKAGES, tests))
