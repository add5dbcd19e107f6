"""Changes that pages make where editing is on: descriptions and tags, by plain HTML forms.

    POST /-/describe   ref, number; text, license, owner; key and value; unset
    POST /-/tag        ref, tag
    POST /-/untag      ref, tag

A form must come from a page of this server: its `Origin` is this host, and it has the secret that only these
pages contain. Besides, browsers send the cookie with the token only with requests of this site.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from secrets import compare_digest
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from dataver import Repository, Version
from dataver.errors import Conflict, InvalidInput, NotFound

__all__ = ["Refused", "change", "read_form"]

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
            form = dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=50))
    if not compare_digest(form.pop("secret", "").encode(), secret.encode()):
        raise Refused("this is not a form of a page of this server.", hint="load its page again")
    return {name: value.replace("\r\n", "\n") for name, value in form.items()}


def _same_origin(request: Request) -> bool:
    """Return whether a browser says that a page of this host sent the request."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        return False  # "null" has no host; the scheme may be that of a proxy
    site = request.headers.get("Sec-Fetch-Site")
    return site == "same-origin" if site is not None else origin is not None


def change(repository: Repository, action: str, form: Mapping[str, str]) -> str:
    """Make the change of a form; return the version that it is about.

    Raises:
        DataverError: it cannot be made; nothing is changed.
    """
    version = repository.version(form.get("ref", ""))
    if action == "describe":
        _describe(version, form)
    elif action == "tag":
        repository.tag(version.ref, form.get("tag", "").strip())
    elif action == "untag":
        repository.untag(version.dataset, form.get("tag", ""))
    else:
        raise NotFound(f"there is no change '{action}'.")
    return version.ref


def _describe(version: Version, form: Mapping[str, str]) -> None:
    now = version.description
    if form.get("number", "") != (str(now.number) if now else ""):
        raise Conflict(
            f"others have described {version.ref} since this page was loaded.",
            hint="your texts are still in the form; save them again to replace those of others",
        )
    fields: dict[str, Any] = {
        name: form[name] for name in _TEXTS if name in form and form[name] != getattr(now, name, "")
    }
    if key := form.get("key", "").strip():
        fields["set"] = {key: _json_or_text(form.get("value", ""))}
    if unset := form.get("unset"):
        fields["unset"] = [unset]
    if fields:
        version.describe(**fields)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
