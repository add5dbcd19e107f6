"""Profiles of images, hostile ones among them: no pixel is decoded that a header only claims."""

import base64
import io
import struct
import zlib

import pytest
from PIL import Image

from .sources import profile


def image(form: str, size: tuple[int, int] = (300, 200), mode: str = "RGB", **options) -> bytes:
    """Return an image of noise, which does not compress away."""
    noise = Image.effect_noise(size, 80).convert(mode)
    data = io.BytesIO()
    noise.save(data, form, **options)
    return data.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file whose header claims a size, with these chunks."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (header, *chunks, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("name", "form", "mode"),
    [
        ("a.jpg", "JPEG", "RGB"),
        ("a.PNG", "PNG", "RGBA"),
        ("a.gif", "GIF", "L"),
        ("a.webp", "WEBP", "RGB"),
        ("a.tiff", "TIFF", "I;16"),
        ("a.bmp", "BMP", "L"),
        ("a.pgm", "PPM", "L"),
        ("wrong.png", "JPEG", "L"),
    ],
)
def test_size_mode_and_thumbnail_of_each_format(name: str, form: str, mode: str):
    """The content decides the format, whatever the name is."""
    data = image(form, mode=mode)
    found = profile(name, data)
    thumbnail = Image.open(io.BytesIO(base64.b64decode(found.pop("thumbnail"))))
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (256, 171))
    assert found == {"kind": "image", "full": True, "format": form, "width": 300, "height": 200, "mode": mode}
    assert profile(name, data, full=False) == {**found, "full": False}
    assert profile(name, data, sampled=False) == found


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_says_how_it_was_taken_and_never_where_or_by_whom(form: str):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112], exif[0x013B] = "Camera", 6, "Ann Author"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 1.0)})
    exif.get_ifd(0x8769).update({0x829D: 2.8, 0x9003: "2026:11:30 12:00:00", 0xA431: "serial 42"})
    exif[0x8825], exif[0x8769] = exif.get_ifd(0x8825), exif.get_ifd(0x8769)
    found = profile("a.jpg", image(form, exif=exif))
    assert found["exif"] == {
        "Make": "Camera",
        "Orientation": 6,
        "FNumber": 2.8,
        "DateTimeOriginal": "2026:11:30 12:00:00",
    }


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_file_that_was_cut_says_so_without_being_decoded(form: str):
    data = image(form)
    found = profile("cut.jpg", data[: len(data) // 2], sampled=False)
    assert "it was cut" in found["problem"] and (found["width"], found["height"]) == (300, 200)
    assert "problem" not in profile("whole.jpg", data + b"appended", sampled=False)


def test_a_cut_thumbnail_in_the_header_is_not_taken_for_the_end():
    """EXIF may hold a whole JPEG file of its own."""
    data = image("JPEG", exif=b"Exif\0\0MM\0*" + image("JPEG", (16, 16)))
    assert "it was cut" in profile("a.jpg", data[:-100])["problem"]


def test_other_files_that_cannot_be_decoded_have_a_problem():
    data = image("GIF", mode="P")
    assert "cannot be decoded" in profile("a.gif", data[: len(data) // 2])["problem"]
    broken = png(300, 200, (b"IDAT", b"no deflate stream"))
    assert "cannot be decoded" in profile("a.png", broken)["problem"]
    for data in (b"", image("WEBP")[:1000], b"\xff\xd8", b"<html>" * 100, b"\x89PNG\r\n\x1a\n"):
        assert profile("a.jpg", data)["problem"]


def test_a_bomb_is_named_and_not_decoded():
    """70,000 x 70,000 pixels in a few bytes; and 8,000 x 8,000, of which no thumbnail is made."""
    bomb = png(70_000, 70_000, (b"IDAT", zlib.compress(bytes(1000))))
    assert "more pixels" in profile("bomb.png", bomb)["problem"]
    large = png(8_000, 8_000, (b"IDAT", zlib.compress(bytes(1000))))
    found = profile("large.png", large)
    assert found["width"] == 8_000 and "no thumbnail" in found["partial"] and "problem" not in found


def test_a_compressed_text_chunk_is_not_unpacked_without_a_bound():
    text = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20 << 20), 9))
    assert profile("a.png", png(10, 10, text))["problem"]
