"""Differences of text, JSON, images and tensors, and which files are compared."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from differ import Differ
from PIL import Image
from safetensors.numpy import save_file

import dataver
from dataver.diffs import ArraysDiff, BytesDiff, File, JsonDiff, TextDiff, compare_files

LYING = b'{"x":{"dtype":"F32","shape":[99],"data_offsets":[0,9999999]}}'


def as_bytes(content: bytes) -> Callable[[Path], object]:
    """Return a function that writes bytes."""
    return lambda path: path.write_bytes(content)


def compare(folder: Path, name: str, old: bytes, new: bytes) -> Any:
    """Compare two contents of a file."""
    files = []
    for side, content in (("old", old), ("new", new)):
        path = folder / f"{side}-{name}"
        path.write_bytes(content)
        files.append(File(name, f"d@{side}", len(content), path.absolute))
    return compare_files(*files)


def test_text_is_a_unified_diff(tmp_path: Path) -> None:
    """That `patch` can apply; a missing newline at the end is a difference."""
    old = b"".join(b"line %d\n" % n for n in range(30))
    found = compare(tmp_path, "a.md", old, old.replace(b"line 7\n", b"line seven\nand more\n"))
    assert isinstance(found, TextDiff)
    assert found.summary() == "2 lines added, 1 removed"
    assert found.lines[:3] == ["--- d@old/a.md", "+++ d@new/a.md", "@@ -5,7 +5,8 @@"]
    assert found.values()["lines"] == {"added": 2, "removed": 1}
    assert compare(tmp_path, "a.txt", b"a\nb\n", b"a\nb").lines[-1] == "+b (no newline at the end)"
    assert compare(tmp_path, "a.txt", b"a\n\xff\n", b"a\n\xfe\n").removed == 1  # not UTF-8
    for encoding in ("utf-16", "utf-32"):
        texts = (f"{letter}\n".encode(encoding) for letter in "äö")
        assert compare(tmp_path, "a.txt", *texts).lines[-1] == "+ö"


def test_lines_that_repeat_too_often_are_only_counted(tmp_path: Path) -> None:
    """An answer comes in a second, where difflib would take many minutes."""
    old = b"".join(b"%d\n" % (n % 400) for n in range(200_000))
    new = b"".join(b"%d\n" % (n * 7 % 400) for n in range(200_000)) + b"0\n"
    found = compare(tmp_path, "a.txt", old, new)
    assert (found.added, found.removed, found.lines) == (1, 0, [])
    assert "repeat too often" in found.summary()


def test_binary_and_large_files_are_said_in_one_sentence(tmp_path: Path) -> None:
    """No line of them is compared."""
    found = compare(tmp_path, "a.bin", b"\0\1", b"\0\1\2")
    assert isinstance(found, BytesDiff)
    assert found.summary() == "binary, not compared; 2 bytes -> 3 bytes"
    assert found
    old = File("a.txt", "d@1.0.0", 17 << 20, Path)
    assert "larger than 16 MiB" in compare_files(old, old._replace(ref="d@1.0.1")).summary()
    old = old._replace(path="a.json", size=65 << 20)
    assert "larger than 64 MiB" in compare_files(old, old._replace(ref="d@1.0.1")).summary()


def test_json_is_compared_by_path(tmp_path: Path) -> None:
    """The paths are JSON Pointers; order and white space do not count, and `true` is not 1."""
    old = {"a/b": 1, "~": [1, 2, 3], "t": True, "n": 1, "nested": {"x": None, "gone": 1}}
    new = {"nested": {"x": 0}, "n": 1.0, "t": 1, "~": [0, 1, 2, 3], "a/b": 2, "more": []}
    found = compare(tmp_path, "a.json", json.dumps(old).encode(), json.dumps(new).encode())
    assert isinstance(found, JsonDiff)
    assert sorted(found.values()["changes"], key=lambda each: each["path"]) == [
        {"op": "replace", "path": "/a~1b", "old": 1, "new": 2},
        {"op": "add", "path": "/more", "new": []},
        {"op": "remove", "path": "/nested/gone", "old": 1},
        {"op": "replace", "path": "/nested/x", "old": None, "new": 0},
        {"op": "replace", "path": "/t", "old": True, "new": 1},
        {"op": "add", "path": "/~0/0", "new": 0},
    ]
    assert found.summary() == "values: 2 added, 1 removed, 3 changed"
    same = compare(tmp_path, "a.json", json.dumps(old).encode(), json.dumps(old, indent=3).encode())
    assert not same
    assert same.summary() == "the same values, written differently"


def test_elements_with_ids_are_compared_by_id(tmp_path: Path) -> None:
    """As in COCO's annotations: one that was removed does not change all others."""
    old = [{"id": n, "box": [n, n]} for n in range(100)]
    new = [
        {**each, "box": [0, 0]} if each["id"] == 50 else each for each in reversed(old) if each["id"] != 10
    ]
    found = compare(tmp_path, "coco.json", json.dumps(old).encode(), json.dumps(new).encode())
    assert [(each.op, each.path) for each in found.changes] == [
        ("remove", "/10"),
        ("replace", "/49/box/0"),
        ("replace", "/49/box/1"),
    ]
    twice = [{"id": 1, "v": 1}, {"id": 1, "v": 2}]
    assert (
        len(compare(tmp_path, "a.json", json.dumps(twice).encode(), json.dumps(twice[:1]).encode()).changes)
        == 1
    )


def test_images_by_pixel(differ: Differ) -> None:
    """The share of the pixels that differ, and by how much."""

    def draw(*dots: tuple[int, int]) -> Callable[[Path], object]:
        image = Image.new("RGB", (40, 300), (10, 20, 30))
        for dot in dots:
            image.putpixel(dot, (10, 20, 130))
        return image.save

    found = differ("a.png", draw(), draw((0, 0), (39, 299))).content("a.png")
    assert isinstance(found, ArraysDiff)
    (change,) = found.changes
    assert change.old == change.new == "40x300 RGB PNG"
    assert (change.elements, change.differing, change.largest) == (12_000, 2, 100.0)
    assert change.mean == pytest.approx(200 / 36_000)
    assert found.summary() == "0.02% of the pixels differ, by at most 100"


def test_images_of_other_forms(tmp_path: Path) -> None:
    """Modes are converted, sizes are reported, and 16 bits are compared as they are."""

    def saved(image: Image.Image, name: str) -> bytes:
        image.save(tmp_path / name)
        return (tmp_path / name).read_bytes()

    grey, colour = Image.new("L", (5, 5), 7), Image.new("RGB", (5, 5), (7, 7, 7))
    found = compare(tmp_path, "a.png", saved(grey, "g.png"), saved(colour, "c.png"))
    assert found.summary() == "5x5 L PNG -> 5x5 RGB PNG; 0.00% of the pixels differ"
    found = compare(tmp_path, "a.png", saved(grey, "g.png"), saved(Image.new("L", (5, 6)), "c.png"))
    assert found.summary() == "5x5 L PNG -> 5x6 L PNG"
    deep = [Image.fromarray(np.full((4, 4), value, "u2")) for value in (1000, 3000)]
    (change,) = compare(tmp_path, "a.png", *(saved(each, "d.png") for each in deep)).changes
    assert (change.differing, change.largest) == (16, 2000.0)
    two = saved(grey, "g.png"), saved(grey, "g.bmp")
    assert compare(tmp_path, "a.png", two[0], two[0] + b"tail").summary() == "the same pixels"


def test_tensors_by_element(differ: Differ) -> None:
    """Each tensor that differs, with its largest and mean difference; NaN equals NaN."""
    weights = {
        "w": np.arange(6, dtype="f4").reshape(2, 3),
        "same": np.array([np.nan, np.inf]),
        "gone": np.ones(2),
    }
    other = {
        "w": weights["w"] + np.array([0, 0, 0.5], "f4"),
        "same": weights["same"],
        "new": np.ones(3, "i8"),
    }
    difference = differ(
        "m.safetensors", lambda path: save_file(weights, path), lambda path: save_file(other, path)
    )
    found = difference.content("m.safetensors")
    assert isinstance(found, ArraysDiff)
    assert found.equal == 1
    named = {each.name: each for each in found.changes}
    assert (named["gone"].new, named["new"].old) == (None, None)
    assert (named["w"].differing, named["w"].largest, named["w"].elements) == (2, 0.5, 6)
    assert named["w"].mean == pytest.approx(1 / 6)
    assert found.summary() == "3 of 4 tensors changed, by at most 0.5"


def test_tensors_of_other_types_and_files(tmp_path: Path) -> None:
    """NumPy's files, bfloat16, types without arithmetic, and other shapes."""

    def saved(*arrays: object) -> list[bytes]:
        paths = [tmp_path / f"{n}.npy" for n in range(len(arrays))]
        for path, array in zip(paths, arrays, strict=True):
            np.save(path, array)  # type: ignore[arg-type]
        return [path.read_bytes() for path in paths]

    (change,) = compare(tmp_path, "a.npy", *saved(np.zeros(3), np.array([0, 1, np.nan]))).changes
    assert (change.differing, change.largest) == (2, 1.0)
    (change,) = compare(tmp_path, "a.npy", *saved(np.array(["a", "b"]), np.array(["a", "c"]))).changes
    assert (change.differing, change.largest) == (1, None)
    (change,) = compare(tmp_path, "a.npy", *saved(np.zeros((2, 3)), np.zeros((3, 2)))).changes
    assert (change.old, change.new, change.differing) == ("float64 [2, 3]", "float64 [3, 2]", None)
    assert not compare(tmp_path, "a.npy", *saved(np.zeros((0, 3)), np.zeros((0, 3))))
    for value, name in ((1, "one.npz"), (2, "two.npz")):
        np.savez(tmp_path / name, a=np.full(4, value), b=np.ones(1))
    found = compare(tmp_path, "a.npz", *((tmp_path / name).read_bytes() for name in ("one.npz", "two.npz")))
    assert [each.name for each in found.changes] == ["a"]

    def half(number: int) -> bytes:
        header = b'{"x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
        return struct.pack("<Q", len(header)) + header + struct.pack("<H", number)

    (change,) = compare(tmp_path, "a.safetensors", half(0x3F80), half(0x4000)).changes  # 1.0 and 2.0
    assert change.largest == 1.0


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.json", b"{", "JSON"),
        ("a.json", b"[" * 100_000, "JSON"),
        ("a.png", b"\x89PNG\r\n\x1a\n and nothing else", "an image"),
        ("a.npy", b"\x93NUMPY", "tensors"),
        ("a.npy", b"\x93NUMPY\1\0v\0{'descr':'|O','fortran_order':False,'shape':(1,)}".ljust(128), "tensors"),
        ("a.npz", b"PK no archive", "tensors"),
        ("a.safetensors", b"\xff" * 8, "tensors"),
        ("a.safetensors", struct.pack("<Q", len(LYING)) + LYING, "tensors"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    """In one sentence, whatever its library raises."""
    with pytest.raises(dataver.InvalidInput, match=rf"'{name}' in d@old cannot be read as {what}: .*\.$"):
        compare(tmp_path, name, content, content + b" ")


def test_an_image_that_would_fill_memory_is_refused(tmp_path: Path) -> None:
    """Before its pixels are decoded."""
    image = Image.new("1", (20_000, 10_000))
    image.save(tmp_path / "bomb.png")
    content = (tmp_path / "bomb.png").read_bytes()
    with pytest.raises(dataver.InvalidInput, match="cannot be read as an image: Image size"):
        compare(tmp_path, "a.png", content, content + b"\0")


def test_renamed_files_and_other_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renamed file has equal content; `old_path` names any file of the old version."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    repo, source = dataver.init(tmp_path / "repo"), tmp_path / "source"
    source.mkdir()
    (source / "a.csv").write_text("id,v\n1,2\n2,3\n")
    (source / "b.csv").write_text("id,v\n1,2\n2,4\n")
    (source / "link").symlink_to("a.csv")
    repo.sync(source, "d")
    (source / "a.csv").rename(source / "c.csv")
    (source / "new.csv").write_text("id,v\n1,2\n2,5\n")
    repo.sync(source, "d")
    difference = repo.version("d").diff()
    for path in ("a.csv", "c.csv", "b.csv"):
        found = difference.content(path)
        assert not found
        assert found.summary() == "the same content" + ", a.csv -> c.csv" * (path != "b.csv")
        assert found.values()["paths"]["new"] == ("c.csv" if path != "b.csv" else path)
    assert difference.table("c.csv").rows["equal"] == 2
    assert difference.table("new.csv", old_path="b.csv").cells == {"v": 1}
    for path in ("new.csv", "nothing.csv", "link"):
        with pytest.raises(dataver.PathNotFound, match=f"has no file '{path}'"):
            difference.content(path)


def test_drafts_and_missing_packages(differ: Differ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next step is in the error."""
    difference = differ("a.npy", as_bytes(b"1"), as_bytes(b"2"))
    with pytest.raises(dataver.InvalidInput, match="is not a table and has no key"):
        difference.content("a.npy", key="id")
    monkeypatch.setattr("dataver.extras.find_spec", lambda name: None)
    with pytest.raises(dataver.InvalidInput) as caught:
        difference.content("a.npy")
    assert caught.value.hint == "pip install 'dataver[arrays]'"
    with pytest.raises(dataver.PathNotFound, match=r"d@1\.0\.0 has no parent"):
        dataver.open(tmp_path / "repo").version("d@1.0.0").diff().content("a.npy")
    draft = dataver.open(tmp_path / "repo").create("d", parents=["d"])
    with pytest.raises(dataver.InvalidInput, match="draft cannot be compared"):
        draft.status().content("a.npy")


def test_an_image_is_of_a_known_format(tmp_path: Path) -> None:
    """No other decoder of Pillow sees the bytes: that of PostScript would start Ghostscript."""
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    with pytest.raises(dataver.InvalidInput, match="cannot be read as an image: cannot identify"):
        compare(tmp_path, "a.png", content, content + b"\n")


def test_every_second_line_changed(tmp_path: Path) -> None:
    """An answer comes in a second, where difflib would take hours; a few changes in many lines are shown."""
    old = [b"line %d\n" % n for n in range(20_000)]
    new = [b"other\n" if n % 2 else line for n, line in enumerate(old)]
    found = compare(tmp_path, "a.txt", b"".join(old), b"".join(new))
    assert (found.added, found.removed, found.lines) == (10_000, 10_000, [])
    new = [b"other\n" if n % 1000 == 7 else line for n, line in enumerate(old)]
    found = compare(tmp_path, "a.txt", b"".join(old), b"".join(new))
    assert (found.added, found.removed, len(found.lines)) == (20, 20, 2 + 20 * 9)


def test_deep_json_is_refused_at_once(tmp_path: Path) -> None:
    """Not by an internal error when the values are asked for."""
    deep = b'{"a":' + b"[" * 600 + b"]" * 600 + b"}"
    with pytest.raises(dataver.InvalidInput, match=r"cannot be read as JSON: .* deeper than 200 levels"):
        compare(tmp_path, "a.json", b'{"a":1}', deep)


def test_true_is_not_1_in_lists_of_other_lengths(tmp_path: Path) -> None:
    """Also nested."""
    found = compare(tmp_path, "a.json", b'[true, {"x": [1]}, 2]', b'[1, {"x": [true]}, 2, 3]')
    assert [(each.op, each.path) for each in found.changes] == [
        ("replace", "/0"),
        ("replace", "/1/x/0"),
        ("add", "/3"),
    ]


def test_arrays_in_the_order_of_fortran_and_of_types_without_comparison(tmp_path: Path) -> None:
    """They are compared in parts, in any order; values of types that NumPy cannot compare all differ."""
    one = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    two, fields = one.copy("F"), np.zeros(3, [("a", "i4")])
    two[1, 2] = -1

    def differing(*arrays: Any) -> int:
        for name, array in zip(("o.npy", "n.npy"), arrays, strict=True):
            np.save(tmp_path / name, array)
        contents = ((tmp_path / name).read_bytes() for name in ("o.npy", "n.npy"))
        (change,) = compare(tmp_path, "a.npy", *contents).changes
        return change.differing  # type: ignore[no-any-return]

    assert differing(one, two) == differing(one.copy("C"), two) == 1
    assert differing(fields, np.zeros(3, [("b", "i4")])) == 3
