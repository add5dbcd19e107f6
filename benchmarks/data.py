"""Seeded data sets: each has a `v1` and a realistic `v2`; `source` and `checkpoints` have ten versions.

`make(name, folder, scale)` writes the versions once and returns their folders; the same name, scale and seed
give the same bytes. Sizes at scale 1 are those of `benchmarks/README.md`.
`python -m benchmarks.data NAME FOLDER SCALE` does the same in a process of its own, so that the memory it
takes is nobody else's.
"""

import json
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["DATASETS", "make"]

SEED = 20261121


def images(folder: Path, scale: float) -> None:
    """8,000 incompressible files of 20 to 120 KB; v2: 2 % replaced, 2 % added, 1 % removed, 50 renamed."""
    rng = random.Random(SEED)
    count = max(20, round(8000 * scale))
    names = [f"{number % 40:02d}/img_{number:05d}.jpg" for number in range(count)]
    v1, v2 = folder / "v1", folder / "v2"
    for name in names:
        _write(v1 / name, rng.randbytes(rng.randint(20_000, 120_000)))
    shutil.copytree(v1, v2)
    order = rng.sample(names, count)
    step = max(1, count // 100)
    for name in order[: 2 * step]:
        _write(v2 / name, rng.randbytes(rng.randint(20_000, 120_000)))
    for number in range(2 * step):
        _write(v2 / f"{number % 40:02d}/new_{number:05d}.jpg", rng.randbytes(rng.randint(20_000, 120_000)))
    for name in order[2 * step : 3 * step]:
        (v2 / name).unlink()
    for name in order[3 * step : 3 * step + max(1, count // 160)]:
        (v2 / name).rename(v2 / name.replace("img_", "renamed_"))


def table(folder: Path, scale: float) -> None:
    """4 CSV files of 128 MB; v2: 1,000 scattered row edits, inserts and deletes in each."""
    rng = random.Random(SEED)
    size = round(128_000_000 * scale)
    for number in range(4):
        rows = ["id,time,user,city,price,quantity,score,comment"]
        total, row = 0, 0
        while total < size:
            rows.append(_row(rng, row))
            total += len(rows[-1]) + 1
            row += 1
        _write(folder / "v1" / f"part-{number}.csv", ("\n".join(rows) + "\n").encode())
        for _ in range(max(3, round(1000 * min(1, scale)))):
            place = rng.randrange(1, len(rows))
            deed = rng.random()
            if deed < 0.6:
                rows[place] = _row(rng, place)
            elif deed < 0.8:
                rows.insert(place, _row(rng, row + place))
            else:
                del rows[place]
        _write(folder / "v2" / f"part-{number}.csv", ("\n".join(rows) + "\n").encode())


def parquet(folder: Path, scale: float) -> None:
    """8 Parquet files of ~60 MB; v2: 1 % rows appended to each, cells edited in half of them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    for number in range(8):
        rng = np.random.default_rng(SEED + number)
        rows = round(2_000_000 * scale)
        columns = _columns(rng, 0, rows)
        for version in ("v1", "v2"):
            target = folder / version / f"part-{number}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            if version == "v2":
                if number % 2:
                    for place in rng.integers(0, rows, 20):
                        columns["price"][place] = 0.0
                extra = _columns(rng, rows, max(1, rows // 100))
                columns = {name: np.concatenate((column, extra[name])) for name, column in columns.items()}
            pq.write_table(pa.table(columns), target, compression="snappy", row_group_size=200_000)


def tiny(folder: Path, scale: float) -> None:
    """50,000 files of 100 to 2,000 bytes; v2: 1 % edited."""
    rng = random.Random(SEED)
    count = max(100, round(50_000 * scale))
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(4000)]
    names = [f"{number % 100:02d}/{number // 100 % 10}/note-{number:06d}.json" for number in range(count)]
    for name in names:
        _write(folder / "v1" / name, _note(rng, words))
    shutil.copytree(folder / "v1", folder / "v2")
    for name in rng.sample(names, max(1, count // 100)):
        _write(folder / "v2" / name, _note(rng, words))


def tensor(folder: Path, scale: float) -> None:
    """1 GB of float32; v2: a region of 5 % changed and 4 KB inserted near the front."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    values = rng.standard_normal(round(250_000_000 * scale), dtype=np.float32) * np.float32(0.02)
    _write(folder / "v1" / "weights.bin", values.tobytes())
    start, length = len(values) // 3, len(values) // 20
    values[start : start + length] = rng.standard_normal(length, dtype=np.float32) * np.float32(0.02)
    data = values.tobytes()
    front = 1_000_000
    _write(folder / "v2" / "weights.bin", data[:front] + rng.bytes(4096) + data[front:])


def source(folder: Path, scale: float) -> None:
    """Ten consecutive releases of Django's wheel, unpacked, from the package index that pip uses."""
    for number in range(max(2, round(len(_RELEASES) * min(1, scale)))):
        wheels = folder / "wheels"
        words = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        release = f"django=={_RELEASES[number]}"
        subprocess.run([sys.executable, "-m", "pip", *words, "--dest", str(wheels), release], check=True)
        (wheel,) = wheels.iterdir()
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / f"v{number + 1}")
        shutil.rmtree(wheels)


def checkpoints(folder: Path, scale: float) -> None:
    """Ten checkpoints of a training run (`training.py`), each in the place of the one before; ~90 MB each."""
    from benchmarks.training import save, train

    for number, state in enumerate(train(10, scale, SEED)):
        save(state, folder / f"v{number + 1}")


def flat(folder: Path, scale: float) -> None:
    """One version of one file of 1 GB: nothing twice in it, every other MB compresses to half its size."""
    rng = random.Random(SEED)
    (folder / "v1").mkdir()
    with (folder / "v1" / "one-file.bin").open("wb") as out:
        for _ in range(round(500 * scale)):
            out.write(rng.randbytes(1_000_000))
            out.write(rng.randbytes(500_000).hex().encode())


_RELEASES = ["5.1", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.1.5", "5.1.6", "5.1.7", "5.1.8", "5.1.9"]

DATASETS: dict[str, Callable[[Path, float], None]] = {
    "images": images,
    "table": table,
    "parquet": parquet,
    "tiny": tiny,
    "tensor": tensor,
    "source": source,
    "checkpoints": checkpoints,
}


def make(name: str, folder: Path, scale: float = 1.0) -> tuple[Path, ...]:
    """Make a data set unless it is there; return the folders of its versions, `v1` first."""
    home = folder / f"{name}-{scale:g}"
    done = home / "done"
    if not done.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        (DATASETS | {"flat": flat})[name](home, scale)
        done.touch()
    return tuple(sorted(home.glob("v*"), key=lambda version: int(version.name[1:])))


def _write(path: Path, data: bytes) -> None:
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
    path.write_bytes(data)


def _row(rng: random.Random, number: int) -> str:
    return (
        f"{number},2026-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}T{rng.randint(0, 23):02d}:"
        f"{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d},user{rng.randint(0, 999_999)},"
        f"{rng.choice(_CITIES)},{rng.uniform(1, 900):.2f},{rng.randint(1, 20)},{rng.random():.6f},"
        f"{rng.choice(_COMMENTS)}"
    )


def _note(rng: random.Random, words: list[str]) -> bytes:
    length = rng.randint(60, 1900)
    text: list[str] = []
    while sum(map(len, text)) + len(text) < length:
        text.extend(rng.choices(words, k=8))
    note = {"id": rng.getrandbits(48), "score": round(rng.random(), 6), "text": " ".join(text)[:length]}
    return json.dumps(note).encode()


def _columns(rng: "np.random.Generator", start: int, rows: int) -> "dict[str, np.ndarray]":  # type: ignore[name-defined]  # noqa: F821
    import numpy as np

    return {
        "id": np.arange(start, start + rows, dtype=np.int64),
        "user": rng.integers(0, 1_000_000, rows, dtype=np.int32),
        "price": rng.uniform(1, 900, rows),
        "score": rng.standard_normal(rows, dtype=np.float32),
        "quantity": rng.integers(1, 20, rows, dtype=np.int8),
        "time": rng.integers(1_700_000_000, 1_800_000_000, rows, dtype=np.int64),
    }


_CITIES = [
    "Berlin",
    "Lagos",
    "Lima",
    "Osaka",
    "Pune",
    "Quito",
    "Riga",
    "Sydney",
    "Tunis",
    "Utrecht",
    "Vienna",
]
_COMMENTS = ["", "", "", "late", "returned", "gift", "second order", "paid in cash", "address changed", "ok"]


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
