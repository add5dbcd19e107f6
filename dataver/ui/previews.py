"""What a page shows of a file, by its kind: little of it is read, and little of that is shown.

A preview is a JSON object: `kind`, `facts` (of the profile), `note` (what is missing, and what helps), and
what the kind adds. Profiles and contents are untrusted: what does not have the expected form becomes a note.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, Final, cast

from dataver import Entry, Version
from dataver.errors import DataverError, InvalidInput, StoreError
from dataver.extras import require_extra
from dataver.formats.profile import decode_profile
from dataver.profiles.kinds import Head, Profile, Source, kind_of, make_profile
from dataver.profiles.text import encoding_of
from dataver.reading.stream import Ranges
from dataver.ui.asked import Asked
from dataver.ui.folder import IMAGES, thumbnail
from dataver.ui.markdown import LONGEST, as_html
from dataver.ui.table import table

__all__ = ["preview"]

_AUDIO: Final = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3")
_VIDEO: Final = (".mp4", ".m4v", ".webm", ".ogv", ".mov")
_TEXT: Final = 64 << 10  # bytes of a page of text
_LINES: Final = 1_000
_PEAKS: Final = 2_000
_JSON: Final = 8 << 20  # bytes that are parsed
_NODES: Final = 2_000  # values of JSON that are shown
_ITEMS: Final = 100  # of each
_DEEP: Final = 24
_CELLS: Final = 200
_PICTURES: Final = 2 << 20  # characters of a picture in a notebook
_LISTED: Final = 200  # members of an archive, arrays
_ARCHIVE: Final = 1 << 20  # bytes of a tar file that are read; packed, a quarter
_HEX: Final = 512  # bytes
_OTHER: Final = {
    "kind", "full", "problem", "partial", "thumbnail", "peaks", "members", "arrays", "shape", "columns",
    "statistics", "sample", "rows",
}  # fmt: skip
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/=\s]+")


def preview(asked: Asked, version: Version, entry: Entry) -> dict[str, Any]:
    """Return the preview of a file."""
    kind, low = kind_of(entry.path), entry.path.lower()
    name = "notebook" if low.endswith(".ipynb") else kind.name if kind else ""
    name = "image" if low.endswith(IMAGES) else "video" if low.endswith(_VIDEO) else name
    profile, found, problem = Profile(), dict[str, Any](), None
    try:
        if kind is not None:
            read = partial(version.files().read, entry.path)
            source = Source(entry.path, entry.size, entry.digest, kind)
            source.open = lambda: cast("BinaryIO", Ranges(read, entry.size))
            profile = _profile(asked, version, source)
            found = table(asked, version, source, profile) if name == "table" else {}
        if name in ("json", "notebook"):
            parsed = _parsed(version, entry)
            tree = name == "json" or not parsed["cells"]
            found = {"tree": _node("", parsed, iter(range(_NODES)), _DEEP)} if tree else _notebook(parsed)
        found = found or _media(version, entry, profile) or _text(asked, version, entry)
    except Exception as error:  # noqa: BLE001  # what libraries raise for hostile bytes is not documented
        problem = f"It cannot be shown as what its name says: {str(error)[:300]}"
        if isinstance(error, DataverError):
            problem = f"{error.message} {error.hint or ''}"
        found = {}
        with suppress(DataverError):
            found = _text(asked, version, entry)
    notes = (problem or profile.get("problem"), profile.get("partial"), found.pop("note", None))
    exif = profile.get("exif")
    facts = {**profile, **(exif if isinstance(exif, dict) else {})}
    facts = {key: each for key, each in facts.items() if isinstance(each, str | int | float)}
    return {
        "kind": name,
        "facts": {key: each for key, each in facts.items() if key not in _OTHER},
        "note": " ".join(f"{str(each).rstrip('. ')}." for each in notes if each),
        **found,
    }


def _profile(asked: Asked, version: Version, source: Source) -> Profile:
    """Return the stored profile of a file, else a cheap one."""
    lines: dict[bytes, bytes] = {}
    kind, low = source.kind, source.name.lower()
    with suppress(StoreError):
        profiles = asked.repository._core.profiles
        lines = profiles.find(version.dataset, kind.group, {source.digest})
    stored = decode_profile(lines[source.digest]) if lines else {}
    if stored.get("full") or (kind.name == "table" and stored):
        return stored
    if kind.extra is not None:
        require_extra(kind.extra, f"the preview of {kind.name} files")
    if kind.name == "archive" and not low.endswith(".zip"):
        head = Head(source, _ARCHIVE if low.endswith(".tar") else _ARCHIVE // 4)
        found = make_profile(kind, head, full=True) or {}
        return found | ({"problem": "", "partial": "only its beginning was listed"} if head.left < 0 else {})
    return make_profile(kind, source, full=False) or {}


def _media(version: Version, entry: Entry, profile: Profile) -> dict[str, Any]:
    """Return images, audio, arrays and archives: what their profiles have; nothing for other files."""
    found: dict[str, Any] = {}
    low = entry.path.lower()
    if arrays := profile.get("arrays"):
        found["arrays"] = list(map(_array, arrays[:_LISTED]))
        found["more"] = profile["count"] - len(found["arrays"])
    if members := profile.get("members"):
        found["members"] = [[str(name), min(int(size), 1 << 63)] for name, size in members[:_LISTED]]
        found["more"] = profile["count"] - len(found["members"])
    if low.endswith(IMAGES + _VIDEO):
        found["shown"] = low.endswith(IMAGES)
    elif small := thumbnail(profile):
        found["thumbnail"] = small
    if profile.get("kind") == "audio":
        peaks = list(map(float, profile.get("peaks", [])[:_PEAKS]))
        found |= {"playable": low.endswith(_AUDIO), "peaks": peaks}
        if not profile["full"]:
            found["note"] = f"To see its waveform: dataver profile {version.ref}"
    return found


def _array(each: Any) -> dict[str, Any]:
    shape = list(map(int, each["shape"][:_ITEMS]))
    return {"name": str(each["name"]), "dtype": str(each["dtype"]), "shape": shape}


def _parsed(version: Version, entry: Entry) -> Any:
    if entry.size > _JSON:
        raise InvalidInput(f"It is larger than {_JSON >> 20} MiB, so it is shown as text.")
    return json.loads(version.read(entry.path))


def _node(name: str, value: Any, left: Iterator[int], deep: int) -> dict[str, Any]:
    """Return a value of JSON with those in it, as many as may be shown."""
    if not isinstance(value, dict | list):
        return {"name": name, "text": json.dumps(value, ensure_ascii=False)}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    some = islice(pairs, _ITEMS if deep else 0)
    items = [_node(str(key), each, left, deep - 1) for key, each in some if next(left, None) is not None]
    ends = "{}" if isinstance(value, dict) else "[]"
    return {"name": name, "ends": ends, "count": len(value), "items": items, "more": len(value) - len(items)}


def _notebook(parsed: Any) -> dict[str, Any]:
    shown, left = list[dict[str, Any]](), LONGEST
    for each in parsed["cells"][:_CELLS]:
        source, outputs = _joined(each["source"]), each.get("outputs", ())[:20]
        html = as_html(source) if each["cell_type"] == "markdown" and left >= 0 else ""
        shown.append({"html": html, "source": "" if html else source, "outputs": list(map(_output, outputs))})
        left -= len(source)
        if left < -_JSON // 16:
            break
    return {"cells": shown, "more": len(parsed["cells"]) - len(shown)}


def _output(output: dict[str, Any]) -> dict[str, Any]:
    """Return the picture of an output, else its text."""
    data = output.get("data", {})
    for kind in ("image/png", "image/jpeg"):
        picture = _joined(data.get(kind, ""), _PICTURES)
        if _BASE64.fullmatch(picture) and len(picture) < _PICTURES:
            return {"picture": f"data:{kind};base64,{''.join(picture.split())}"}
    text = output.get("text") or data.get("text/plain") or output.get("traceback") or ""
    return {"text": _COLOURS.sub("", _joined(text))}


def _joined(text: str | list[str], most: int = 20_000) -> str:
    return (text if isinstance(text, str) else "".join(text))[:most]


def _text(asked: Asked, version: Version, entry: Entry) -> dict[str, Any]:
    """Return lines from a place on, or the first bytes if it is not text."""
    at, number = asked.number("at", 0), asked.number("line", 1)
    data = version.files().read(entry.path, min(at, entry.size), min(at + _TEXT, entry.size))
    encoding, ended = encoding_of(data), at + len(data) >= entry.size
    if b"\0" in data and "8" in encoding:
        return {"kind": "bytes", "bytes": _hex(data[:_HEX])}
    if encoding != "utf-8" and "8" not in encoding:
        lines, ended = data.decode(encoding, "replace").splitlines(), True
    else:
        whole = (data.removesuffix(b"\n") if ended else data).split(b"\n")
        whole = whole[: _LINES if ended or len(whole) == 1 else min(_LINES, len(whole) - 1)]
        lines = [each.decode("utf-8-sig" if not at else "utf-8", "replace") for each in whole]
        at += sum(map(len, whole)) + len(whole)
        ended = at >= entry.size
    more = None if ended else {"at": at, "line": number + len(lines)}
    found = {"kind": "text", "line": number, "lines": lines, "next": more}
    if entry.path.lower().endswith(".md") and number == 1:
        found["html"] = as_html(data.decode(encoding, "replace"))
    return found


def _hex(data: bytes) -> list[list[str]]:
    rows = ((start, data[start : start + 16]) for start in range(0, len(data), 16))
    return [
        [f"{start:04x}", row.hex(" "), "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in row)]
        for start, row in rows
    ]
