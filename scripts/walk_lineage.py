"""Run chapter 2 of the tutorial: two runs under MLflow, and queries about them.

    python scripts/walk_lineage.py [--keep FOLDER]

Creates a data set of handwritten digits in which one part has wrong labels, publishes it and trains on it.
Then corrects the part, publishes it and trains again. Queries the data of each run, the runs that read the
wrong part, and the difference between the runs. Prints every command and its output, as shown in
`docs/tutorial-lineage.md`. Exits with 1 if an answer is wrong.

Needs the packages mlflow and scikit-learn.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TRAIN = '''"""Train a classifier of handwritten digits on a version of the data, under MLflow."""

import sys
from pathlib import Path

import dataver
import mlflow
import numpy as np
from sklearn.linear_model import LogisticRegression


def table(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = np.vstack([np.loadtxt(path, delimiter=",") for path in sorted(folder.glob("*.csv"))])
    return rows[:, :-1] / 16, rows[:, -1]


mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("digits")
with mlflow.start_run():
    data = dataver.fetch(sys.argv[1]).path
    model = LogisticRegression(max_iter=1000).fit(*table(data / "train"))
    score = model.score(*table(data / "test"))
    mlflow.log_metric("accuracy", score)
    Path("model").mkdir(exist_ok=True)
    np.savez("model/weights.npz", weights=model.coef_, bias=model.intercept_)
    dataver.open().sync("model", "models/digits", message=f"accuracy {score:.3f}")
    print(f"{mlflow.active_run().info.run_id}  accuracy {score:.3f}")
'''

CLEAN = '''"""Sort the samples of the training data and drop repeated ones."""

import shutil
import sys
from pathlib import Path

import dataver
import numpy as np

data = dataver.fetch(sys.argv[1], include="train").path
shutil.rmtree("clean", ignore_errors=True)
Path("clean").mkdir()
for part in sorted(data.glob("train/*.csv")):
    np.savetxt(Path("clean", part.name), np.unique(np.loadtxt(part, delimiter=","), axis=0), fmt="%d")
print(dataver.open().sync("clean", "clean/digits").version.ref)
'''


def make_data(folder: Path) -> None:
    """Write the digits as CSV files; the labels of `train/part-3.csv` are shifted by one."""
    import numpy as np
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = np.column_stack([digits.data, digits.target])
    (folder / "test").mkdir(parents=True)
    (folder / "train").mkdir()
    np.savetxt(folder / "test" / "digits.csv", rows[1400:], fmt="%d", delimiter=",")
    for number, part in enumerate(np.array_split(rows[:1400], 7)):
        np.savetxt(folder / "train" / f"part-{number}.csv", part, fmt="%d", delimiter=",")
    shift_labels(folder / "train" / "part-3.csv", 1)


def shift_labels(path: Path, by: int) -> None:
    """Add a number to all labels of a part."""
    import numpy as np

    rows = np.loadtxt(path, delimiter=",")
    rows[:, -1] = (rows[:, -1] + by) % 10
    np.savetxt(path, rows, fmt="%d", delimiter=",")


class Walk:
    """A shell in a folder that runs commands and prints them with their output."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DATAVER_")},
            "DATAVER_CACHE": str(folder / ".cache"),
            "DATAVER_STATE": str(folder / ".state"),
            "DATAVER_AUTHOR": "ana",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def type(self, line: str, *, shown: bool = True) -> str:
        """Run a command line; return its standard output."""
        done = subprocess.run(
            shlex.split(line),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if shown:
            ours = [each for each in done.stderr.splitlines() if "mlflow" not in each and "INFO" not in each]
            print(f"$ {line}", done.stdout.rstrip(), *ours, sep="\n", end="\n\n")
        if done.returncode:
            sys.exit(f"{line} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout


def walk(folder: Path) -> None:
    """Run the whole chapter and check the answers."""
    make_data(folder / "digits")
    (folder / "train.py").write_text(TRAIN)
    (folder / "clean.py").write_text(CLEAN)
    shell = Walk(folder)
    shell.type("dataver init repository")
    shell.type("dataver sync digits --name vision/digits -m 'as delivered'")
    bad = shell.type("python train.py vision/digits@1.0.0").split()[0]
    shutil.copy(folder / "digits" / "train" / "part-3.csv", folder / "suspect.csv")
    shift_labels(folder / "digits" / "train" / "part-3.csv", -1)
    shell.type("dataver sync digits --name vision/digits -m 'labels of part 3 mended'")
    good = shell.type("python train.py vision/digits").split()[0]

    shell.type(f"dataver lineage run mlflow:{bad[:8]}")
    shell.type(f"dataver lineage compare {bad[:8]} {good[:8]}")
    shell.type("dataver lineage file suspect.csv")
    shell.type("dataver lineage impact vision/digits@1.0.0 --include train/part-3.csv")
    for version in ("vision/digits@1.0.0", "vision/digits@1.0.1"):
        shell.type(f"python clean.py {version}")
    shell.type("dataver lineage impact vision/digits@1.0.0 --include train/part-3.csv")
    shell.type("dataver lineage version models/digits@1.0.1 --up")
    check(shell, bad, good)


def check(shell: Walk, bad: str, good: str) -> None:
    """Fail if an answer is wrong, including that of MLflow."""

    def ask(line: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(shell.type(f"{line} --json", shown=False))
        return found

    read = ask(f"dataver lineage run {bad}")["inputs"]
    assert [each["ref"] for each in read] == ["vision/digits@1.0.0"], read  # type: ignore[attr-defined]
    (pair,) = ask(f"dataver lineage compare {bad} {good}")["pairs"]  # type: ignore[misc]
    assert [each["path"] for each in pair["diff"]["modified"]] == ["train/part-3.csv"], pair
    saw = ask("dataver lineage file suspect.csv")["runs"]
    assert {each["run"] for each in saw if each["link"]["role"] == "input"} >= {f"mlflow:{bad}"}, saw  # type: ignore[attr-defined]
    tainted = ask("dataver lineage impact vision/digits@1.0.0 --include train/part-3.csv")
    assert {each["ref"] for each in tainted["versions"]} >= {"models/digits@1.0.0", "clean/digits@1.0.0"}, (
        tainted
    )  # type: ignore[attr-defined]
    assert [each["ref"] for each in tainted["mended"]] == ["clean/digits@1.0.1"], tainted  # type: ignore[attr-defined]
    code = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db');"
        f"run = mlflow.get_run('{good}'); print(run.inputs.dataset_inputs[0].dataset.name)"
    )
    assert shell.type(shlex.join(["python", "-c", code]), shown=False).strip() == "vision/digits"


def main() -> None:
    """Run in a temporary folder, or in one to keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this empty folder and keep it")
    kept: Path | None = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as throwaway:
        folder = (kept or Path(throwaway)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        walk(folder)


if __name__ == "__main__":
    main()
