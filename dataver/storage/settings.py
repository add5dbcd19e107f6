"""Settings of a repository in a bucket, as flat names that are the same for every transport.

The idea: a setting has one meaning in a file, in an environment variable and after `--storage-option`.
`S3Settings.of` reads and checks the settings and keeps unknown options for s3fs; transports take the contents
of requests from it.

Secrets are not settings: `secret_names` finds them, so that they are never written, printed or pickled. A
name counts by its words, so `tokenizer` and `max_tokens` are not `token`. What lineage records is redacted by
the same list (`is_secret_name`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final
from urllib.parse import urlsplit

from dataver.errors import InvalidInput

__all__ = [
    "S3Settings",
    "S3_WORDS",
    "has_login",
    "is_secret_name",
    "secret_names",
    "store_options",
    "without_secrets",
]

S3_WORDS = {
    "endpoint_url": "the server's address, if it is not AWS",
    "region": "the bucket's region",
    "profile": "a profile of ~/.aws/config: keys, a role to assume, SSO",
    "anon": "true: do not sign, for public buckets",
    "path_style": "true: the bucket in the path, false: in the host's name",
    "storage_class": "of packs, such as STANDARD_IA or INTELLIGENT_TIERING",
    "sse": "server-side encryption: AES256, aws:kms or aws:kms:dsse",
    "sse_kms_key_id": "the KMS key of server-side encryption",
    "requester_pays": "true: this account pays for requests",
}
"""The settings, and their meanings."""

_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0", ""}
_ENCRYPTION = {"sse-s3": "AES256", "sse-kms": "aws:kms"}
_ENCRYPTIONS = {"AES256", "aws:kms", "aws:kms:dsse"}
_FROZEN = {"GLACIER", "DEEP_ARCHIVE"}  # their objects must be restored before they can be read
_PACKS = "packs/"

_FSSPEC = frozenset(
    {
        *("asynchronous", "batch_size", "listings_expiry_time", "loop", "max_paths", "use_listings_cache"),
        *("block_size", "cache_options", "cache_type", "fill_cache"),
        *("default_block_size", "default_cache_options", "default_cache_type", "default_fill_cache"),
    }
)
"""Options that fsspec and its users pass to any file system; none applies to the repository's store."""

_SESSION = frozenset({"requote_redirect_url", "trust_env"})
"""Options in `client_kwargs` for aiohttp that `datasets` passes to any file system."""

_KEYS = frozenset({"key", "pkey"})
"""Secret options of s3fs and paramiko whose names are harmless elsewhere."""
_WORDS: Final = frozenset(
    (
        "password", "passwd", "passphrase", "pwd", "pw", "secret", "secrets", "token", "jwt", "pat",
        "auth", "authorization", "authentication", "bearer", "apikey", "credential", "credentials", "cred",
        "creds",        "cookie", "cookies", "signature", "sig", "sas", "dsn", "otp", "netrc", "userpwd",
    )
)  # fmt: skip
_PAIRS: Final = frozenset(
    (first, second)
    for first, seconds in {
        "api": "key keys",
        "access": "key keys",
        "account": "key",
        "private": "key",
        "secret": "key",
        "auth": "key",
        "app": "key",
        "client": "key",
        "encryption": "key",
        "license": "key",
        "master": "key",
        "shared": "key",
        "signing": "key",
        "ssh": "key",
        "subscription": "key",
        "connection": "string",
        "conn": "string",
        "webhook": "url",
    }.items()
    for second in seconds.split()
)
_STEMS: Final = (
    "pass",
    "pwd",
    "pw",
    "sec",
    "tok",
    "key",
    "jwt",
    "pat",
    "auth",
    "bear",
    "cred",
    "cook",
    "sig",
    "sas",
    "dsn",
    "otp",
    "netrc",
    "conn",
    "webhook",
)  # every secret name contains one of them: a fast first test
_ENDINGS: Final = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "secretkey", "accesskey", "accesskeyid",
    "privatekey", "accountkey", "credential", "credentials", "connectionstring",
)  # fmt: skip
_PLACES: Final = (
    "sock",
    "socket",
    "dir",
    "path",
    "file",
    "home",
    "askpass",
    "type",
    "method",
    "mode",
    "name",
    "strategy",
    "timeout",
    "version",
)
_JOINED: Final = ("accesskey", "accountkey", "customerkey", "privatekey")  # AWSAccessKeyId, SSECustomerKey
_WHOLE_URLS: Final = frozenset({"webhook", "sas"})  # of other URLs, only parts are secret
_CAMEL: Final = r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+"


@dataclass(frozen=True, kw_only=True)
class S3Settings:
    """How a bucket is accessed; `S3_WORDS` describes each setting.

    Attributes:
        other: s3fs's own options, unchanged; may hold secrets, so it is never displayed.
    """

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    anon: bool | None = None
    path_style: bool | None = None
    storage_class: str | None = None
    sse: str | None = None
    sse_kms_key_id: str | None = None
    requester_pays: bool = False
    other: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> S3Settings:
        """Return the settings from options.

        Raises:
            InvalidInput: a value is invalid.
        """
        left = dict(options or {})
        found = {word: left.pop(word) for word in S3_WORDS if left.get(word) is not None}
        for word in ("anon", "path_style", "requester_pays"):
            if word in found:
                found[word] = _truth(word, found[word])
        for word in found.keys() - {"anon", "path_style", "requester_pays"}:
            found[word] = _text(word, found[word])
        if "endpoint_url" in found:
            _check_endpoint(found["endpoint_url"])
        if found.get("storage_class") in _FROZEN:
            raise InvalidInput(
                f"storage_class {found['storage_class']} makes packs that cannot be read immediately.",
                hint="GLACIER_IR, STANDARD_IA and INTELLIGENT_TIERING can",
            )
        _settle_encryption(found)
        return cls(**found, other={name: value for name, value in left.items() if value is not None})

    def put_arguments(self, key: str) -> dict[str, str]:
        """Return the arguments of a PUT of `key` besides its bytes, by the names of S3's API.

        The storage class applies to packs: the small objects are read often, and the cheaper classes bill
        each as 128 KB.
        """
        found = {"ServerSideEncryption": self.sse, "SSEKMSKeyId": self.sse_kms_key_id}
        if key.startswith(_PACKS):
            found["StorageClass"] = self.storage_class
        return {name: value for name, value in found.items() if value is not None}

    def s3fs_options(self) -> dict[str, Any]:
        """Return the connection options for s3fs, without the arguments of a PUT."""
        options = dict(self.other)
        for word in ("endpoint_url", "profile", "anon"):
            if getattr(self, word) is not None:
                options[word] = getattr(self, word)
        if self.requester_pays:
            options["requester_pays"] = True
        if self.region is not None:
            options["client_kwargs"] = {"region_name": self.region} | dict(options.get("client_kwargs") or {})
        if self.path_style is not None:
            config = dict(options.get("config_kwargs") or {})
            style = {"addressing_style": "path" if self.path_style else "virtual"}
            options["config_kwargs"] = config | {"s3": style | dict(config.get("s3") or {})}
        return options


def store_options(url: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that apply to the repository's store; a folder has no client to configure."""
    own = {name: value for name, value in options.items() if name not in _FSSPEC}
    protocol, remote, _ = (url or "").partition("://")
    client = own.pop("client_kwargs", None)
    if client and remote and protocol not in ("file", "local"):
        aiohttp = protocol in ("http", "https")
        kept = {name: value for name, value in client.items() if aiohttp or name not in _SESSION}
        own |= {"client_kwargs": kept} if kept else {}
    return own


def secret_names(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of options whose values are secrets, at any depth."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from secret_names(value)
        elif value and _is_secret(name, value):
            yield name


def _is_secret(name: str, value: object) -> bool:
    if isinstance(value, str) and has_login(value):
        return True
    return not isinstance(value, bool) and (name.lower() in _KEYS or is_secret_name(name))


def without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without secrets, at any depth; a key without its secret is left out, too."""
    plain = {}
    for name, value in options.items():
        if isinstance(value, Mapping):
            plain[name] = without_secrets(value)
        elif not list(secret_names({name: value})):
            plain[name] = value
    if len(plain) < len(options):
        plain.pop("key", None)
    return plain


def has_login(text: str) -> bool:
    """Return whether a text is a URL that contains a password."""
    if "://" not in text:
        return False
    try:
        return urlsplit(text).password is not None
    except ValueError:
        return True  # it cannot be parsed, so it may contain one


def _truth(word: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _YES | _NO:
        raise InvalidInput(f"{word} must be true or false, not '{value}'.")
    return text in _YES


def _text(word: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidInput(f"{word} must be a non-empty text.")
    return value.strip()


def _check_endpoint(address: str) -> None:
    if has_login(address):
        raise InvalidInput(
            "endpoint_url contains a password, which would be printed.",
            hint="give credentials through the environment or a profile",
        )
    if not re.match(r"https?://[^/\s]+", address):
        raise InvalidInput(
            f"endpoint_url '{address}' is not an address.", hint="write https://host or http://host:port"
        )


def _settle_encryption(found: dict[str, Any]) -> None:
    if "sse" in found:
        found["sse"] = _ENCRYPTION.get(found["sse"].lower(), found["sse"])
        if found["sse"] not in _ENCRYPTIONS:
            raise InvalidInput(
                f"sse must be AES256, aws:kms or aws:kms:dsse, not '{found['sse']}'.",
                hint="keys of your own with each request (SSE-C) are not supported",
            )
    if "sse_kms_key_id" in found and found.setdefault("sse", "aws:kms") == "AES256":
        raise InvalidInput(
            "sse AES256 uses S3's own keys, but sse_kms_key_id is set.", hint="set sse=aws:kms"
        )


def is_secret_name(name: str) -> bool:
    """Return whether the value of an option, variable or key with this name is secret."""
    plain = name.lower()
    if not any(stem in plain for stem in _STEMS):
        return False
    words = [word.lower() for word in re.split(_CAMEL, name) if word]
    if not words or words[-1] in _PLACES or (words[-1] == "url" and _WHOLE_URLS.isdisjoint(words)):
        return False
    return (
        words[-1] == "pass"
        or any(word in _WORDS or word.endswith(_ENDINGS) for word in words)
        or any(pair in _PAIRS for pair in pairwise(words))
        or any(each in "".join(words) for each in _JOINED)
    )
