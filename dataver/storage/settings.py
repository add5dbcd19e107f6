"""What a repository in a bucket may be told, in a few flat words; the same for every transport.

One idea: a word that can be written in a file, in an environment variable or after `--storage-option` means
one thing to all of them. `S3Settings.of` reads the words, checks them and keeps what it does not know for
s3fs; whatever sends the requests asks it what goes into them.

Secrets are none of these words: `secret_names` finds them, so that they are never written, printed or
pickled.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dataver.errors import InvalidInput

__all__ = ["S3Settings", "S3_WORDS", "has_login", "secret_names", "without_secrets"]

S3_WORDS = {
    "endpoint_url": "the server's address, where it is not AWS",
    "region": "the bucket's region",
    "profile": "a profile of ~/.aws/config: keys, a role to assume, SSO",
    "anon": "true: do not sign, for public buckets",
    "path_style": "true: the bucket in the path, false: in the host's name",
    "storage_class": "of packs, such as STANDARD_IA or INTELLIGENT_TIERING",
    "sse": "server-side encryption: AES256, aws:kms or aws:kms:dsse",
    "sse_kms_key_id": "the KMS key of server-side encryption",
    "requester_pays": "true: this account pays for requests",
}
"""The settings, and what they mean."""

_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0", ""}
_ENCRYPTION = {"sse-s3": "AES256", "sse-kms": "aws:kms"}
_ENCRYPTIONS = {"AES256", "aws:kms", "aws:kms:dsse"}
_FROZEN = {"GLACIER", "DEEP_ARCHIVE"}  # their objects cannot be read before somebody restores them
_PACKS = "packs/"

_SECRET = re.compile(
    r"secret|token|password|passwd|passphrase|credential|(^|_)sas(_|$)|account_key|access_?key|private_key|"
    r"api_?key|customer_?key|connection_string|authorization|^key$|^pkey$|^auth$|^cookies?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class S3Settings:
    """How a bucket is reached and written; `S3_WORDS` says what each means.

    Attributes:
        other: s3fs's own options, as they came; may hold secrets, so it is never shown.
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
    def of(cls, options: Mapping[str, Any] | None) -> "S3Settings":
        """Return the settings that options mean.

        Raises:
            InvalidInput: a value cannot be one of its word.
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
                f"storage_class {found['storage_class']} makes packs that cannot be read at once.",
                hint="GLACIER_IR, STANDARD_IA and INTELLIGENT_TIERING can",
            )
        _settle_encryption(found)
        return cls(**found, other={name: value for name, value in left.items() if value is not None})

    def put_arguments(self, key: str) -> dict[str, str]:
        """Return what a PUT of `key` says besides its bytes, by the names of S3's API.

        The storage class is the packs': the small objects are read all the time, and the cheaper classes bill
        each as 128 KB.
        """
        found = {"ServerSideEncryption": self.sse, "SSEKMSKeyId": self.sse_kms_key_id}
        if key.startswith(_PACKS):
            found["StorageClass"] = self.storage_class
        return {name: value for name, value in found.items() if value is not None}

    def s3fs_options(self) -> dict[str, Any]:
        """Return how s3fs is told to connect; what goes into a PUT is not part of it."""
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


def secret_names(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of options whose values are secrets, at any depth."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from secret_names(value)
        elif value and (_SECRET.search(name) or (isinstance(value, str) and has_login(value))):
            yield name


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
    """Tell whether a text is a URL with a password in it."""
    if "://" not in text:
        return False
    try:
        return urlsplit(text).password is not None
    except ValueError:
        return True  # nobody can tell what is in it


def _truth(word: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _YES | _NO:
        raise InvalidInput(f"{word} is true or false, not '{value}'.")
    return text in _YES


def _text(word: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InvalidInput(f"{word} is a text, and not an empty one.")
    return value.strip()


def _check_endpoint(address: str) -> None:
    if has_login(address):
        raise InvalidInput(
            "endpoint_url holds a password, which would be printed.",
            hint="give credentials through the environment or a profile",
        )
    if not re.match(r"https?://[^/\s]+", address):
        raise InvalidInput(
            f"endpoint_url '{address}' is no address.", hint="write https://host or http://host:port"
        )


def _settle_encryption(found: dict[str, Any]) -> None:
    if "sse" in found:
        found["sse"] = _ENCRYPTION.get(found["sse"].lower(), found["sse"])
        if found["sse"] not in _ENCRYPTIONS:
            raise InvalidInput(
                f"sse is AES256, aws:kms or aws:kms:dsse, not '{found['sse']}'.",
                hint="keys of your own with each request (SSE-C) are not supported",
            )
    if "sse_kms_key_id" in found and found.setdefault("sse", "aws:kms") == "AES256":
        raise InvalidInput(
            "sse AES256 uses S3's own keys, but sse_kms_key_id is set.", hint="set sse=aws:kms"
        )
