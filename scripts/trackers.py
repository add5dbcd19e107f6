"""Run the tests of trackers and orchestrators, each with the real package in a separate environment.

    python scripts/trackers.py FOLDER [NAME…] [-- pytest's arguments]

Environments are kept in FOLDER (`environments`). Prints one line per tracker at the end; exits with 1 if any
failed.
"""

import sys
from pathlib import Path

from environments import main

PACKAGES: dict[str, tuple[str, ...]] = {
    "mlflow": ("mlflow-skinny>=3.17", "sqlalchemy", "alembic"),  # what a SQLite tracking store needs
    "clearml": ("clearml>=2.1",),
    "zenml": ("zenml[local]>=0.98",),
    "wandb": ("wandb>=0.30",),
    "trackio": ("trackio>=0.43",),
    "comet": ("comet-ml>=3.58",),
    "prefect": ("prefect>=3.8", "fastapi<0.150"),  # 0.165 refuses an argument that prefect 3.8.8 gives
    "dagster": ("dagster>=1.13",),
    "airflow": ("apache-airflow>=3.1",),
    "notebook": ("papermill>=2.6", "ipykernel>=7"),
    "tutorial": ("mlflow-skinny>=3.17", "sqlalchemy", "alembic", "scikit-learn", "pandas>=2.3"),
    "workers": (
        *("mlflow-skinny>=3.17", "sqlalchemy", "alembic"),
        *("optuna>=4.5", "joblib>=1.5", "ray>=2.50", "torch==2.13.0"),
    ),
    "datasets": ("datasets>=4.0",),  # has a cache of its own
    "hal": (),  # a tracker of somebody else's, which its test installs
}


def tests(name: str, _: Path) -> tuple[list[str], dict[str, str]]:
    """Return the file of a tracker's tests, and their environment variables."""
    variables = {"DATAVER_TEST_TRACKER": name, "DATAVER_TEST_SERVERS": "0"}
    return [f"tests/trackers/test_with_{name}.py"], variables


if __name__ == "__main__":
    sys.exit(main(PACKAGES, tests))
