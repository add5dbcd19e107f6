"""What profiles cost: cheap ones in `add` and `finalize`, full ones beside Pillow.

    python -m benchmarks.profiles [--runs 8] [--scale 1.0] [--jpegs 8000] [--data FOLDER]

The first table: CPU time of `add` and `finalize` of the data sets `images` (random bytes, of which a profile
says that they are no image), `tiny` and `jpegs` (real ones), each in a new process, with `DATAVER_PROFILES`
on and off in turn. The ratios are of adjacent runs; `more` is what `finalize` takes more, of `add` and
`finalize`: it varies less, because nothing else differs.

The second: full profiles of the JPEG files, from a repository in a folder, beside Pillow, which opens each
file (header only), and opens and decodes it; in turn, one process each. Needs Pillow.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.data import make

_ADD = """
import sys, time
from pathlib import Path
import dataver
repo, root, folder = dataver.init(Path(sys.argv[1], "repo")), Path(sys.argv[1]), sys.argv[2]
draft = repo.create("data", workspace=root)
began = time.process_time()
draft.add(folder)
added = time.process_time()
draft.finalize("x")
ended = time.process_time()
print(ended - began, ended - added)
if len(sys.argv) > 3:
    draft.upload()
"""

_FULL = """
import sys, time
from pathlib import Path
import dataver
version = dataver.open(Path(sys.argv[1], "repo")).version("data")
wall, began = time.perf_counter(), time.process_time()
report = version.profile()
print(time.process_time() - began, time.perf_counter() - wall, report.made.total())
"""

_PILLOW = """
import sys, time
from pathlib import Path
from PIL import Image
wall, began = time.perf_counter(), time.process_time()
paths = sorted(Path(sys.argv[2]).iterdir())
for path in paths:
    with Image.open(path) as image:
        image.size, image.mode
        if sys.argv[3] == "decode":
            image.load()
print(time.process_time() - began, time.perf_counter() - wall, len(paths))
"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profiles", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--scale", type=float, default=1.0, help="of the data sets images and tiny")
    parser.add_argument("--jpegs", type=int, default=8000)
    parser.add_argument("--data", type=Path, help="folder in which the data sets are kept")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        data = args.data or Path(root, "data")
        folders = {name: make(name, data, args.scale)[0] for name in ("images", "tiny")}
        folders["jpegs"] = _jpegs(data / f"jpegs-{args.jpegs}", args.jpegs)
        _print_cheap(folders, args.runs)
        _print_full(folders["jpegs"], args.runs)


def _jpegs(folder: Path, count: int) -> Path:
    """Make JPEG files of noise, so that no two have a chunk in common."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(list(folder.iterdir())), count):
        noise = Image.effect_noise((400, 300), 40 + number % 40).convert("RGB")
        noise.save(folder / f"{number:05}.jpg", quality=85)
    return folder


def _print_cheap(folders: dict[str, Path], runs: int) -> None:
    print(
        "| data set | add and finalize, s | with profiles, s | ratio (least to most) | finalize, ms | more |"
    )
    print("|---|---|---|---|---|---|")
    for name, folder in folders.items():
        times: dict[str, list[list[float]]] = {"off": [], "on": []}
        for number in range(runs + 1):
            for mode in ("off", "on") if number % 2 else ("on", "off"):
                found = _play(_ADD, mode, str(folder))
                if number:  # the first reads the files into the page cache
                    times[mode].append(found)
        ratios = [on[0] / off[0] for off, on in zip(times["off"], times["on"], strict=True)]
        columns = [f"{statistics.median(row[0] for row in times[mode]):.3f}" for mode in ("off", "on")]
        spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        seal = [statistics.median(row[1] for row in times[mode]) for mode in ("off", "on")]
        more = (seal[1] - seal[0]) / statistics.median(row[0] for row in times["off"])
        both = " and ".join(f"{1000 * each:.1f}" for each in seal)
        print(f"| {name} | {' | '.join(columns)} | {spread} | {both} | {100 * more:.1f} % |")


def _print_full(folder: Path, runs: int) -> None:
    ways = {"open": (_PILLOW, "open"), "open and decode": (_PILLOW, "decode"), "full profiles": (_FULL, "")}
    times: dict[str, list[list[float]]] = {name: [] for name in ways}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as root:
            _play(_ADD, "off", str(folder), "upload", root=root)
            for name, (code, how) in ways.items():
                times[name].append(_play(code, "on", str(folder), how, root=root))
    count = int(times["open"][0][2])
    print(f"\n| {count:,} files | CPU, s | wall, s | CPU, of opening | of opening and decoding |")
    print("|---|---|---|---|---|")
    for name, rows in times.items():
        cpu, wall = (statistics.median(row[column] for row in rows) for column in (0, 1))
        shares = [
            statistics.median(row[0] / base[0] for row, base in zip(rows, times[other], strict=True))
            for other in ("open", "open and decode")
        ]
        print(f"| {name} | {cpu:.2f} | {wall:.2f} | {shares[0]:.2f} | {shares[1]:.2f} |")


def _play(code: str, mode: str, *arguments: str, root: str | None = None) -> list[float]:
    """Return the numbers that a process prints; without `root` it has a folder of its own."""
    if root is None:
        with tempfile.TemporaryDirectory() as own:
            return _play(code, mode, *arguments, root=own)
    environment = {"DATAVER_PROFILES": mode, "DATAVER_LINEAGE": "off", "DATAVER_CACHE": f"{root}/cache"}
    done = subprocess.run(
        [sys.executable, "-c", code, root, *arguments],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(word) for word in done.stdout.split()]


if __name__ == "__main__":
    main()
