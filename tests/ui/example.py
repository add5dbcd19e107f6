"""A repository that shows what pages have to show: `python -m ui.example FOLDER [VERSIONS]` makes it.

Tables with rows that change, images, audio, arrays, hostile names and texts, runs that read and produced
versions, and a dataset of many versions. It runs in a process of its own, with lineage on.
"""

import base64
import io
import json
import math
import os
import random
import sys
import tarfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

import dataver
from dataver.formats.event import Context, Event, Link, RunFacts, new_event_id
from dataver.formats.profile import encode_profile

HOSTILE = (
    "<img src=x onerror=alert(1)>.txt",
    "javascript:alert(1)",
    "a b%20c#d?e&f.txt",
    "quote'\"quote.txt",
    "grüße ☃.txt",
    "evil\u202egpj.txt",
    "line\nbreak.txt",
    "long " + "name " * 45 + ".txt",
)
"""Names of files in `odd/names`."""

_COLUMN = {"nan_count": 0, "histogram": {"hist": ["x"]}, "n_unique": "many", "min": {"<b>": 1}}
HOSTILE_PROFILES: dict[str, dict[str, Any]] = {
    "sound.wav": {"kind": "audio", "peaks": ["<b>", None]},
    "array.npy": {"kind": "array", "count": "x", "arrays": [{"name": "<b>"}]},
    "archive.zip": {"kind": "archive", "count": 3, "members": [1]},
    "image.tif": {"kind": "image", "exif": [1], "width": {"a": 1}, "thumbnail": "' onerror='alert(1)"},
    "table.csv": {
        "kind": "table",
        "columns": [{"name": "a", "type": "<b>", "nullable": True}],
        "rows": 1,
        "statistics": {
            "num_examples": 1,
            "partial": False,
            "statistics": [{"column_name": "a", "column_type": "int", "column_statistics": _COLUMN}],
        },
        "sample": [{"row": {"a": "<b>"}}],
    },
}
"""Stored profiles that have not the form that their kind has."""

_README = """# Prices

Prices of a shop, one row a day and product.

| column | meaning |
|---|---|
| price | in euros |

<script>alert(1)</script> [a link](javascript:alert(1)) ![picture](https://example.org/x.png)
"""


def make(folder: Path, versions: int = 40) -> None:
    """Make the repository in `folder/repo`, with its cache and state beside it."""
    os.environ.update(DATAVER_CACHE=str(folder / "cache"), DATAVER_STATE=str(folder / "state"))
    os.environ.pop("DATAVER_LINEAGE", None)
    repo = dataver.init(folder / "repo")
    os.environ["DATAVER_REPO"] = str(folder / "repo")
    _shop(repo, folder)
    _cats(repo, folder)
    _odd(repo, folder)
    _mixed(repo, folder)
    _many(repo, folder, versions)
    _unprofiled(repo, folder)
    _runs(repo, folder)
    _tracked(repo)


def _publish(repo: dataver.Repository, folder: Path, name: str, message: str, **more: str) -> None:
    repo.sync(folder / name, name, workspace=folder / "work" / name, message=message, **more)


def _shop(repo: dataver.Repository, folder: Path) -> None:
    chance = random.Random(1)
    source = folder / "shop/prices"
    source.mkdir(parents=True)
    (source / "README.md").write_text(_README)
    rows = [
        {
            "id": number,
            "product": chance.choice(["apple", "pear", "plum", "fig <b>", "kiwi"]),
            "price": round(chance.lognormvariate(1, 0.6), 2),
            "sold": chance.randrange(200),
            "day": f"2026-{1 + number % 12:02}-{1 + number % 28:02}",
            "note": chance.choice([None, "sale", "x" * 300]),
        }
        for number in range(5_000)
    ]
    _tables(source, rows)
    _publish(repo, folder, "shop/prices", "first prices")
    for row in rows[100:112]:
        row["price"] = row["price"] * 10
    _tables(source, rows + [{**rows[0], "id": 5_000 + number} for number in range(40)])
    _publish(repo, folder, "shop/prices", "prices of june, and some that are ten times too high")
    _tables(
        source,
        [{**row, "price": round(row["price"] / (10 if 100 <= row["id"] < 112 else 1), 2)} for row in rows],
    )
    (source / "config.json").write_text(
        json.dumps({"currency": "EUR", "limits": {"low": 0, "high": [1, 2, 3]}})
    )
    _publish(repo, folder, "shop/prices", "june mended")
    repo.version("shop/prices@1.0.2").describe(
        "Prices of all products by day.", license="CC-BY-4.0", owner="Shop team", set={"region": "eu"}
    )
    repo.tag("shop/prices@1.0.2", "production")
    for label in ("1.0.0", "1.0.1", "1.0.2"):
        repo.version(f"shop/prices@{label}").profile()


def _tables(source: Path, rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, source / "prices.parquet", row_group_size=1_000)
    lines = ["id,product,price", *(f"{row['id']},{row['product']},{row['price']}" for row in rows[:400])]
    (source / "sample.csv").write_text("\n".join(lines) + "\n")


def _cats(repo: dataver.Repository, folder: Path) -> None:
    source = folder / "vision/cats"
    for part in ("train", "test"):
        (source / part).mkdir(parents=True)
    for number in range(60):
        _picture(number).save(source / ("test" if number % 5 == 0 else "train") / f"{number:04}.jpg")
    (source / "labels.csv").write_text("file,label\n" + "".join(f"{n:04}.jpg,cat\n" for n in range(60)))
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (source / "drawing.svg").write_text(
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    )
    _sounds(source / "audio")
    _publish(repo, folder, "vision/cats", "first photos")
    for number in (1, 2, 3):
        picture = _picture(number)
        ImageDraw.Draw(picture).ellipse((40, 30, 90, 80), fill="white")
        picture.save(source / f"train/{number:04}.jpg")
    (source / "train/0007.jpg").rename(source / "test/0007.jpg")
    (source / "train/0008.jpg").unlink()
    _picture(61).save(source / "train/0061.png")
    _publish(repo, folder, "vision/cats", "three photos repaired")
    repo.tag("vision/cats@1.0.0", "baseline")
    for label in ("1.0.0", "1.0.1"):
        repo.version(f"vision/cats@{label}").profile()


def _picture(number: int) -> Image.Image:
    made = Image.new("RGB", (160, 120), f"hsl({number * 37 % 360}, 55%, 55%)")
    draw = ImageDraw.Draw(made)
    for ring in range(6):
        at = 10 + ring * 9 + number % 7
        draw.ellipse(
            (at, at, 150 - at // 2, 118 - at // 3),
            outline=f"hsl({number * 37 % 360}, 70%, {25 + ring * 10}%)",
        )
    return made


def _sounds(folder: Path) -> None:
    folder.mkdir()
    for number, pitch in enumerate((220, 330)):
        time = np.arange(16_000) / 8_000
        wave = np.sin(2 * math.pi * pitch * time) * np.exp(-time * (number + 1)) * 0.8
        soundfile.write(folder / f"tone{number}.wav", wave, 8_000)


def _odd(repo: dataver.Repository, folder: Path) -> None:
    source = folder / "odd/names"
    for name in HOSTILE:
        path = source / "strange" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the file {name!r}\n")
    (source / "page.html").write_text("<script>document.title='owned'</script><h1>hello</h1>")
    (source / "notes.md").write_text("# Notes\n\n<script>alert(1)</script>\n\n**bold**\n")
    (source / "deep.json").write_text(json.dumps({"a": {"b": {"c": [{"d": "<b>"}] * 50}}}))
    np.save(source / "matrix.npy", np.arange(600, dtype=np.float32).reshape(20, 30))
    save_file(
        {"layer.weight": np.ones((64, 32), np.float32), "layer.bias": np.zeros(64, np.float32)},
        source / "model.safetensors",
    )
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "<script>alert(1)</script>"]},
        {
            "cell_type": "code",
            "metadata": {},
            "execution_count": 1,
            "source": ["print(1 < 2)"],
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["True\n"]}],
        },
    ]
    png = io.BytesIO()
    Image.new("RGB", (4, 3), "teal").save(png, "PNG")
    pictures = [
        {"output_type": "display_data", "data": {"image/png": base64.b64encode(png.getvalue()).decode()}},
        {
            "output_type": "display_data",
            "data": {"image/svg+xml": "<svg onload=alert(1)>", "text/html": "<script>alert(1)</script>"},
        },
        {"output_type": "display_data", "data": {"image/png": "' onerror='alert(1)"}},
        {"output_type": "error", "traceback": ["\x1b[31mError\x1b[0m: <b>\n"]},
    ]
    cells.append({"cell_type": "code", "source": "plot()", "outputs": pictures})
    (source / "book.ipynb").write_text(
        json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    (source / "bytes.bin").write_bytes(bytes(range(256)) * 4)
    (source / "long.txt").write_text("".join(f"line {number}\n" for number in range(30_000)))
    (source / "broken.parquet").write_bytes(b"PAR1 no table PAR1")
    (source / "broken.json").write_text('{"a": ')
    (source / "nested.json").write_text("[" * 100_000)
    with zipfile.ZipFile(source / "some.zip", "w") as archive:
        archive.writestr("<b>member</b>", "x" * 100)
    with tarfile.open(source / "some.tar.gz", "w:gz") as packed:
        packed.add(source / "notes.md", "inside/notes.md")
    (source / "link.npy").symlink_to("matrix.npy")
    for number in range(1_200):
        path = source / "many" / f"{number:05}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}\n")
    _publish(repo, folder, "odd/names", '<script>alert("message")</script>')


def _mixed(repo: dataver.Repository, folder: Path) -> None:
    """Publish two versions that differ in files of each kind."""
    source = folder / "lab/mixed"
    source.mkdir(parents=True)
    chance = random.Random(2)
    large = chance.randbytes(3_000_000)
    for second in (False, True):
        (source / "large.bin").write_bytes(
            large[:1_500_000] + b"inserted" * 9_000 * second + large[1_500_000:]
        )
        (source / "small.bin").write_bytes(b"\0" + chance.randbytes(200))
        lines = [f"line {number}" for number in range(60)]
        lines[20:22] = ["<script>alert('text')</script>", "another"] if second else lines[20:22]
        (source / "notes.txt").write_text("\n".join(lines) + "\n")
        settings = {
            "rate": 0.1 + second,
            "<b>": [1, 2, 3 + second],
            **({"new": None} if second else {"old": "x"}),
        }
        (source / "settings.json").write_text(json.dumps(settings))
        np.save(
            source / "matrix.npy", np.arange(600, dtype=np.float32).reshape(20, 30) + np.eye(20, 30) * second
        )
        save_file(
            {
                "weight": np.full((8, 8), 1 + second, np.float32),
                "bias": np.zeros(8, np.float32),
                "head" if second else "tail": np.zeros(2, np.float32),
            },
            source / "model.safetensors",
        )
        table = {
            "key": list(range(300)),
            "value": [chance.gauss(3 * second, 1) for _ in range(300)],
            "label" if second else "name": [f"<i>{number}" for number in range(300)],
            "count": [str(number) if second else number for number in range(300)],
            "new" if second else "old": [chance.random() for _ in range(300)],
        }
        pq.write_table(pa.table(table), source / "table.parquet")
        _publish(repo, folder, "lab/mixed", "second" if second else "first")


def _many(repo: dataver.Repository, folder: Path, versions: int) -> None:
    source = folder / "log/events"
    source.mkdir(parents=True)
    for number in range(versions):
        (source / f"{number:04}.txt").write_text(f"event {number}\n" * (1 + number % 9))
        _publish(repo, folder, "log/events", f"events of day {number}")


def _unprofiled(repo: dataver.Repository, folder: Path) -> None:
    source = folder / "log/tables"
    source.mkdir(parents=True)
    _tables(source, [{"id": number, "product": "pear", "price": number / 2} for number in range(3_000)])
    (source / "clip.mp4").write_bytes(b"no video")
    for name in HOSTILE_PROFILES:
        (source / name).write_text(f"some text of {name}\n")
    _publish(repo, folder, "log/tables", "without full profiles")
    version = repo.version("log/tables@1.0.0")
    for name, profile in HOSTILE_PROFILES.items():
        group, line = "tables" if "columns" in profile else "files", encode_profile({"full": True, **profile})
        lines = {version.entry(name).digest: line}
        repo._core.profiles.add("log/tables", group, {bytes.fromhex(version.digest[4:])}, lines)


def _runs(repo: dataver.Repository, folder: Path) -> None:
    """Record runs that read prices and cats and make models, three of them at once of one kind."""
    source = folder / "models/cats"
    source.mkdir(parents=True)
    read = ["vision/cats@1.0.0", "vision/cats@1.0.1", "vision/cats@1.0.1", *["shop/prices@1.0.1"] * 7]
    for number, ref in enumerate(read):
        name = f"{'train' if number < 3 else 'sweep'} {number}"
        with dataver.run(name, key=f"lab:{number}"):
            dataver.open().version(ref).fetch()
            if number < 3:
                (source / "weights.txt").write_text(f"{number * 0.37:.6f}\n")
                _publish(dataver.open(), folder, "models/cats", f"trained by {name}")
    repo.tag("models/cats@1.0.1", "production")


def _tracked(repo: dataver.Repository) -> None:
    """Record a run of another machine that failed, with the pages of two trackers, one of them hostile."""
    began, version = datetime(2026, 11, 1, 12, tzinfo=UTC), repo.version("odd/names@1.0.0")
    contexts = (
        Context("mlflow", "4f1c", "tracker", {"url": "https://mlflow.example/#/r", "name": "<b>night</b>"}),
        Context("wandb", "team/x", "tracker", {"url": "javascript:alert(1)"}),
    )
    facts = {"argv": ["train.py", "--rate=0.1", "a b"], "user": "ana", "host": "gpu-1", "python": "3.12.1"}
    run = RunFacts(
        key="mlflow:4f1c",
        process="0" * 32,
        sequence=1,
        started=began,
        name=HOSTILE[0],
        contexts=contexts,
        ended=began + timedelta(hours=3),
        outcome="failed",
        facts=facts,
    )
    read = Link(
        role="input",
        dataset=version.dataset,
        tree=version.digest.removeprefix("dv1:"),
        time=began,
        how="fetch",
        label=version.label,
        record=version.record_id,
        files=9,
        size=999,
    )
    repo._core.events.put(Event(new_event_id(), began, "a test", run, (read,)))


if __name__ == "__main__":
    make(Path(sys.argv[1]).absolute(), *map(int, sys.argv[2:]))
