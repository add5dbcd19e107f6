"""Data of the demo: photos that do not compress, and a table that does, from a fixed seed; a training job."""

import random
from pathlib import Path

__all__ = ["TRAINING", "differences", "files_in", "first", "second"]

TRAINING = """\
import sys
from pathlib import Path

import dataver

data = dataver.fetch(sys.argv[1])
scores = [float(line.split(",")[2]) for line in (data / "labels.csv").open()]
Path("model").mkdir(exist_ok=True)
Path("model/weights.txt").write_text(f"{sum(scores) / len(scores):.6f}\\n")
dataver.open().sync("model", "models/cats", message=f"trained on {sys.argv[1]}")
"""

_SEED = 2026
_PHOTOS = 200
_ROWS = 120_000


def first(folder: Path) -> None:
    """Write the first state: 200 photos in two folders and a table of 120,000 rows."""
    chance = random.Random(_SEED)  # noqa: S311  # generated photos, no secrets
    for name in ("train", "test"):
        (folder / name).mkdir(parents=True)
    for number in range(_PHOTOS):
        part = "test" if number % 5 == 0 else "train"
        (folder / part / f"{number:04}.jpg").write_bytes(_photo(chance))
    (folder / "labels.csv").write_text("".join(_row(chance, number) for number in range(_ROWS)), "ascii")


def second(folder: Path) -> None:
    """Change the first state to the second: photos replaced, renamed, added, removed; 300 rows edited."""
    chance = random.Random(_SEED + 1)  # noqa: S311  # as above
    train = sorted((folder / "train").iterdir())
    for photo in train[:4]:
        photo.write_bytes(_photo(chance))
    for photo in train[10:15]:
        photo.rename(folder / "test" / photo.name)
    for photo in train[20:23]:
        photo.unlink()
    for number in range(_PHOTOS, _PHOTOS + 2):
        (folder / "train" / f"{number:04}.jpg").write_bytes(_photo(chance))
    table = folder / "labels.csv"
    rows = table.read_text("ascii").splitlines(keepends=True)
    for number in chance.sample(range(_ROWS), 300):
        rows[number] = _row(chance, number)
    table.write_text("".join(rows), "ascii")


def differences(one: Path, other: Path) -> list[str]:
    """Return the relative paths of all files that differ between two folders."""
    names = {path.relative_to(one).as_posix() for path in files_in(one)}
    others = {path.relative_to(other).as_posix() for path in files_in(other)}
    wrong = [name for name in names & others if (one / name).read_bytes() != (other / name).read_bytes()]
    return sorted([*wrong, *(names ^ others)])


def files_in(folder: Path) -> list[Path]:
    """Return all files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]


def _photo(chance: random.Random) -> bytes:
    return b"\xff\xd8\xff\xe0" + chance.randbytes(chance.randrange(20_000, 80_000))


def _row(chance: random.Random, number: int) -> str:
    kind = chance.choice(("tabby", "siamese", "persian", "manx"))
    return f"{number:07},{kind},{chance.random():.6f},{chance.randrange(1000)}\n"
