"""A notebook, executed by papermill in a kernel."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat.v4 as nb

import dataver

from .conftest import linked


def test_the_run_of_a_notebook_names_it(repo: dataver.Repository, tmp_path: Path) -> None:
    """The variable is the one that Jupyter Server sets for its kernels."""
    notebook = tmp_path / "explore.ipynb"
    cell = nb.new_code_cell("import dataver; dataver.fetch('vision/cats@1.0.0')")
    notebook.write_text(nb.writes(nb.new_notebook(cells=[cell])))
    install = ["ipykernel", "install", "--name", "python3", "--prefix", str(tmp_path / "jupyter")]
    environment = {
        **os.environ,
        "DATAVER_LINEAGE": "on",
        "JPY_SESSION_NAME": str(notebook),
        "JUPYTER_PATH": str(tmp_path / "jupyter/share/jupyter"),
    }
    for command in (
        install,
        ["papermill", "--kernel", "python3", str(notebook), str(tmp_path / "out.ipynb")],
    ):
        subprocess.run(
            [sys.executable, "-m", *command], env=environment, cwd=tmp_path, check=True, timeout=280
        )
    (key,) = linked(repo)
    assert repo.lineage.run(key).facts["argv"] == [str(notebook)]
