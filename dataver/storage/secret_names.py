"""Names of options, variables and keys whose values are secrets.

The idea: a name counts by its words, so `tokenizer` and `max_tokens` are not `token`. One list serves the
options of stores, which are not written, printed or pickled, and the redaction of what lineage records.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

__all__ = ["is_secret_name"]

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
