"""Settings of a store: what each word becomes, that it reaches the server, and whose credentials are used."""

import hashlib
import http.server
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataver.errors import DataverError, InvalidInput, StoreError
from dataver.storage import Store, open_store
from dataver.storage.settings import S3Settings, secret_names
from servers import Server
from servers.proxy import FaultyNetwork


@pytest.fixture
def network(moto_server: Server) -> Iterator[FaultyNetwork]:
    """A wire to moto that notes every request."""
    with FaultyNetwork(moto_server.endpoint, lambda _seen: None) as network:
        yield network


def _store(server: Server, network: FaultyNetwork, **options: Any) -> Store:
    given = server.options | {"endpoint_url": network.endpoint} | options
    return open_store(server.url(f"settings/{secrets.token_hex(8)}"), given)


def test_words_become_what_they_mean() -> None:
    """Texts from a command line and values from a file mean the same; what is not a word stays s3fs's."""
    said = {
        "anon": "false",
        "path_style": "yes",
        "requester_pays": "1",
        "region": " eu-west-1 ",
        "token": "t",
    }
    found = S3Settings.of(said)
    assert (found.anon, found.path_style, found.requester_pays) == (False, True, True)
    assert found.s3fs_options() == {
        "anon": False,
        "requester_pays": True,
        "client_kwargs": {"region_name": "eu-west-1"},
        "config_kwargs": {"s3": {"addressing_style": "path"}},
        "token": "t",
    }
    assert "'t'" not in repr(found)
    nested = {
        "config_kwargs": {"read_timeout": 5, "s3": {"payload_signing_enabled": True}},
        "path_style": False,
    }
    kept = S3Settings.of(nested).s3fs_options()["config_kwargs"]
    assert kept == {"read_timeout": 5, "s3": {"payload_signing_enabled": True, "addressing_style": "virtual"}}


def test_encryption_is_every_objects_and_the_storage_class_the_packs() -> None:
    """Small objects stay in the standard class: they are read all the time."""
    found = S3Settings.of({"sse_kms_key_id": "alias/data", "storage_class": "STANDARD_IA"})
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/data"}
    assert found.put_arguments("packs/ab/cd") == encrypted | {"StorageClass": "STANDARD_IA"}
    assert found.put_arguments("trees/ab/cd") == encrypted
    assert S3Settings.of({"sse": "SSE-S3"}).put_arguments("x") == {"ServerSideEncryption": "AES256"}
    assert S3Settings.of({}).put_arguments("packs/x") == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"anon": "perhaps"}, "true or false"),
        ({"sse": "rot13"}, "AES256"),
        ({"sse": "AES256", "sse_kms_key_id": "k"}, "S3's own keys"),
        ({"storage_class": "DEEP_ARCHIVE"}, "cannot be read immediately"),
        ({"endpoint_url": "localhost:9000"}, "not an address"),
        ({"endpoint_url": "http://u:hunter2@host"}, "password"),
        ({"region": ""}, "a non-empty text"),
        ({"profile": 7}, "a non-empty text"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], says: str) -> None:
    """Each wrong value gets a sentence before anything is contacted; no secret is repeated."""
    with pytest.raises(InvalidInput, match=says) as caught:
        open_store("s3://bucket/x", options)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_known_by_their_names() -> None:
    """Keys, tokens and passwords of any package, also inside, and URLs with one; not what only sounds so."""
    hidden = {
        "key": "a", "secret": "b", "token": "c", "password": "d", "account_key": "e", "sas_token": "f",
        "client_kwargs": {"aws_access_key_id": "g", "aws_session_token": "h"}, "proxy": "http://u:p@host",
        "SSECustomerKey": "i", "ConnectionString": "j", "AWSAccessKeyId": "k", "sas_url": "l",
        "auth": ("m", "n"), "encryption_key": "o", "headers": {"Authorization": "Bearer p"},
    }  # fmt: skip
    assert set(secret_names(hidden)) == {
        "key", "secret", "token", "password", "account_key", "sas_token", "aws_access_key_id",
        "aws_session_token", "proxy", "SSECustomerKey", "ConnectionString", "AWSAccessKeyId", "sas_url",
        "auth", "encryption_key", "Authorization",
    }  # fmt: skip
    harmless = {
        "sse_kms_key_id": "a",
        "endpoint_url": "http://h",
        "profile": "p",
        "username": "u",
        "disaster": 1,
        "signature_version": "s3v4",
        "gss_auth": True,
        "auth_timeout": 30,
        "key_filename": "/home/u/.ssh/id",
    }
    assert list(secret_names(harmless)) == []


@pytest.mark.servers
def test_settings_reach_the_server(moto_server: Server, network: FaultyNetwork) -> None:
    """Encryption, key, storage class and requester-pays are headers of the requests, and moto keeps them."""
    import botocore.session

    store = _store(
        moto_server,
        network,
        sse="aws:kms",
        sse_kms_key_id="alias/data",
        storage_class="INTELLIGENT_TIERING",
        requester_pays=True,
    )
    store.create("packs/ab/one", b"pack")
    store.put("trees/ab/one", b"block")
    store.get("packs/ab/one")
    list(store.list())
    store.delete("trees/ab/one")
    headers = [{name.lower(): value for name, value in one.headers.items()} for one in network.seen]
    assert [each["x-amz-request-payer"] for each in headers] == ["requester"] * 5
    assert [each.get("x-amz-server-side-encryption") for each in headers[:3]] == ["aws:kms", "aws:kms", None]
    assert headers[0]["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/data"
    assert [each.get("x-amz-storage-class") for each in headers[:2]] == ["INTELLIGENT_TIERING", None]
    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=moto_server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=moto_server.options["key"],
        aws_secret_access_key=moto_server.options["secret"],
    )
    key = store.url.removeprefix(f"s3://{moto_server.bucket}/")
    kept = client.head_object(Bucket=moto_server.bucket, Key=f"{key}/packs/ab/one")
    client.close()
    assert (kept["StorageClass"], kept["ServerSideEncryption"]) == ("INTELLIGENT_TIERING", "aws:kms")


@pytest.mark.servers
def test_the_bucket_is_in_the_path_or_in_the_host(moto_server: Server, network: FaultyNetwork) -> None:
    """`path_style` decides; the region is the signature's."""
    _store(moto_server, network, path_style=True, region="eu-central-1", client_kwargs=None).put("key", b"x")
    (request,) = network.seen
    assert request.path.startswith(f"/{moto_server.bucket}/")
    assert "/eu-central-1/s3/" in request.headers["Authorization"]
    network.seen.clear()
    address = network.endpoint.replace("127.0.0.1", "localhost")  # *.localhost is this machine, too
    store = _store(moto_server, network, path_style="false", endpoint_url=address)
    with pytest.raises(DataverError):  # whether or not the name resolves, moto does not know the bucket so
        store.get("key")
    assert all(one.headers["Host"].startswith(f"{moto_server.bucket}.") for one in network.seen)


@pytest.mark.servers
def test_a_profile_assumes_its_role(
    moto_server: Server, network: FaultyNetwork, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A profile with `role_arn` asks STS with its source's keys, and the store is used as that role."""
    (tmp_path / "config").write_text(
        "[profile base]\naws_access_key_id = ACCESSKEYID\naws_secret_access_key = SECRETKEY123\n"
        "[profile lab]\nregion = us-east-1\nsource_profile = base\n"
        "role_arn = arn:aws:iam::123456789012:role/readers\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", network.endpoint)
    store = open_store(moto_server.url(f"settings/{secrets.token_hex(8)}"), {"profile": "lab"})
    store.put("key", b"x")
    asked, wrote = network.seen
    assert (asked.method, wrote.method) == ("POST", "PUT")
    assert "ACCESSKEYID/" in asked.headers["Authorization"]
    assert "ACCESSKEYID/" not in wrote.headers["Authorization"]
    assert wrote.headers["X-Amz-Security-Token"]


class _Answers(http.server.BaseHTTPRequestHandler):
    """Says the same to every request: status, headers, body."""

    protocol_version = "HTTP/1.1"
    said: tuple[int, dict[str, str], bytes] = (200, {}, b"")

    def _say(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = self.said
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _say  # noqa: N815 - the parent's names

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[type[_Answers]]:
    """A server that gives one answer; set `said`, read `address`."""

    class Handler(_Answers):
        address = ""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
@pytest.mark.servers
def test_single_sign_on_is_used_and_its_end_is_told(
    moto_server: Server,
    network: FaultyNetwork,
    answering: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A login of `aws sso login` gives the keys; without one, that is said."""
    (tmp_path / ".aws" / "sso" / "cache").mkdir(parents=True)
    start = "https://example.awsapps.com/start"
    (tmp_path / ".aws" / "config").write_text(
        f"[profile sso]\nregion = us-east-1\nsso_start_url = {start}\nsso_region = us-east-1\n"
        "sso_account_id = 123456789012\nsso_role_name = readers\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", network.endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", answering.address)
    url = moto_server.url(f"settings/{secrets.token_hex(8)}")
    script = (
        f"from dataver.storage import open_store\nopen_store({url!r}, {{'profile': 'sso'}}).put('key', b'x')"
    )

    def put() -> subprocess.CompletedProcess[str]:  # botocore looks for the home folder when it is imported
        environment = os.environ | {"HOME": str(tmp_path)}
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)

    assert "the credentials have expired" in put().stderr
    assert network.seen == []
    later = datetime.now(UTC) + timedelta(hours=1)
    token = {"accessToken": "t", "expiresAt": f"{later:%Y-%m-%dT%H:%M:%SZ}", "startUrl": start}
    name = hashlib.sha1(start.encode()).hexdigest()
    (tmp_path / ".aws" / "sso" / "cache" / f"{name}.json").write_text(json.dumps(token))
    role = {"accessKeyId": "SSOKEY", "secretAccessKey": "s", "sessionToken": "session"}
    answering.said = (
        200,
        {"Content-Type": "application/json"},
        json.dumps({"roleCredentials": role | {"expiration": int(later.timestamp() * 1000)}}).encode(),
    )
    done = put()
    assert done.returncode == 0, done.stderr
    assert "SSOKEY/" in network.seen[-1].headers["Authorization"]


@pytest.mark.parametrize(
    ("code", "status", "says", "next_step"),
    [
        ("AccessDenied", 403, "refuses permission", "s3:PutObject"),
        ("RequestTimeTooSkewed", 403, "clock", "timedatectl"),
        ("PermanentRedirect", 301, "another region", "region"),
        ("AuthorizationHeaderMalformed", 400, "another region", "region"),
        ("ExpiredToken", 400, "expired", "aws sso login"),
        ("InvalidAccessKeyId", 403, "credentials", "AWS_PROFILE"),
        ("NoSuchBucket", 404, "bucket does not exist", "correct its name"),
        ("KMS.NotFoundException", 400, "KMS", "sse_kms_key_id"),
        ("InvalidStorageClass", 400, "storage class", "storage_class"),
    ],
)
def test_a_refusal_names_the_next_step(
    answering: Any, code: str, status: int, says: str, next_step: str
) -> None:
    """What goes wrong on a first day is a sentence and something to do, at once."""
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>"
    headers = {"Content-Type": "application/xml", "x-amz-bucket-region": "eu-west-1"}
    answering.said = (status, headers, text.encode())
    options = {"key": "k", "secret": "s", "endpoint_url": answering.address, "region": "us-east-1"}
    with pytest.raises(StoreError, match=says) as caught:
        open_store("s3://bucket/x", options).put("key", b"x")
    assert next_step in str(caught.value.hint)
    assert not caught.value.transient
