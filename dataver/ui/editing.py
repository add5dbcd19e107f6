"""Changes that a page makes where editing is on: the description and tags of a version, by a plain HTML form.

    POST /-/edit   ref, number; text, license, owner; =KEY for each metadata, key and value; tag, untag, move

A form must come from a page of this server: its `Origin` is this host, and it has the secret that only these
pages contain. Besides, browsers send the cookie with the token only with requests of this site.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from secrets import compare_digest
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from dataver import Repository, Version
from dataver.errors import Conflict, InvalidInput, NotFound

__all__ = ["Refused", "change", "read_form", "typed_as"]

_LONGEST: Final = 1 << 20  # bytes of a form
_PATIENCE: Final = 30.0  # seconds for its arrival
_TEXTS: Final = ("text", "license", "owner")


class Refused(InvalidInput):
    """A form that is not one of a page of this server."""


async def read_form(request: Request, secret: str) -> dict[str, str]:
    """Return the fields of a form; of each name the last.

    Raises:
        Refused: it is of another site, lacks the secret, is too long, or arrives too slowly.
    """
    form: dict[str, str] = {}
    body = bytearray()
    if _same_origin(request):
        with suppress(ValueError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                async for part in request.stream():
                    body += part
                    if len(body) > _LONGEST:
                        raise Refused(f"the form has more than {_LONGEST >> 20} MiB.")
            form = dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=100))
    if not compare_digest(form.pop("secret", "").encode(), secret.encode()):
        raise Refused("this is not a form of a page of this server.", hint="load its page again")
    return {name: value.replace("\r\n", "\n") for name, value in form.items()}


def _same_origin(request: Request) -> bool:
    """Return whether a browser says that a page of this host sent the request."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("Host"):
        return False  # "null" has no host; the scheme may be that of a proxy
    site = request.headers.get("Sec-Fetch-Site")
    return site == "same-origin" if site is not None else origin is not None


def change(repository: Repository, action: str, form: Mapping[str, str]) -> dict[str, str]:
    """Make the changes of a form; return the query of the page that shows them.

    Raises:
        DataverError: one cannot be made. Nothing is saved then, unless others change the tag meanwhile.
    """
    if action != "edit":
        raise NotFound(f"there is no change '{action}'.")
    version = repository.version(form.get("ref", ""))
    tag, gone = form.get("tag", "").strip(), form.get("untag", "")
    tagged, tags = repository.tagged(version.dataset), repository._core.tags
    if tag:
        tags.refuse_name(version.dataset, tag)
    if gone and gone not in tagged:
        raise NotFound(f"{version.dataset} has no tag '{gone}'.", hint="load the page again")
    for name in filter(None, (tag, gone)):
        now = tagged.get(name, version.label)
        if now != version.label and form.get("move") != f"{name}@{now}":
            raise Conflict(f"the tag '{name}' is on {version.dataset}@{now}.", hint="nothing is saved yet")
        if now != version.label or name == gone:
            tags.refuse_protected(version.dataset, name)
    _describe(version, form)
    if tag:
        repository.tag(version.ref, tag)
    if gone:
        repository.untag(version.dataset, gone)
    return {"ref": version.ref, "saved": "1", "tag": tag, "untag": gone}


def _describe(version: Version, form: Mapping[str, str]) -> None:
    now, shown = version.description, {key: typed_as(value) for key, value in version.metadata.items()}
    texts = {name: form.get(name, getattr(now, name, "")) for name in _TEXTS}
    fields: dict[str, Any] = {name: text for name, text in texts.items() if text != getattr(now, name, "")}
    typed = {key: form[f"={key}"] for key, text in shown.items() if form.get(f"={key}", text) != text}
    unset = [key for key, text in typed.items() if not text]
    if key := form.get("key", "").strip():
        typed[key] = form.get("value", "") or '""'
    changed = {key: _json_or_text(text) for key, text in typed.items() if text}
    fields |= {name: value for name, value in (("set", changed), ("unset", unset)) if value}
    if fields and form.get("number", "") != (str(now.number) if now else ""):
        raise Conflict(
            f"others have described {version.ref} since this page was loaded.",
            hint="your texts are still in the form; save them again to replace those of others",
        )
    if fields:
        version.describe(**fields)


def typed_as(value: Any) -> str:
    """Return what to type for a value: a text as it is, unless it is the JSON of another value."""
    plain = isinstance(value, str) and value.isprintable() and value and _json_or_text(value) == value
    return str(value) if plain else json.dumps(value)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
