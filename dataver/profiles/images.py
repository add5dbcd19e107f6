"""Profiles of images: format, size, mode, how they were taken (never where), and thumbnails of a sample.

Pillow reads the header. Pixels are decoded only for a thumbnail, and at most `_PIXELS`, as a header may
lie. So a file that was cut is recognised by its missing end. Needs Pillow.
"""

from __future__ import annotations

import base64
import io
import math
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from dataver.errors import InvalidInput

if TYPE_CHECKING:
    from dataver.profiles.kinds import Profile, Source

__all__ = ["FORMATS", "cheap", "full"]

_LOADED: Final = TiffImagePlugin.TiffImageFile, WebPImagePlugin.WebPImageFile  # Pillow imports them late
FORMATS: Final = ("JPEG", "PNG", "GIF", "BMP", "PPM", *(each.format for each in _LOADED))
_PIXELS: Final = 16 << 20  # decoded for a thumbnail; of a JPEG, up to 64 times as many become one
_EDGE: Final = 256  # pixels of a thumbnail
_ENDS: Final = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_TAIL: Final = 64 << 20  # bytes in which the end is looked for
_TAKEN: Final = {
    "Make", "Model", "LensModel", "Software", "Orientation", "DateTime", "DateTimeOriginal", "ExposureTime",
    "FNumber", "ISOSpeedRatings", "FocalLength", "Flash", "XResolution", "YResolution",
}  # fmt: skip
_NAMES: Final = {number: name for number, name in ExifTags.TAGS.items() if name in _TAKEN}
_FRACTIONS: Final = float, TiffImagePlugin.IFDRational
_TEXT: Final = 100  # characters of a value


def cheap(source: Source) -> Profile:
    """Return what the header says."""
    with source.open() as file:
        return _header(file)[0]


def full(source: Source) -> Profile:
    """Return what the header says, whether the file was cut, and a thumbnail if it is sampled."""
    with source.open() as file:
        found, image, place = _header(file)
        end = _ENDS.get(found["format"])
        if end is not None:
            file.seek(place)  # behind the header, which may have a thumbnail of its own
            if file.read(_TAIL).rfind(end) < 0:  # from the end, where it is
                return found | {"problem": f"it was cut: it has no end as a {found['format']} file has"}
        if source.sampled:
            try:
                found |= _thumbnail(image)
            except Exception as error:  # noqa: BLE001  # what decoders raise for hostile bytes is not documented
                found["problem"] = f"it cannot be decoded: {error}"
        return found


def _header(file: BinaryIO) -> tuple[Profile, Any, int]:
    """Return what the header says, the opened image, and the position behind the header."""
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise InvalidInput(f"it is not an image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise InvalidInput("its header states more pixels than any image may have") from None
    place = file.tell()
    width, height = image.size
    found: Profile = {"format": image.format, "width": width, "height": height, "mode": image.mode}
    taken = _taken(image)
    return found | ({"exif": taken} if taken else {}), image, place


def _taken(image: Any) -> dict[str, Any]:
    """Return how an image was taken: of EXIF, what `_TAKEN` names, so no places, names and serial numbers."""
    if "exif" not in image.info and image.format != "TIFF":
        return {}  # Pillow would decode a PNG file to look for it behind the pixels
    try:
        exif = image.getexif()
        fields = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except Exception:  # noqa: BLE001  # EXIF may be damaged in any way, and the image intact
        return {}
    found: dict[str, Any] = {}
    for number, value in fields.items():
        if number in _NAMES and isinstance(value, str):
            found[_NAMES[number]] = value.strip("\0 ")[:_TEXT]
        elif number in _NAMES and isinstance(value, int):
            found[_NAMES[number]] = value
        elif number in _NAMES and isinstance(value, _FRACTIONS) and math.isfinite(value):
            found[_NAMES[number]] = round(float(value), 6)
    return found


def _thumbnail(image: Any) -> Profile:
    """Return a thumbnail as a JPEG file in base64."""
    image.draft("RGB", (_EDGE, _EDGE))
    width, height = image.size
    if width * height > _PIXELS:
        return {"partial": f"no thumbnail: {width:,} x {height:,} pixels are too many to decode"}
    image.thumbnail((_EDGE, _EDGE), Image.Resampling.HAMMING)
    data = io.BytesIO()
    image.convert("RGB").save(data, "JPEG", quality=75)
    return {"thumbnail": base64.b64encode(data.getvalue()).decode()}
