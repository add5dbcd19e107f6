"""No foreign exception falls through: every one becomes ours, with a sentence and without secrets."""

import errno
import inspect
from collections.abc import Iterator

import aiohttp
import botocore.exceptions
import pytest
import s3fs.errors
from fsspec.exceptions import FSTimeoutError

from dataver.errors import AlreadyExists, DataverError, IntegrityError, NotFound, StoreError
from dataver.storage.translate import BY_CODE, response_code, retry_after, translate

_SECRET = "TOPSECRETKEY"


def _translated(error: BaseException) -> DataverError:
    return translate(error, doing="read", key="packs/1", url="s3://bucket")


def _client_error(code: str, status: int = 400) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError(
        {
            "Error": {"Code": code, "Message": f"signed with {_SECRET}"},
            "ResponseMetadata": {"HTTPStatusCode": status},
        },
        "GetObject",
    )


def _classes(module: object, root: type[BaseException]) -> Iterator[type[BaseException]]:
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if issubclass(kind, root):
            yield kind


def _bare(kind: type[BaseException]) -> BaseException:
    error = kind.__new__(kind)
    error.args = (_SECRET,)
    return error


def _check(error: DataverError) -> None:
    assert error.message.endswith(".")
    assert "packs/1 in s3://bucket" in error.message
    assert "\n" not in error.message
    assert _SECRET not in str(error) + str(error.hint)


def test_every_botocore_exception_is_known() -> None:
    """Each class of botocore's exceptions has a meaning of its own, none is unexpected."""
    kinds = list(_classes(botocore.exceptions, botocore.exceptions.BotoCoreError))
    assert len(kinds) > 80
    for kind in kinds:
        error = _translated(_bare(kind))
        _check(error)
        assert "unexpected" not in str(error), kind


def test_every_aiohttp_exception_is_known() -> None:
    """Each class of aiohttp's client exceptions has a meaning; losing a connection is temporary."""
    for kind in _classes(aiohttp, aiohttp.ClientError):
        error = _translated(_bare(kind))
        _check(error)
        assert "unexpected" not in str(error), kind
    lost = _translated(aiohttp.ServerDisconnectedError())
    assert isinstance(lost, StoreError)
    assert lost.transient


@pytest.mark.parametrize("code", sorted({*s3fs.errors.ERROR_CODE_TO_EXCEPTION, *BY_CODE}))
def test_every_error_code_is_answered(code: str) -> None:
    """Each code that S3 documents becomes ours, alone and wrapped by s3fs, and says the code."""
    plain = _client_error(code, int(code) if code.isdecimal() else 400)
    for error in (plain, s3fs.errors.translate_boto_error(plain)):
        ours = _translated(error)
        _check(ours)
        if type(ours) is StoreError:
            assert code in str(ours)


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_errno_is_answered(number: int) -> None:
    """Each error of the operating system becomes ours."""
    _check(_translated(OSError(number, _SECRET, _SECRET)))


@pytest.mark.parametrize(
    ("error", "kind", "transient"),
    [
        (_client_error("PreconditionFailed", 412), AlreadyExists, None),
        (_client_error("412", 412), AlreadyExists, None),
        (_client_error("ConditionalRequestConflict", 409), StoreError, True),
        (_client_error("NoSuchKey", 404), NotFound, None),
        (_client_error("404", 404), NotFound, None),
        (_client_error("NoSuchBucket", 404), StoreError, False),
        (_client_error("AccessDenied", 403), StoreError, False),
        (_client_error("InvalidAccessKeyId", 403), StoreError, False),
        (_client_error("SomethingNew", 418), StoreError, False),
        (_client_error("SomethingNew", 599), StoreError, True),
        (_client_error("SlowDown", 503), StoreError, True),
        (FSTimeoutError(), StoreError, True),
        (TimeoutError(), StoreError, True),
        (ConnectionResetError(errno.ECONNRESET, "x"), StoreError, True),
        (FileExistsError(), AlreadyExists, None),
        (FileNotFoundError(), NotFound, None),
        (OSError(errno.ENOSPC, "x"), StoreError, False),
        (RuntimeError("x"), StoreError, False),
    ],
    ids=repr,
)
def test_what_callers_decide_by(
    error: BaseException, kind: type[DataverError], transient: bool | None
) -> None:
    """The kind of error, and whether it passes, are what programs rely on."""
    ours = _translated(error)
    assert type(ours) is kind
    assert getattr(ours, "transient", None) is transient


def test_ours_are_left_alone() -> None:
    """An error that is ours already stays the same object."""
    ours = IntegrityError("x")
    assert _translated(ours) is ours


def test_other_packages_statuses_are_found() -> None:
    """Azure, gcsfs and aiohttp keep the HTTP status in attributes of their own."""

    class HttpResponseError(Exception):
        def __init__(self) -> None:
            self.status_code = 412

    assert response_code(HttpResponseError()) == ("412", 412)
    assert isinstance(_translated(HttpResponseError()), AlreadyExists)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        (None, None),
    ],
)
def test_how_long_the_store_wants_to_be_left_alone(said: str | None, seconds: float | None) -> None:
    """`Retry-After` is a number or a moment; anything else is passed over."""
    error = _client_error("SlowDown", 503)
    if said is not None:
        error.response["ResponseMetadata"]["HTTPHeaders"] = {"retry-after": said}
    assert retry_after(error) == seconds
    found = _translated(error)
    assert isinstance(found, StoreError)
    assert found.retry_after == seconds
