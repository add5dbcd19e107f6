"""Differences between images and tensors, by element. Needs `dataver[images]`, `dataver[arrays]`.

Nothing is unpickled (invariant 9).
"""

from __future__ import annotations

import math
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dataver.diffs.content import BytesDiff, ContentDiff, File, broken, finite
from dataver.extras import require_extra
from dataver.printable import count
from dataver.profiles.arrays import safetensors_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np

# Imports in functions: NumPy and Pillow are optional.

__all__ = ["ArrayChange", "ArraysDiff", "compare_images", "compare_tensors"]

_STEP: Final = 1 << 20  # elements compared together
_ROWS: Final = 128  # rows of pixels compared together
_HEADER: Final = 100 << 20  # bytes of the header of a safetensors file, the limit of its own library
_UNPACKED: Final = 2 << 30  # bytes of the arrays in a .npz file, each of which is in memory
_MODES: Final = {"L", "LA", "RGB", "RGBA", "CMYK", "I", "I;16", "F"}
_TYPES: Final = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?", "C64": "<c8",
}  # fmt: skip
"""Types of safetensors. Of others, bytes are compared."""


class ArrayChange(NamedTuple):
    """An image or a tensor that differs.

    Attributes:
        name: name of the tensor; "" of an image and of the array in a .npy file.
        old: its form, such as "float32 [10, 3]" or "640x480 RGB PNG"; None if the old file has none.
        new: its form in the new file.
        elements: number of its elements; of an image, of pixels.
        differing: number of elements that differ; None if the shapes differ.
        largest: largest absolute difference of a number in it, with NaN equal to NaN; None if there are none.
        mean: mean absolute difference of all numbers in it.
    """

    name: str
    old: str | None
    new: str | None
    elements: int = 0
    differing: int | None = None
    largest: float | None = None
    mean: float | None = None


class ArraysDiff(ContentDiff):
    """Difference between two images, or between the tensors of two files.

    Attributes:
        changes: what differs, by name.
        equal: number of images or tensors that do not differ.
    """

    def __init__(self, kind: str, found: Iterable[ArrayChange]) -> None:
        self.kind = kind
        everything = list(found)
        self.changes = [each for each in everything if each.old != each.new or each.differing]
        self.equal = len(everything) - len(self.changes)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def summary(self) -> str:
        """Return how much differs."""
        most = max((each.largest for each in self.changes if each.largest is not None), default=0.0)
        by = f", by at most {most:.3g}" if most else ""
        if self.kind == "array":
            return f"{len(self.changes):,} of {count(len(self.changes) + self.equal, 'tensor')} changed{by}"
        if not self.changes:
            return "the same pixels"
        (found,) = self.changes
        parts = [] if found.old == found.new else [f"{found.old} -> {found.new}"]
        if found.differing is not None:
            parts.append(f"{found.differing / found.elements:.2%} of the pixels differ{by}")
        return "; ".join(parts)

    def values(self, limit: int | None = None) -> dict[str, Any]:
        """Return the counts and what differs."""
        return {
            "differing": len(self.changes),
            "equal": self.equal,
            "changes": [finite(each._asdict()) for each in self.changes[:limit]],
        }


def compare_images(old: File, new: File) -> ArraysDiff:
    """Return the difference between two images by pixel; of images of several frames, the first ones.

    Raises:
        InvalidInput: Pillow or NumPy is not installed, or a file is not an image or has too many pixels.
    """
    require_extra("images", "the difference of images")
    import numpy as np
    from PIL import Image

    from dataver.profiles.images import FORMATS

    images = []
    for file in (old, new):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of odd metadata
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                images.append(Image.open(file.fetch(), formats=FORMATS))
                images[-1].load()
        except Exception as error:  # what Pillow's plug-ins raise for hostile bytes is not documented
            raise broken(file, "an image", error) from error
    one, two = images
    forms = [f"{each.width}x{each.height} {each.mode} {each.format}" for each in images]
    change = ArrayChange("", forms[0], forms[1], one.width * one.height)
    if one.size == two.size:
        mode = one.mode if one.mode == two.mode and one.mode in _MODES else "RGBA"
        bands = [(0, top, one.width, min(top + _ROWS, one.height)) for top in range(0, one.height, _ROWS)]
        strips = ([np.asarray(each.crop(band).convert(mode)) for each in images] for band in bands)
        pixels = ([each.reshape(each.shape[0] * each.shape[1], -1) for each in pair] for pair in strips)
        change = _measured(change, pixels)
    return ArraysDiff("image", [change])


def compare_tensors(old: File, new: File) -> ArraysDiff | BytesDiff:
    """Return the difference between the tensors of two files: .npy, .npz or .safetensors.

    Raises:
        InvalidInput: NumPy is not installed, or a file is damaged or contains Python objects.
    """
    require_extra("arrays", "the difference of tensors")
    found: list[dict[str, _Tensor]] = []
    for file in (old, new):
        try:
            found.append(_read(file))
        except OverflowError as error:
            return BytesDiff(old, new, str(error))
        except Exception as error:  # what NumPy raises for hostile bytes is not documented
            raise broken(file, "tensors", error) from error
    one, two = found
    return ArraysDiff(
        "array", (_compare(name, one.get(name), two.get(name)) for name in sorted({*one, *two}))
    )


class _Tensor(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    data: np.ndarray[Any, Any]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"

    def part(self, start: int) -> np.ndarray[Any, Any]:
        flat = self.data.reshape(-1) if self.data.flags.c_contiguous else self.data.flat  # no copy in memory
        part = flat[start : start + _STEP].reshape(-1, 1)
        return (part.astype("u4") << 16).view("f4") if self.dtype == "BF16" else part  # the half of a float32


def _read(file: File) -> dict[str, _Tensor]:
    import numpy as np

    path, suffix = file.fetch(), file.path.lower().rpartition(".")[2]
    if suffix == "safetensors":
        return dict(_safetensors(path))
    if suffix == "npz":
        with zipfile.ZipFile(path) as archive:
            if sum(each.file_size for each in archive.infolist()) > _UNPACKED:
                raise OverflowError(f"larger than {_UNPACKED >> 30} GiB unpacked, not compared")
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    arrays = {name: loaded[name] for name in loaded.files} if suffix == "npz" else {"": loaded}
    return {name: _Tensor(str(each.dtype), each.shape, each) for name, each in arrays.items()}


def _safetensors(path: Path) -> Iterator[tuple[str, _Tensor]]:
    import numpy as np

    with path.open("rb") as file:
        header, start = safetensors_header(file, _HEADER)
    data = np.memmap(path, mode="r")[start:]
    for name, each in header.items():
        kind, shape, (begin, end) = str(each["dtype"]), tuple(each["shape"]), each["data_offsets"]
        known = np.dtype(_TYPES.get(kind, "u1"))
        whole = kind not in _TYPES or math.prod(shape) * known.itemsize == end - begin
        if not (whole and 0 <= begin <= end <= len(data)):
            raise ValueError(f"tensor '{name}' is not where the header says")
        yield name, _Tensor(kind, shape, np.frombuffer(data[begin:end], known))


def _compare(name: str, old: _Tensor | None, new: _Tensor | None) -> ArrayChange:
    size = new.data.size if new is not None else 0
    change = ArrayChange(name, old and str(old), new and str(new), size)
    if old is None or new is None or old.shape != new.shape or old.data.size != size:
        return change
    if not (old.data.flags.c_contiguous or new.data.flags.c_contiguous):  # in the order of the file
        old, new = (each._replace(data=each.data.T) for each in (old, new))
    parts = ((old.part(start), new.part(start)) for start in range(0, size, _STEP))
    numbers = all(each.dtype in _TYPES or each.dtype.islower() for each in (old, new))
    try:
        return _measured(change, parts, numbers=numbers)
    except TypeError:  # NumPy does not compare these two types
        return change._replace(differing=size)


def _measured(
    change: ArrayChange, parts: Iterable[Sequence[np.ndarray[Any, Any]]], *, numbers: bool = True
) -> ArrayChange:
    """Return a change with the differences of arrays of shape (elements, channels), part by part."""
    import numpy as np

    differing, largest, total, count = 0, 0.0, 0.0, 0
    for one, two in parts:
        unequal = one != two
        numbers = numbers and one.dtype.kind in "biufc" and two.dtype.kind in "biufc"
        if numbers:
            unequal &= ~(np.isnan(one) & np.isnan(two))
            wide = "c16" if "c" in one.dtype.kind + two.dtype.kind else "f8"
            with np.errstate(all="ignore"):
                apart = np.abs(one[unequal].astype(wide) - two[unequal].astype(wide))
            apart = apart[~np.isnan(apart)]
            largest, total = max(largest, float(apart.max(initial=0))), total + float(apart.sum())
        differing, count = differing + int(np.count_nonzero(unequal.any(axis=1))), count + one.size
    if not numbers:
        return change._replace(differing=differing)
    return change._replace(differing=differing, largest=largest, mean=total / max(1, count))
