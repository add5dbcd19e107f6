"""Translation of foreign exceptions into ours: operating system, botocore, aiohttp, fsspec.

The idea: three tables, used in this order: the server's error code, the class name along the exception's
ancestry, the errno. An error in none of them becomes a `StoreError` that is not transient. Foreign packages
are not imported for their exceptions; a test goes through their exceptions and shows that all are covered.

Messages never contain foreign text (it may hold signed URLs or keys). They contain a code, a key and the
store's URL.
"""

import errno
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from dataver.errors import AlreadyExists, DataverError, NotFound, StoreError

# Imports in functions: email.utils parses a date that few replies have.

__all__ = [
    "BY_CLASS",
    "BY_CODE",
    "BY_ERRNO",
    "Meaning",
    "is_denied",
    "response_code",
    "retry_after",
    "translate",
]


class Meaning(NamedTuple):
    """The meaning of a foreign error.

    Attributes:
        kind: "missing", "exists", "transient" or "failed".
        what: the end of the sentence "cannot read … :".
        hint: the next step, or None.
    """

    kind: str
    what: str
    hint: str | None = None


_CREDENTIALS = (
    "check AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "for a public bucket set FSSPEC_S3_ANON=true"
)
_ENDPOINT = "check the network and AWS_ENDPOINT_URL, and repeat the command"
_LATER = "repeat the command; what was written stays and is recognised"
_DISK = "free some space and repeat the command"

_MISSING = Meaning("missing", "it does not exist")
_EXISTS = Meaning("exists", "it exists already")
_BUSY = Meaning("transient", "the store is too busy", _LATER)
_BROKEN = Meaning("transient", "the store has an internal error", _LATER)
_RACE = Meaning("transient", "another write to the same key is under way", _LATER)
_LOST = Meaning("transient", "the connection was lost", _LATER)
_SLOW = Meaning("transient", "the store did not answer in time", _ENDPOINT)
_UNREACHABLE = Meaning("transient", "the store cannot be reached", _ENDPOINT)
_SHORT = Meaning("transient", "the store sent a damaged or short reply", _LATER)
_REFUSED_BODY = Meaning("transient", "the store received a damaged or short body", _LATER)
_NO_BUCKET = Meaning("failed", "the bucket does not exist", "make the bucket, or correct its name")
_DENIED = Meaning(
    "failed",
    "the store refuses permission",
    "ask for s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket on this prefix, as your role "
    "needs them (docs/operations.md), and for the use of its KMS key; where the requester pays, set "
    "requester_pays=true; `dataver config` shows the profile",
)
_WRONG_KEY = Meaning("failed", "the store does not accept the credentials", _CREDENTIALS)
_NO_KEY = Meaning("failed", "no credentials were found", _CREDENTIALS)
_EXPIRED = Meaning(
    "failed",
    "the credentials have expired",
    "log in again (`aws sso login`, or fetch new keys) and repeat the command",
)
_CLOCK = Meaning(
    "failed",
    "this machine's clock is too far from the store's",
    "set the clock (`timedatectl set-ntp true`) and repeat the command",
)
_REGION = Meaning(
    "failed",
    "the bucket is in another region",
    "set its region: `dataver config set repository.options.region NAME`, or AWS_REGION",
)
_KMS = Meaning(
    "failed",
    "the KMS key cannot be used",
    "check sse_kms_key_id, that the key is in the bucket's region and enabled, and that you may use it",
)
_CLASS = Meaning("failed", "the store does not know the storage class", "correct or unset storage_class")
_TOO_LARGE = Meaning("failed", "the object is too large for the store")
_REFUSED = Meaning("failed", "the store refuses the request")
_UNABLE = Meaning("failed", "the store does not offer this operation")
_SETTINGS = Meaning(
    "failed", "the connection settings are not usable", "check the storage options and AWS_ variables"
)
_TLS = Meaning("failed", "the TLS certificate is not accepted", "check AWS_ENDPOINT_URL and AWS_CA_BUNDLE")
_FOREIGN = Meaning(
    "transient",
    "the reply is not the store's",
    "repeat the command; if that does not help, look for a proxy between here and the store",
)
_FULL = Meaning("failed", "no space is left on the device", _DISK)
_READ_ONLY = Meaning("failed", "the file system is read-only", "use a folder that may be written")
_NO_ACCESS = Meaning("failed", "permission is denied", "check the owner and mode of the folder")
_NOT_FOLDER = Meaning("failed", "a file exists where a folder is needed, or the reverse")
_NAME_LENGTH = Meaning("failed", "the name is too long for this file system")
_OPEN_FILES = Meaning("failed", "too many files are open", "raise the limit with `ulimit -n`")
_DEVICE = Meaning("failed", "the device reports an error", "check the disk before anything else is written")
_MEMORY = Meaning("failed", "memory ran out")

# Error codes and, for replies without a body, HTTP statuses:
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
BY_CODE: dict[str, Meaning] = {
    "NoSuchKey": _MISSING,
    "NoSuchVersion": _MISSING,
    "404": _MISSING,
    "NotFound": _MISSING,
    "PreconditionFailed": _EXISTS,
    "412": _EXISTS,
    "304": _EXISTS,  # an old MinIO's answer to a conditional PUT
    "ConditionalRequestConflict": _RACE,
    "OperationAborted": _RACE,
    "409": _RACE,
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "Throttling": _BUSY,
    "ThrottlingException": _BUSY,
    "TooManyRequests": _BUSY,
    "RequestLimitExceeded": _BUSY,
    "429": _BUSY,
    "503": _BUSY,
    "InternalError": _BROKEN,
    "500": _BROKEN,
    "502": _BROKEN,
    "504": _SLOW,
    "RequestTimeout": _SLOW,
    "408": _SLOW,
    "BadDigest": _REFUSED_BODY,
    "IncompleteBody": _REFUSED_BODY,
    "XAmzContentSHA256Mismatch": _REFUSED_BODY,
    "XAmzContentChecksumMismatch": _REFUSED_BODY,
    "NoSuchBucket": _NO_BUCKET,
    "InvalidBucketName": _NO_BUCKET,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AccountProblem": _DENIED,
    "NotSignedUp": _DENIED,
    "InvalidPayer": _DENIED,
    "403": _DENIED,
    "Forbidden": _DENIED,
    "InvalidAccessKeyId": _WRONG_KEY,
    "SignatureDoesNotMatch": _WRONG_KEY,
    "AuthorizationHeaderMalformed": _REGION,  # the region in the signature differs from the bucket's
    "AuthorizationQueryParametersError": _REGION,
    "InvalidSecurity": _WRONG_KEY,
    "InvalidToken": _WRONG_KEY,
    "401": _WRONG_KEY,
    "ExpiredToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestTimeTooSkewed": _CLOCK,
    "PermanentRedirect": _REGION,
    "Redirect": _REGION,
    "TemporaryRedirect": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "307": _REGION,
    "KMS.NotFoundException": _KMS,
    "KMS.DisabledException": _KMS,
    "KMS.KMSInvalidStateException": _KMS,
    "KMS.InvalidKeyUsageException": _KMS,
    "InvalidStorageClass": _CLASS,
    "EntityTooLarge": _TOO_LARGE,
    "MaxMessageLengthExceeded": _TOO_LARGE,
    "NotImplemented": _UNABLE,
    "MethodNotAllowed": _UNABLE,
    "405": _UNABLE,
    "501": _UNABLE,
}

# Names of exception classes, so that botocore, aiobotocore, aiohttp, urllib3 and fsspec need not be
# imported.
BY_CLASS: dict[str, Meaning] = {
    # how one is known to the store: from botocore
    "NoCredentialsError": _NO_KEY,
    "PartialCredentialsError": _NO_KEY,
    "CredentialRetrievalError": _NO_KEY,
    "NoAuthTokenError": _NO_KEY,
    "TokenRetrievalError": _NO_KEY,
    "UnauthorizedSSOTokenError": _EXPIRED,
    "SSOTokenLoadError": _EXPIRED,
    "LoginRefreshRequired": _EXPIRED,
    "RefreshWithMFAUnsupportedError": _EXPIRED,
    "ProfileNotFound": Meaning(
        "failed", "the AWS profile does not exist", "check AWS_PROFILE and ~/.aws/config"
    ),
    "NoRegionError": _REGION,
    "SSLError": _TLS,
    "ClientConnectorCertificateError": _TLS,
    "ParamValidationError": _REFUSED,
    # from paramiko
    "AuthenticationException": Meaning(
        "failed", "the server does not accept the login", "check username, key_filename and the SSH agent"
    ),
    "BadHostKeyException": Meaning(
        "failed", "the server's host key differs from the known one", "check ~/.ssh/known_hosts"
    ),
    "NoValidConnectionsError": _UNREACHABLE,
    "SSHException": _LOST,
    # network errors: from botocore, aiohttp, urllib3, asyncio and fsspec
    "EndpointConnectionError": _UNREACHABLE,
    "ConnectTimeoutError": _UNREACHABLE,
    "ProxyConnectionError": _UNREACHABLE,
    "ClientConnectorError": _UNREACHABLE,
    "gaierror": _UNREACHABLE,
    "ReadTimeoutError": _SLOW,
    "FSTimeoutError": _SLOW,
    "TimeoutError": _SLOW,
    "ConnectionClosedError": _LOST,
    "HTTPClientError": _LOST,
    "ConnectionError": _LOST,
    "ClientConnectionError": _LOST,
    "ClientError": _LOST,  # aiohttp's; botocore's has a response and is found in the first table
    "IncompleteReadError": _SHORT,
    "IncompleteRead": _SHORT,
    "ResponseStreamingError": _SHORT,
    "FlexibleChecksumError": _SHORT,
    "ChecksumError": _SHORT,
    "ResponseParserError": _SHORT,
    "ClientPayloadError": _SHORT,
    "HTTPException": _SHORT,
    "JSONDecodeError": _FOREIGN,  # in the place of Google's JSON
    "DecodeError": _FOREIGN,  # in the place of Azure's XML
    # the rest of botocore: bad configuration in one of many ways
    "BotoCoreError": _SETTINGS,
    # Python
    "NotImplementedError": _UNABLE,
    "TypeError": _SETTINGS,  # an option that the package does not support
    "ValueError": _SETTINGS,
    "KeyError": _SETTINGS,
    "ImportError": Meaning(
        "failed", "a Python package is missing", "install the package that the cause names"
    ),
    "FileNotFoundError": _MISSING,
    "FileExistsError": _EXISTS,
    "PermissionError": _NO_ACCESS,
    "IsADirectoryError": _NOT_FOLDER,
    "NotADirectoryError": _NOT_FOLDER,
    "MemoryError": _MEMORY,
}

BY_ERRNO: dict[int, Meaning] = {
    errno.ENOENT: _MISSING,
    errno.EEXIST: _EXISTS,
    errno.ENOSPC: _FULL,
    getattr(errno, "EDQUOT", errno.ENOSPC): _FULL,
    errno.EFBIG: _TOO_LARGE,
    errno.EMSGSIZE: _TOO_LARGE,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.ENOTDIR: _NOT_FOLDER,
    errno.EISDIR: _NOT_FOLDER,
    errno.ELOOP: _NOT_FOLDER,
    errno.ENAMETOOLONG: _NAME_LENGTH,
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
    errno.EIO: _DEVICE,
    getattr(errno, "EREMOTEIO", errno.EIO): _DEVICE,
    errno.ENODEV: _DEVICE,
    errno.ENXIO: _DEVICE,
    errno.ENOMEM: _MEMORY,
    errno.EBUSY: _BUSY,
    errno.EAGAIN: _BUSY,
    errno.EINTR: _LOST,
    errno.ECONNRESET: _LOST,
    errno.ECONNABORTED: _LOST,
    errno.EPIPE: _LOST,
    errno.ENETRESET: _LOST,
    getattr(errno, "ESTALE", errno.EIO): _LOST,
    errno.ETIMEDOUT: _SLOW,
    errno.ECONNREFUSED: _UNREACHABLE,
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.ENETUNREACH: _UNREACHABLE,
    errno.EHOSTDOWN: _UNREACHABLE,
    errno.ENETDOWN: _UNREACHABLE,
    errno.ENOSYS: _UNABLE,
    errno.EOPNOTSUPP: _UNABLE,
}

_STATUS = ("status_code", "status", "code")
"""Attributes in which azure, aiohttp and gcsfs keep the HTTP status of their exceptions."""

_UNKNOWN = Meaning("failed", "the store failed in an unexpected way")


def translate(error: BaseException, *, doing: str, key: str, url: str) -> DataverError:
    """Return our error for a foreign one; our own are returned unchanged.

    Args:
        error: the caught error; the caller raises the result `from` it.
        doing: the verb of the sentence: "read", "write", "list" …
        key: the object concerned; may be empty.
        url: the store, without secrets.
    """
    if isinstance(error, DataverError):
        return error
    meaning, code = _meaning(error)
    name = f"{key} in {url}" if key else url
    if meaning.kind == "missing":
        return NotFound(f"{name} does not exist.")
    if meaning.kind == "exists":
        return AlreadyExists(f"{name} exists already.")
    detail = f" ({code})" if code else ""
    return StoreError(
        f"cannot {doing} {name}: {meaning.what}{detail}.",
        hint=meaning.hint,
        transient=meaning.kind == "transient",
        retry_after=retry_after(error),
    )


def response_code(error: BaseException) -> tuple[str, int] | None:
    """Return the server's error code and HTTP status, if the error or one of its causes has them."""
    for one in _causes(error):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return code, status if isinstance(status, int) else 0
    for name in _STATUS:
        # set on this instance: aiohttp's parsers have a 400 as a class attribute for a lost connection
        status = vars(error).get(name)
        if isinstance(status, int) and 300 <= status < 600:
            return str(status), status
    return None


def is_denied(error: BaseException) -> bool:
    """Return whether a store or file system refused permission to a known user."""
    answered = response_code(error)
    if answered is not None:
        code, status = answered
        return (BY_CODE.get(code) or BY_CODE.get(str(status))) is _DENIED
    return any(
        isinstance(one, OSError) and one.errno in (errno.EACCES, errno.EPERM) for one in _causes(error)
    )


def retry_after(error: BaseException) -> float | None:
    """Return the seconds of the server's `Retry-After` (RFC 9110, 10.2.3), or None."""
    for one in _causes(error):
        headers = getattr(one, "headers", None)
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            headers = response.get("ResponseMetadata", {}).get("HTTPHeaders")
        if isinstance(headers, Mapping):
            for name, value in headers.items():
                if str(name).lower() == "retry-after":
                    return _seconds(str(value))
    return None


def _seconds(value: str) -> float | None:
    """Return the seconds of a `Retry-After`: a number of seconds, or a date."""
    from email.utils import parsedate_to_datetime

    try:
        if value.strip().isdecimal():
            return float(value)
        moment = parsedate_to_datetime(value)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


def _meaning(error: BaseException) -> tuple[Meaning, str]:
    answered = response_code(error)
    if answered is not None:
        code, status = answered
        found = BY_CODE.get(code) or BY_CODE.get(str(status))
        if found is None:
            found = _BROKEN if status >= 500 else _REFUSED
        return found, code if code and not code.isdecimal() else f"HTTP {status or code}"
    for one in _causes(error):
        number = one.errno if isinstance(one, OSError) else None
        if number in BY_ERRNO:
            return BY_ERRNO[number], errno.errorcode.get(number, str(number))
        by_class = _by_class(one)
        if by_class is not None:
            return by_class, type(one).__name__
    return _UNKNOWN, type(error).__name__


def _by_class(error: BaseException) -> Meaning | None:
    return next((BY_CLASS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in BY_CLASS), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__
