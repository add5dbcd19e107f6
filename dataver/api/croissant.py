"""A version as a Croissant 1.1 document: JSON-LD that describes its files and tables, licence and origin.

The idea: all files lie in one folder, the one that the version is fetched to. They are described as sets, by
folder and extension, so that a million files do not make a million objects. Tables of one folder with the
same columns are a set of their own, with a record set. Columns come from the stored profiles; no file is
read. SHA-256 checksums are left out: dataver has BLAKE3 digests, and `identifier` is that of all content.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import glob
import re
from collections import Counter, defaultdict
from contextlib import suppress
from mimetypes import MimeTypes
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote

from dataver.errors import IntegrityError, NotFound, StoreError
from dataver.formats.names import parse_semver
from dataver.formats.profile import decode_profile, encode_profile
from dataver.lineage.lineage import Lineage
from dataver.log import info as log_info
from dataver.tables import format_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from dataver.formats.description import Description
    from dataver.repository import Published, RepositoryCore
    from dataver.tree import Tree

__all__ = ["croissant"]

_Json: TypeAlias = dict[str, Any]
_Columns: TypeAlias = tuple[tuple[str, str, bool], ...]  # names, types, and whether a value is a list

_VERSION: Final = "http://mlcommons.org/croissant/1.1"
_TERMS: Final = """
    arrayShape citeAs column containedIn equivalentProperty excludes extract field fileObject fileProperty
    fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex
    repeated replace samplingRate separator source subField transform
"""
_CONTEXT: Final[_Json] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}
_SETS: Final = 100  # of files that are no tables; with more, folders are described with those above
_NAMED: Final = 1_000  # files of a set whose names are listed
_EXTENSION: Final = re.compile(r".(\.[A-Za-z]\w{0,15}(?:\.(?:gz|zst|bz2|xz))?)$")
_TYPE: Final = re.compile(  # of Arrow
    r"(?P<Boolean>bool)|(?P<Integer>u?int\d)|(?P<Float>half|float|double|decimal)|(?P<DateTime>timestamp)"
    r"|(?P<Date>date)|(?P<Time>time)|(?P<Text>null|(?:large_)?(?:string|utf8|binary))"
)
_WRAPPED: Final = re.compile(r"(dictionary<values=|(?:large_)?list<(?:\w+: )?)([\w\[\]]+)")
_FORMATS: Final = MimeTypes().types_map[1] | {  # without the files of this machine
    ".arrow": "application/vnd.apache.arrow.file",
    ".jsonl": "application/jsonlines",
    ".md": "text/markdown",
    ".ndjson": "application/jsonlines",
    ".parquet": "application/x-parquet",
}


def croissant(core: RepositoryCore, version: Published, described: Description | None, tree: Tree) -> _Json:
    """Return the document of a version; reads its tree, the profiles of tables, and the lineage."""
    record = version.record
    plain, tables = _files(tree, _schemas(core, record.dataset, tree))
    distribution, record_sets = list(_plain_sets(plain, [each[:2] for each in tables])), []
    numbers = Counter[str]()
    for (folder, extension, columns), paths in tables.items():
        name, key = (paths[0], quote(paths[0])) if len(paths) == 1 else _pattern(folder, extension)
        numbers[key] += 1
        key += f";{numbers[key]}" if numbers[key] > 1 else ""
        whole = [f"{glob.escape(folder)}*{extension}"]
        includes = whole if len(paths) > _NAMED else [glob.escape(path) for path in paths]
        distribution.append(_file_set(key, name, extension, includes))
        record_sets.append(_record_set(key, name, columns))
    metadata = record.metadata if described is None else described.metadata
    text = (described.text if described else "") or record.message
    return _stated(
        {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": _VERSION,
            "name": record.dataset,
            "description": text or f"Version {record.label} of {record.dataset}.",
            "license": _license(described.license) if described else None,
            "url": _address(record.dataset, record.label),
            "identifier": f"dv1:{record.tree.hex()}",
            "version": record.label if parse_semver(record.label) else None,
            "datePublished": record.created.isoformat(),
            "citeAs": metadata.get("citation"),
            "creator": {"@type": "sc:Person", "name": record.author},
            "maintainer": described.owner if described else None,
            "prov:wasDerivedFrom": [
                {"@id": _address(each.dataset, each.label), "identifier": f"dv1:{each.tree}"}
                for each in record.parents
            ],
            "prov:wasGeneratedBy": list(_activities(core, version.ref)),
            "distribution": distribution,
            "recordSet": record_sets,
        }
    )


def _address(dataset: str, label: str) -> str:
    """Return the URL by which fsspec reads a version."""
    return f"dataver://{dataset}@{label}"


def _license(expression: str) -> str:
    """Return the URL of a licence of the SPDX list; other expressions as they are."""
    one = re.fullmatch(r"(?!LicenseRef-)[\w.+-]+", expression)
    return f"https://spdx.org/licenses/{expression}.html" if one else expression


def _activities(core: RepositoryCore, ref: str) -> Iterator[_Json]:
    """Yield the runs that produced a version."""
    lineage = Lineage(core)
    try:
        produced = lineage.version(ref).produced
    except NotFound:
        return
    finally:
        lineage.close()
    for run, link in produced:
        if link.how != "unchanged":
            yield _stated(
                {
                    "@type": "prov:Activity",
                    "prov:label": run.name or run.key,
                    "identifier": run.key,
                    "prov:startedAtTime": run.started.isoformat(),
                    "prov:endedAtTime": run.ended and run.ended.isoformat(),
                }
            )


def _schemas(core: RepositoryCore, dataset: str, tree: Tree) -> dict[bytes, _Columns]:
    """Return the columns of the tables of a version whose profiles are known, by digest."""
    wanted = {name for path, _, name in tree.files() if format_of(path)}
    try:
        lines = core.profiles.find(dataset, "tables", wanted, _shortened)
    except StoreError as error:
        log_info("the columns of tables are left out: %s", error.message)
        return {}
    found = {}
    for name, line in lines.items():
        columns = tuple(each for each in map(_column, decode_profile(line)["columns"]) if each[1])
        if columns:
            found[name] = columns
    return found


def _shortened(line: bytes) -> bytes:
    """Return a profile without statistics and sample, so that those of many tables fit in memory."""
    with suppress(IntegrityError):  # others may have written it
        profile = decode_profile(line)
        return encode_profile({key: profile.get(key, []) for key in ("full", "kind", "columns")})
    return b""


def _column(column: _Json) -> tuple[str, str, bool]:
    """Return the name and the type of a column; the type is empty if Croissant has none for it."""
    wrapped = _WRAPPED.match(column["type"])
    found = _TYPE.match(wrapped[2] if wrapped else column["type"])
    kind = f"sc:{found.lastgroup}" if found else ""
    return column["name"], kind, wrapped is not None and "list" in wrapped[1]


def _files(
    tree: Tree, schemas: dict[bytes, _Columns]
) -> tuple[set[tuple[str, str]], dict[tuple[str, str, _Columns], list[str]]]:
    """Return the folders, with a slash, and extensions of files; those of tables with columns and paths."""
    plain: set[tuple[str, str]] = set()
    tables = defaultdict[tuple[str, str, _Columns], list[str]](list)
    for path, _, name in tree.files():
        found = _EXTENSION.search(path)
        place = path[: path.rfind("/") + 1], found[1] if found else ""
        if name in schemas:
            tables[(*place, schemas[name])].append(path)
        else:
            plain.add(place)
    return plain, tables


def _plain_sets(places: Collection[tuple[str, str]], tables: Iterable[tuple[str, str]]) -> Iterator[_Json]:
    """Yield sets of files, of few folders; those without an extension exclude all others of the folder."""
    depth = max((folder.count("/") for folder, _ in places), default=0)
    deep = False
    while len(places) > _SETS and depth:
        depth, deep = depth - 1, True
        above = re.compile(f"(?:[^/]*/){{0,{depth}}}")
        places = {(above.match(folder)[0], extension) for folder, extension in places}  # type: ignore[index]
    if len(places) > _SETS:
        places = {("", "")}
    every = sorted({*places, *tables})
    for folder, extension in sorted(places):
        name, key = _pattern(folder, extension)
        below = glob.escape(folder)
        includes = [f"{below}*{extension}", *([f"{below}**/*{extension}"] if deep else [])]
        excludes = [f"{below}*{each}" for at, each in every if at == folder and each and not extension]
        yield _file_set(key, name, extension, includes, excludes)


def _pattern(folder: str, extension: str) -> tuple[str, str]:
    """Return the name of a set of files, and its id, in which no other character is a star."""
    return f"{folder}*{extension}", f"{quote(folder)}*{extension}"


def _file_set(
    key: str, name: str, extension: str, includes: list[str], excludes: Iterable[str] = ()
) -> _Json:
    unpacked = f".{extension.lower().split('.')[1]}" if extension else ""
    return _stated(
        {
            "@type": "cr:FileSet",
            "@id": f"{key};files",
            "name": name,
            "encodingFormat": _FORMATS.get(unpacked, "application/octet-stream"),
            "includes": includes,
            "excludes": list(excludes),
        }
    )


def _stated(values: _Json) -> _Json:
    """Return the values that are not empty."""
    return {name: value for name, value in values.items() if value}


def _record_set(key: str, name: str, columns: _Columns) -> _Json:
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{key}/{quote(column, safe='')}",
            "name": column,
            "dataType": kind,
            **({"isArray": True, "arrayShape": "-1"} if listed else {}),
            "source": {"fileSet": {"@id": f"{key};files"}, "extract": {"column": column}},
        }
        for column, kind, listed in columns
    ]
    return {"@type": "cr:RecordSet", "@id": key, "name": name, "field": fields}
