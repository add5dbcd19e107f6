"""Whose credentials are used: each link of the AWS chain, by both transports, as the wire shows it.

moto takes every key, so what matters is seen between: which key signed, and which token came along. Profiles
that assume a role and single sign-on are in `test_settings.py`.
"""

import http.server
import json
import secrets
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataver.errors import StoreError
from dataver.storage.s3 import S3Store
from dataver.storage.s3_transport import ByLoop, Transport, connect
from servers import Server
from servers.proxy import FaultyNetwork, Seen

pytestmark = pytest.mark.servers

_LATER = f"{datetime.now(UTC) + timedelta(hours=6):%Y-%m-%dT%H:%M:%SZ}"


class _Link:
    """A store on moto that is given no credentials; `put` shows what it found."""

    def __init__(
        self, server: Server, network: FaultyNetwork, connecting: Callable[[Mapping[str, Any]], Transport]
    ) -> None:
        self.server, self.network, self._connecting = server, network, connecting

    def store(self, **options: Any) -> S3Store:
        place = f"{self.server.bucket}/credentials/{secrets.token_hex(8)}"
        given = {"endpoint_url": self.network.endpoint, "region": "us-east-1"} | options
        return S3Store(place, given, connecting=self._connecting)

    def put(self, **options: Any) -> Seen:
        """Write an object; return the request that did it."""
        self.store(**options).put("key", b"x")
        found = self.network.seen[-1]
        assert found.method == "PUT"
        return found


@pytest.fixture(params=[connect, ByLoop], ids=["by-thread", "by-loop"])
def link(
    request: pytest.FixtureRequest, moto_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[_Link]:
    """A way to moto for which no credentials are to be found yet."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with FaultyNetwork(moto_server.endpoint, lambda _seen: None) as network:
        yield _Link(moto_server, network, request.param)


@pytest.fixture
def metadata() -> Iterator[type[http.server.BaseHTTPRequestHandler]]:
    """What a container or an instance asks for its role; notes the paths in `asked`."""
    role = {"Code": "Success", "AccessKeyId": "ROLEKEY", "SecretAccessKey": "s", "Token": "role-token"}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        asked: list[str] = []  # noqa: RUF012 - one class a test
        address = ""

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def _say(self) -> None:
            self.asked.append(f"{self.command} {self.path}")
            said = json.dumps(role | {"Expiration": _LATER})
            if self.path == "/latest/api/token":
                said = "session"
            elif self.path.endswith("/security-credentials/"):
                said = "training"
            self.send_response_only(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said.encode())

        do_GET = do_PUT = _say  # noqa: N815 - the parent's names

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Handler
    server.shutdown()
    server.server_close()
    thread.join()


def _signed_by(seen: Seen) -> tuple[str, str | None]:
    """Return the access key that signed a request, and the session token it carried."""
    credential = seen.headers["Authorization"].partition("Credential=")[2]
    return credential.partition("/")[0], seen.headers.get("X-Amz-Security-Token")


def test_nothing_is_found(link: _Link) -> None:
    """Without any link of the chain, that is the sentence, and nothing is sent."""
    with pytest.raises(StoreError, match="no credentials were found"):
        link.put()
    assert link.network.seen == []


def test_the_environment_with_a_session_token(link: _Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary keys, as CI systems and `aws sts` give them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "TEMPORARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the session")
    assert _signed_by(link.put()) == ("TEMPORARY", "of the session")


def test_the_credentials_file_and_a_profile_of_it(link: _Link, tmp_path: Path) -> None:
    """The default section where nothing is said; `profile` chooses another."""
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = MINE\naws_secret_access_key = s\n"
        "[lab]\naws_access_key_id = THELABS\naws_secret_access_key = s\n"
    )
    assert _signed_by(link.put()) == ("MINE", None)
    assert _signed_by(link.put(profile="lab")) == ("THELABS", None)


def test_a_process_that_prints_credentials(link: _Link, tmp_path: Path) -> None:
    """`credential_process` of a profile is run and believed."""
    said = {"Version": 1, "AccessKeyId": "PRINTED", "SecretAccessKey": "s", "SessionToken": "printed-token"}
    (tmp_path / "said.json").write_text(json.dumps(said | {"Expiration": _LATER}))
    program = shlex.join([sys.executable, "-c", "import sys; print(open(sys.argv[1]).read())"])
    (tmp_path / "config").write_text(
        f"[profile vault]\ncredential_process = {program} {tmp_path / 'said.json'}\n"
    )
    assert _signed_by(link.put(profile="vault")) == ("PRINTED", "printed-token")


def test_a_web_identity_becomes_a_role(link: _Link, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a pod or a CI job holds, a file with a token, is changed for the role's keys by STS."""
    (tmp_path / "token").write_text("the identity")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/training")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", link.network.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    wrote = link.put()
    assert link.network.seen[0].method == "POST"
    assert "Authorization" not in link.network.seen[0].headers
    key, token = _signed_by(wrote)
    assert key.startswith("ASIA")
    assert token


def test_a_containers_role(link: _Link, metadata: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """ECS, EKS Pod Identity and others name an address in the environment."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{metadata.address}/role")
    assert _signed_by(link.put()) == ("ROLEKEY", "role-token")
    assert metadata.asked == ["GET /role"]


def test_an_instances_role(link: _Link, metadata: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last link: the instance's metadata service, version 2."""
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{metadata.address}/")
    assert _signed_by(link.put()) == ("ROLEKEY", "role-token")
    assert metadata.asked[0] == "PUT /latest/api/token"


def test_anonymous_requests_are_not_signed(link: _Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """`anon` sends nobody's signature, though there are credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "MINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    public = link.store(s3_additional_kwargs={"ACL": "public-read"})
    public.put("key", b"public")
    place = public.url.removeprefix("s3://")
    options = {"endpoint_url": link.network.endpoint, "anon": True}
    anonymous = S3Store(place, options, connecting=link._connecting)
    assert anonymous.get("key") == b"public"
    assert [info.key for info in anonymous.list()] == ["key"]
    wrote, *read = link.network.seen
    assert "MINE/" in wrote.headers["Authorization"]
    assert len(read) == 2
    assert not [seen for seen in read if "Authorization" in seen.headers]


def test_the_source_is_named(link: _Link, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`login` names the link of the chain, by both transports, and no key."""
    with pytest.raises(StoreError, match="no credentials were found"):
        _ = link.store().login
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = MINE\naws_secret_access_key = s\n"
        "[lab]\naws_access_key_id = THELABS\naws_secret_access_key = s\n"
    )
    assert link.store().login == "the AWS credentials file"
    assert link.store(profile="lab").login == "the AWS credentials file, profile lab"
    assert link.store(anon=True).login == "none: requests are not signed"
    assert link.store(key="K", secret="s").login == "the storage options"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "MINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert link.store().login == "the environment (AWS_ACCESS_KEY_ID)"


def test_debug_logging_tells_no_secret(
    moto_server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A session token goes to the server, and is in no line of the log at level DEBUG."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hushhush")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-session")
    caplog.set_level("DEBUG")
    with FaultyNetwork(moto_server.endpoint, lambda _seen: None) as network:
        _Link(moto_server, network, connect).put()
        assert _signed_by(network.seen[-1]) == ("AKIAKEY", "token-of-the-session")
    assert "botocore" in caplog.text
    assert "token-of-the-session" not in caplog.text
    assert "hushhush" not in caplog.text
