"""Secrets are taken out of texts before anything keeps them.

The idea: four signs, each enough. A *name* that says secret before a value (`--password x`, `token=x`,
`"api_key": "x"`); a *place* where secrets stand (user information and signed queries of URLs, `Bearer x`); a
*shape* that only keys have (`ghp_…`, `AKIA…`, a private key's armour, mixed random characters); and the
*values* of this process's own variables with such names, wherever they turn up.

What is cut is replaced by `***`. It errs on the side of cutting: a harmless value lost costs little.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from math import log2
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CUT",
    "is_secret_name",
    "redact",
    "redact_arguments",
    "redact_diff",
    "redact_url",
    "secret_values",
]

CUT: Final = "***"

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
)  # one is part of every secret name: quick to look for
_MARKS: Final = frozenset("@?#;&=")
_SHORTEST: Final = 16  # characters of a secret that is known by its looks
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
)


class _Pattern:
    """A regular expression, compiled when it is first used: a fetch may wait for this module."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._pattern, self._flags = pattern, flags

    def __getattr__(self, name: str) -> Any:
        return getattr(re.compile(self._pattern, self._flags), name)


_CAMEL: Final = _Pattern(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")

_NAME: Final = r"[A-Za-z][A-Za-z0-9_.\-]{1,60}"
_ASSIGNED: Final = _Pattern(
    rf"""(?P<name>{_NAME})(?P<between>["']?\s*(?:=>|[:=])\s*(?:[bfru]{{0,2}}(?=["']))?)"""
    r"""(?P<value>"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|[^\s,;&"'()\[\]{}]+)"""
)
_URL_USER: Final = _Pattern(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.\-]*://)(?P<user>[^/?#\s\"']*)@")
_URL_QUERY: Final = _Pattern(r"(?P<mark>[?&;#])(?P<name>[A-Za-z0-9_.%\-]{1,60})=(?P<value>[^&;#\s\"']+)")
_SCHEMED: Final = _Pattern(
    r"(?P<scheme>\b(?:Bearer|Basic|Digest|Negotiate|Token|ApiKey)\s+)(?P<value>[A-Za-z0-9+/=_.~\-]{6,})",
    re.IGNORECASE,
)
_PRIVATE: Final = _Pattern(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
    r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
_SHAPES: Final = _Pattern(
    r"""
    \b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[0-9A-Z]{16}\b
    | \b(?:gh[pousr]_|github_pat_|glpat-|glcbt-|gldt-|hf_|hf_oauth_|npm_|pypi-|dckr_pat_|dop_v1_|figd_)
      [A-Za-z0-9_\-]{16,}
    | \b(?:sk|rk|pk|whsec)[_-](?:live_|test_|proj-|ant-|or-)?[A-Za-z0-9_\-]{16,}
    | \bxox[abeoprs]-[A-Za-z0-9\-]{8,}
    | \bhooks\.slack\.com/services/[A-Za-z0-9/]+
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)?
    | \bAIza[0-9A-Za-z_\-]{30,}
    | \bya29\.[0-9A-Za-z_\-]{10,}
    | \bdapi[0-9a-f]{32}\b
    | \bSG\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}
    | \bAGE-SECRET-KEY-1[0-9A-Z]+
    | \b[A-Za-z0-9_]{2,}\.[A-Za-z0-9_\-]{8}~[A-Za-z0-9_.\-]{10,}
    """,
    re.VERBOSE,
)
_RUNS: Final = _Pattern(r"(?<![A-Za-z0-9+/=_\-])[A-Za-z0-9+/_\-]{20,}={0,2}(?![A-Za-z0-9+/=_\-])")
_CHANGES: Final = _Pattern(r"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])|[a-z](?=[A-Z])|[A-Z](?=[a-z])")
_RANDOM_BITS: Final = 4.0  # of Shannon entropy a character, which words and paths of that length stay below
_SECRET_FILES: Final = _Pattern(
    r"(?:^|/)(?:\.env(?:\..*)?|.*\.env|\.netrc|\.pgpass|\.htpasswd|\.npmrc|\.pypirc|id_[a-z0-9]+|.*\.(?:pem|key|p12|pfx|jks|keystore"
    r"|kdbx|tfvars|tfstate)|.*(?:credential|secret)s?(?:[._\-].*)?)$",
    re.IGNORECASE,
)
_CODE_FILES: Final = _Pattern(
    r"\.(?:py|pyi|pyx|ipynb|js|jsx|ts|tsx|c|cc|cpp|h|hpp|cu|rs|go|java|kt|scala|jl|lua|rb|r|m|swift|cs|md|rst|txt|html|css)$",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Return whether a value of that name (an option, a variable, a key) is to be kept secret."""
    words = [word.lower() for word in _CAMEL.split(name) if word]
    if not words or words[-1] in _PLACES or (words[-1] == "url" and "webhook" not in words):
        return False
    if (
        words[-1] == "pass"
        or any(word in _WORDS for word in words)
        or any(pair in _PAIRS for pair in pairwise(words))
    ):
        return True
    return any(word.endswith(_ENDINGS) for word in words)


def secret_values(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the values of this process's variables with secret names, longest first."""
    variables = os.environ if environment is None else environment
    telling = (name for name in variables if any(stem in name.lower() for stem in _STEMS))
    found = {variables[name].strip() for name in telling if is_secret_name(name)}
    return sorted(
        (value for value in found if len(value) >= 6 and not value.isdigit()), key=len, reverse=True
    )


def redact(text: str, *, values: Sequence[str] | None = None) -> str:
    """Return `text` without its secrets.

    Args:
        text: any text.
        values: secrets known by value; None means those of the environment.
    """
    return _by_name(_by_looks(text, values))


def redact_url(url: str, *, values: Sequence[str] | None = None) -> str:
    """Return a URL without user information (ssh keeps its plain user name) and without secret parameters."""
    known = secret_values() if values is None else values
    plain = not _MARKS.intersection(url) and all(len(piece) < _SHORTEST for piece in url.split("/"))
    if plain and not any(value in url for value in known):
        return url  # nothing in it can be a secret; asked for on the way of a fetch
    return _by_looks(url, known)


def redact_arguments(arguments: Sequence[str], *, values: Sequence[str] | None = None) -> list[str]:
    """Return a command line without its secrets: those after a secret option's name included."""
    known = secret_values() if values is None else values
    shown: list[str] = []
    hide = False
    for argument in arguments:
        option = argument.startswith("-")
        if hide and not argument.startswith("--"):
            shown.append(CUT)
            hide = False
            continue
        shown.append(redact(argument, values=known))
        bare = option and "=" not in argument and not any(each.isspace() for each in argument)
        hide = bare and (
            is_secret_name(argument) or argument in ("-u", "--user", "--login", "--header", "-H")
        )
        if hide and argument in ("--header", "-H"):
            hide = False  # `Name: value` is one argument, and judged by its name
    return shown


def redact_diff(diff: str, *, values: Sequence[str] | None = None) -> str:
    """Return a git diff without its secrets; files made to hold secrets are left out with all their lines."""
    known = secret_values() if values is None else values
    kept: list[str] = []
    for part in re.split(r"(?m)^(?=diff --git )", diff):
        head, _, _ = part.partition("\n")
        name = head.rpartition(" b/")[2].strip('"')
        if part.startswith("diff --git ") and _SECRET_FILES.search(name):
            kept.append(f"{head}\n# its lines are left out: the name says that it holds secrets\n")
            continue
        looked = _by_looks(part, known)
        kept.append(_by_name(looked, quoted_only=bool(_CODE_FILES.search(name))))
    return "".join(kept)


def _by_looks(text: str, values: Sequence[str] | None) -> str:
    for value in secret_values() if values is None else values:
        text = text.replace(value, CUT)
    if "-----BEGIN" in text:
        text = _PRIVATE.sub(CUT, text)
    if "://" in text:
        text = _URL_USER.sub(_user, text)
    text = _URL_QUERY.sub(_parameter, text)
    text = _SCHEMED.sub(_after_scheme, text)
    text = _SHAPES.sub(CUT, text)
    return str(_RUNS.sub(_random, text))


def _by_name(text: str, *, quoted_only: bool = False) -> str:
    def assigned(match: re.Match[str]) -> str:
        name, between, value = match["name"], match["between"], match["value"]
        if not is_secret_name(name) or (quoted_only and value[:1] not in "\"'") or value.startswith("//"):
            return match[0]
        quote = value[0] if value[0] in "\"'" else ""
        if quote and len(value) < 4:
            return match[0]  # an empty text, or a letter
        return f"{name}{between}{quote}{CUT}{quote}"

    return str(_ASSIGNED.sub(assigned, text))


def _user(match: re.Match[str]) -> str:
    user, colon, _ = match["user"].partition(":")
    plain = match["scheme"].lower() in ("ssh://", "git+ssh://", "sftp://") and re.fullmatch(
        r"[a-z_][a-z0-9_\-]{0,31}", user
    )
    kept = f"{user}@" if plain else ""
    return f"{match['scheme']}{kept}" if not colon or not plain else f"{match['scheme']}{user}:{CUT}@"


def _parameter(match: re.Match[str]) -> str:
    name = match["name"]
    if (
        is_secret_name(name)
        or name.lower() in ("key", "code")
        or name.lower().startswith(("x-amz-", "x-goog-"))
    ):
        return f"{match['mark']}{name}={CUT}"
    return match[0]


def _after_scheme(match: re.Match[str]) -> str:
    plain_word = match["value"].isalpha() and match["value"].islower()
    return match[0] if plain_word else f"{match['scheme']}{CUT}"


def _random(match: re.Match[str]) -> str:
    """Cut what looks drawn by chance: upper, lower and digits mixed throughout, as words and hex are not."""
    text = match[0]
    pieces = [text] if "/" not in text or len(text) == 40 else text.split("/")
    return CUT if any(_looks_random(piece) for piece in pieces) else text


def _looks_random(text: str) -> bool:
    if len(text) < 20:
        return False
    upper, lower, digits = (sum(map(test, text)) for test in (str.isupper, str.islower, str.isdigit))
    if len(text) == 40 and min(upper, lower) >= 8:
        digits += 1  # an AWS secret key, of which one in a hundred has a single digit
    if min(upper, lower, digits) < 2 or len(_CHANGES.findall(text)) < len(text) / 7:
        return False
    counts = (text.count(each) for each in set(text))
    entropy = -sum(count / len(text) * log2(count / len(text)) for count in counts)
    return entropy >= min(_RANDOM_BITS, log2(len(text)) - 0.6)
