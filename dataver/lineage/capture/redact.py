"""Redaction of secrets in texts before they are stored.

The idea: four rules, each sufficient. A secret *name* before a value (`--password x`, `token=x`,
`"api_key": "x"`); a *place* for secrets (user information and signed queries of URLs, `Bearer x`); a *shape*
specific to keys (`ghp_…`, `AKIA…`, a private key's armour, mixed random characters); and the *values* of this
process's own variables with secret names, anywhere.

Secrets are replaced by `***`. False positives are accepted: the loss of a harmless value costs little. A diff
has many readers, so a file's lines are kept only if none may be secret; else only name and counts.
"""

from __future__ import annotations

import os
import re
from math import log2
from typing import TYPE_CHECKING, Any, Final

from dataver.storage.settings import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CUT",
    "redact",
    "redact_arguments",
    "redact_diff",
    "redact_url",
    "secret_values",
]

CUT: Final = "***"

_MARKS: Final = frozenset("@?#;&=")
_SHORTEST: Final = 16  # minimum characters of a secret recognised by shape


class _Pattern:
    """A regular expression compiled at the first use: importing this module may delay a fetch."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._pattern, self._flags = pattern, flags

    def __getattr__(self, name: str) -> Any:
        return getattr(re.compile(self._pattern, self._flags), name)


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
_RANDOM_BITS: Final = 4.0  # Shannon entropy per character; lower for words and paths of that length
_FOLDERS: Final = ("PWD", "OLDPWD")
"""Variables of the shell that contain folders, and whose names look like those of passwords."""
_PROGRAMS: Final = {
    **dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mariadb", "mongosh", "sshpass", "7z"), ("-p",)),
    **dict.fromkeys(("docker", "podman", "helm"), ("-p",)),
    **dict.fromkeys(("zip", "unzip"), ("-P",)),
    "curl": ("-u", "-U"),
    "redis-cli": ("-a",),
    "ldapsearch": ("-w",),
    "openssl": ("-k", "-passin", "-passout"),
}
"""Programs, and their options with secret values but without secret names."""


_HOLDERS: Final = (
    r"(?:^|/)(?:\.env(?:\..*)?|.*\.env|\.netrc|\.pgpass|\.htpasswd|\.npmrc|\.pypirc|id_[a-z0-9]+|"
    r".*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|tfvars|tfstate)|.*(?:credential|secret)s?(?:[._\-].*)?)$"
)
_CODE: Final = (
    "py pyi pyx js jsx ts tsx c cc cpp h hpp cu rs go java kt scala jl lua rb r m swift cs css".split()  # noqa: SIM905
)
_TEXT: Final = (
    "ipynb md rst txt html xml sql sh bash zsh yaml yml toml json jsonl ini cfg conf csv dvc lock".split()  # noqa: SIM905
)
_NAMED: Final = {"dockerfile", "containerfile", "makefile", ".gitignore", ".dataverignore", ".gitattributes"}

_WORD: Final = _Pattern(r"[A-Za-z][A-Za-z0-9_.\-]{1,60}")
_LITERAL: Final = _Pattern(r"""(["'`])([^"'`\s]{4,})\1""")
_SPECIAL: Final = _Pattern(
    r"<.*>|\[.*\]|\{.*\}|\$\{?\w+\}?|--?[a-z\-]+"
)  # <pad>, [CLS], {token}, ${TOKEN}, --token
_GOES_ON: Final = _Pattern(r"""\s*[:=]\s*(?:[bfru]{0,2}(?:\"{3}|'{3}).*|[(\[{\\|>])\s*$""")
_AFTER: Final = _Pattern(r"""["'\]]*\s*(?:[=:>]+\s*|\s)["']?[^\s"'<>=:]{4,}""")
_ANNOTATED: Final = _Pattern(r"\s*:[^=\"']{1,60}=\s*[bfru]{0,2}[\"']")
_LOGIN: Final = _Pattern(
    r"(?:login|log_in|sign_?in|authenticate|identified\s+by)\b.*[\"'`][^\"'`\s]{4,}", re.IGNORECASE
)
_SHELL: Final = _Pattern(r"[+\- ]?\s*(?:env|arg|export|set|setenv|label)\s+", re.IGNORECASE)


def secret_values(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the values of this process's variables with secret names, longest first."""
    variables = os.environ if environment is None else environment
    telling = (name for name in variables if name not in _FOLDERS or not variables[name].startswith("/"))
    found = {variables[name].strip() for name in telling if is_secret_name(name)}
    return sorted(
        (value for value in found if len(value) >= 6 and not value.isdigit()), key=len, reverse=True
    )


def redact(text: str, *, values: Sequence[str] | None = None, by_name: bool = True) -> str:
    """Return a text without secrets.

    Args:
        text: any text.
        values: known secrets; None means those of the environment.
        by_name: whether to redact values beside a secret name.
    """
    shown = _by_looks(text, values)
    return _by_name(shown) if by_name else shown


def redact_url(url: str, *, values: Sequence[str] | None = None) -> str:
    """Return a URL without user information (ssh keeps its plain user name) and without secret parameters."""
    known = secret_values() if values is None else values
    plain = not _MARKS.intersection(url) and all(len(piece) < _SHORTEST for piece in url.split("/"))
    if plain and not any(value in url for value in known):
        return url  # fast path for a fetch: it cannot contain a secret
    return _by_looks(url, known)


def redact_arguments(arguments: Sequence[str], *, values: Sequence[str] | None = None) -> list[str]:
    """Return a command line without secrets, including values after a secret option.

    An argument that is a command line itself (`sh -c "…"`) is handled in the same way.
    """
    known = secret_values() if values is None else values
    shown = _without_option_values(arguments)
    for at, argument in enumerate(shown):
        if any(each.isspace() for each in argument):
            pieces = re.split(r"(\s+)", argument)
            pieces[::2] = _without_option_values(pieces[::2])
            shown[at] = "".join(pieces)
    return [redact(argument, values=known) for argument in shown]


def _without_option_values(words: Sequence[str]) -> list[str]:
    """Redact each value of a secret option, in the same word or the next."""
    short: set[str] = {"-u", "--user", "--login"}
    shown: list[str] = []
    hide = False
    for word in words:
        short.update(_PROGRAMS.get(word.rpartition("/")[2].lower(), ()))
        if hide and word and not word.startswith("--"):
            shown.append(CUT)
            hide = False
            continue
        option = word.rpartition("=")[2].strip("\"'")
        attached = next(
            (each for each in short if len(each) == 2 and word.startswith(each) and word != each), None
        )
        shown.append(f"{attached}{CUT}" if attached and attached != "-u" else word)
        hide = option.startswith("-") and (is_secret_name(option) or option in short)
    return shown


def redact_diff(diff: str, *, values: Sequence[str] | None = None, lines: bool = True) -> str:
    """Return a git diff without the lines of files that may hold a secret.

    Args:
        diff: the output of `git diff`.
        values: known secrets; None means those of the environment.
        lines: False keeps no lines, only the files' names and counts.
    """
    known = secret_values() if values is None else values
    kept: list[str] = []
    for part in re.split(r"(?m)^(?=diff --git )", diff):
        head, _, rest = part.partition("\n")
        if not head.startswith("diff --git "):
            continue  # empty before the first file
        reason = _reason(head, rest, known) if lines else "not wanted"
        kept.append(
            part if reason is None else f"{redact(head, values=known)}\n# {_counts(rest)}: {reason}\n"
        )
    return "".join(kept)


def _reason(head: str, rest: str, known: Sequence[str]) -> str | None:
    """Return the reason to omit the lines of a file; None to keep them."""
    path = head.rpartition(" b/")[2].strip('"')
    if re.search(_HOLDERS, path, re.IGNORECASE):
        return "omitted, the file name suggests secrets"
    name = path.rpartition("/")[2].lower()
    ending = name.rpartition(".")[2] if "." in name else name
    if not (ending in _CODE or ending in _TEXT or name in _NAMED or name.startswith("dockerfile")):
        return "omitted, unknown kind of file"
    if ending == "ipynb":  # lines of code and output, as JSON strings
        rest = rest.replace('\\"', '"').replace("\\n", " ")
    if any(_looks_secret(line, known, code=ending in _CODE) for line in [head, *rest.splitlines()]):
        return "omitted, a line may contain a secret"
    return None


def _looks_secret(line: str, known: Sequence[str], *, code: bool) -> bool:
    if redact(line, values=known, by_name=not code) != line or _LOGIN.search(line):
        return True
    return any(
        is_secret_name(word[0]) and _has_value(line, word.start(), word.end(), code=code)
        for word in _WORD.finditer(line)
    )


def _has_value(line: str, start: int, end: int, *, code: bool) -> bool:
    """Return whether there is a value beside the secret name at `line[start:end]`."""
    rest = line[end:]
    if _GOES_ON.match(rest) or _ANNOTATED.match(rest):
        return True
    behind = rest[1:] if rest[:1] in ("'", '"', "`") else rest  # the name itself is quoted
    if any(not _SPECIAL.fullmatch(found[2]) for found in _LITERAL.finditer(behind)):
        return True
    if code:
        return False
    before = line[:start]
    quoted = rest[:1] in ("'", '"')
    tag = before.endswith("<") and rest.startswith(">")
    assigned = re.match(r"[\"']?\s*[=:]", rest) is not None
    return (quoted or tag or assigned or _SHELL.fullmatch(before) is not None) and bool(_AFTER.match(rest))


def _counts(rest: str) -> str:
    body = rest.partition("\n@@")[2].splitlines()
    added = sum(line.startswith("+") for line in body)
    removed = sum(line.startswith("-") for line in body)
    return f"{added} lines added, {removed} removed"


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


def _by_name(text: str) -> str:
    def assigned(match: re.Match[str]) -> str:
        name, between, value = match["name"], match["between"], match["value"]
        if not is_secret_name(name) or value.startswith("//"):
            return match[0]
        quote = value[0] if value[0] in "\"'" else ""
        if quote and len(value) < 4:
            return match[0]  # an empty string, or one letter
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
    """Redact random strings: upper case, lower case and digits mixed throughout, unlike words and hex."""
    text = match[0]
    pieces = [text] if "/" not in text or len(text) == 40 else text.split("/")
    return CUT if any(_looks_random(piece) for piece in pieces) else text


def _looks_random(text: str) -> bool:
    if len(text) < 20:
        return False
    upper, lower, digits = (sum(map(test, text)) for test in (str.isupper, str.islower, str.isdigit))
    if len(text) == 40 and min(upper, lower) >= 8:
        digits += 1  # an AWS secret key; one in a hundred has a single digit
    if min(upper, lower, digits) < 2 or len(_CHANGES.findall(text)) < len(text) / 7:
        return False
    counts = (text.count(each) for each in set(text))
    entropy = -sum(count / len(text) * log2(count / len(text)) for count in counts)
    return entropy >= min(_RANDOM_BITS, log2(len(text)) - 0.6)
