"""Descriptions and tags changed by the forms of a page."""

import re
import socket
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

import dataver
from copies import Copy
from dataver.serving import serve
from dataver.ui import editing

from .conftest import Pages, Reply

TOKEN = "a-token-of-the-tests"
REF = "words@1.0.0"


def publish(folder: Path) -> None:
    """Publish `words` 1.0.0 and 1.0.1, production is 1.0.1."""
    repo, source = dataver.init(folder / "repo"), folder / "source"
    source.mkdir()
    for number in range(2):
        (source / "a.txt").write_text(f"{number}\n")
        repo.sync(source, "words", workspace=folder / "work", metadata={"lux": 410})
    repo.tag("words@1.0.1", "production")


class Editor(Pages):
    """A browser with the cookie."""

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Reply:
        """Ask with the cookie; a form with what a browser says of its origin."""
        host = f"localhost:{self.server.port}"
        given = {"Cookie": f"dataver-{self.server.port}={TOKEN}", "Host": host}
        if method == "POST":
            kind = "application/x-www-form-urlencoded"
            given |= {"Content-Type": kind, "Origin": f"http://{host}", "Sec_Fetch_Site": "same-origin"}
        given |= headers
        return super().ask(path, method, body, **{name: value for name, value in given.items() if value})

    def secret(self) -> str:
        """Return the secret of the forms."""
        return re.search(r'name="secret" value="([^"]+)"', self.page("version", ref=REF))[1]

    def send(self, ref: str = REF, action: str = "edit", **fields: str) -> Reply:
        """Send a form as the page of a version has it, with other values."""
        shown = self.page("version", ref=ref)
        number = re.search(r'name="number" value="(\d*)"', shown)[1]
        fields = {"secret": self.secret(), "ref": ref, "number": number, **fields}
        return self.ask(f"/-/{action}", "POST", urlencode(fields))


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy_of: Copy) -> Iterator[Editor]:
    """Two versions, served for editing."""
    monkeypatch.setenv("DATAVER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAVER_AUTHOR", "ana")
    copy_of(publish, tmp_path)
    repo, reports = dataver.open(tmp_path / "repo"), list[str]()
    with serve(repo, port=0, token=TOKEN, editing=True, report=reports.append) as server:
        yield Editor(repo, server, reports)
    assert reports == []


def test_a_description_is_changed(editor: Editor) -> None:
    """Only what differs is written, and the page shows it at once; texts return as they were."""
    text = "One\n\nnumber \u202eevil <b>&amp;</b> \x07"
    done = editor.send(text=text.replace("\n", "\r\n"), license="cc-by-4.0", owner="ana")
    assert (done.status, done.headers["Location"]) == (303, f"/-/version?ref={REF}&saved=1#edit")
    found = editor.repo.version(REF).description
    assert (found.text, found.license, found.owner, found.author) == (text, "CC-BY-4.0", "ana", "ana")
    shown = editor.page("version", ref=REF)
    assert unescape(re.search(r"<textarea[^>]*>\n(.*?)</textarea>", shown, re.DOTALL)[1]) == text
    assert "<b>&amp;</b>" not in shown
    again = editor.send(text=text, license="CC-BY-4.0", owner="ana")
    assert again.status == 303
    assert editor.repo.version(REF).description.number == 1
    assert editor.send(license="").status == 303
    assert editor.repo.version(REF).description.license == ""
    assert editor.repo.version(REF).description.text == text


def test_metadata_are_set_and_removed(editor: Editor) -> None:
    """A value is JSON if it is valid, as on the command line; an empty one removes its key."""
    for key, value in (("camera", "7"), ("note", "a b"), ("list", "[1, 2]")):
        assert editor.send(key=key, value=value).status == 303
    found = editor.repo.version(REF).metadata
    assert found == {"lux": 410, "camera": 7, "note": "a b", "list": [1, 2]}
    assert editor.send(**{"=camera": "", "=lux": "", "=note": "c", "=list": "[1, 2]"}).status == 303
    assert editor.repo.version(REF).metadata == {"note": "c", "list": [1, 2]}
    assert editor.send(key="deep", value="[" * 100_000).status == 303
    assert editor.repo.version(REF).metadata["deep"] == "[" * 100_000


@pytest.mark.parametrize("value", ["7", 7, "", "a\nb", None, True, [1.5, "ä"], "ä b", {"a": "<b>"}, "null"])
def test_metadata_that_nobody_touched_stay(editor: Editor, value: object) -> None:
    """What a form sends back as it was is no change, whatever it looks like as text."""
    editor.repo.version(REF).describe(set={"k": value})
    shown = unescape(re.search(r'name="=k" value="([^"]*)"', editor.page("version", ref=REF))[1])
    assert "\n" not in shown  # a browser would drop it
    assert editor.send(**{"=k": shown, "owner": "ana"}).status == 303
    assert editor.repo.version(REF).metadata["k"] == value
    assert editor.send(**{"=k": f" {shown}", "key": "x"}).status == 303
    assert editor.repo.version(REF).metadata["x"] == ""


def test_a_tag_is_set_and_removed(editor: Editor) -> None:
    """The page says it, also by its address with the tag that is removed."""
    done = editor.send(tag=" best ", text="typed")
    assert (done.status, done.headers["Location"]) == (303, f"/-/version?ref={REF}&saved=1&tag=best#edit")
    assert "The tag best is on this version now." in editor.page("version", ref=REF, saved=1, tag="best")
    assert editor.repo.version(REF).description.text == "typed"
    gone = editor.send("words@best", untag="best")
    assert (gone.status, gone.headers["Location"]) == (303, f"/-/version?ref={REF}&saved=1&untag=best#edit")
    assert "The tag best is removed." in editor.page("version", ref=REF, saved=1, untag="best")
    assert editor.repo.tagged("words") == {"production": "1.0.1"}


def test_a_tag_of_another_version_is_moved_on_confirmation(editor: Editor) -> None:
    """Nothing is saved before; a confirmation is one of the version that has the tag now."""
    asked = editor.send(tag="production", text="typed")
    assert asked.status == 409
    assert "The tag &#39;production&#39; is on words@1.0.1." in asked.text
    assert "Move production here from 1.0.1" in asked.text
    assert ">\ntyped</textarea>" in asked.text
    assert editor.repo.version(REF).description is None
    assert editor.send(tag="production", move="production@1.0.2").status == 409
    assert editor.send(untag="production").status == 409  # it was moved since the page was loaded
    assert editor.repo.tagged("words") == {"production": "1.0.1"}
    assert editor.send(tag="production", move="production@1.0.1").status == 303
    assert editor.repo.tagged("words") == {"production": "1.0.0"}


def test_an_error_is_one_sentence_on_the_page(editor: Editor) -> None:
    """With the status of the error, and what was typed."""
    editor.repo.tag("words@1.0.0", "fixed", protect=True)
    for fields, status, words in (
        ({"license": "no <license>", "text": "typed"}, 400, "is not an SPDX license"),
        ({"tag": "latest"}, 400, "latest"),
        ({"tag": "a b"}, 400, "such as 2.1-final"),
        ({"untag": "none"}, 404, "none"),
        ({"untag": "fixed"}, 409, "is protected"),
        ({"tag": "fixed", "ref": "words@1.0.1", "move": "fixed@1.0.0"}, 409, "is protected"),
    ):
        got = editor.send(**{"owner": "not saved", **fields})
        assert editor.repo.version(fields.get("ref", REF)).description is None
        alert = re.search(r'role="alert">(.*?)</p>', got.text, re.DOTALL)[1]
        assert (got.status, words in alert) == (status, True), got.text
        assert "no &lt;license&gt;" in got.text or "license" not in fields
        assert ">\ntyped</textarea>" in got.text or "text" not in fields
    assert editor.send(action="nothing").status == 404
    assert editor.ask("/-/edit", "POST", urlencode({"secret": editor.secret(), "ref": "none"})).status == 404
    assert editor.ask("/-/edit", "POST", urlencode({"secret": editor.secret()})).status == 400


def test_texts_of_others_are_not_replaced_unseen(editor: Editor) -> None:
    """A form of a page from before another description is refused, and may be sent again."""
    fields = {"ref": REF, "secret": editor.secret(), "number": "", "text": "mine"}
    editor.repo.version(REF).describe("theirs")
    got = editor.ask("/-/edit", "POST", urlencode(fields))
    assert (got.status, editor.repo.version(REF).description.text) == (409, "theirs")
    assert ">\nmine</textarea>" in got.text
    assert 'name="number" value="1"' in got.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost"},
        {"Origin": "", "Sec_Fetch_Site": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "http://evil.example", "Sec_Fetch_Site": ""},
        {"Origin": "http://["},
        {"Origin": "http://[", "Sec_Fetch_Site": ""},
    ],
)
def test_forms_of_other_sites_change_nothing(editor: Editor, headers: dict[str, str]) -> None:
    """With the cookie and even with the secret; what they say is not shown."""
    form = urlencode({"secret": editor.secret(), "ref": REF, "tag": "best", "text": "theirs"})
    got = editor.ask("/-/edit", "POST", form, **headers)
    assert (got.status, got.headers["Connection"]) == (403, "close")
    assert "theirs" not in got.text
    assert editor.repo.tagged("words") == {"production": "1.0.1"}
    assert editor.ask("/-/edit", "POST", form, Sec_Fetch_Site="").status == 303  # of an older browser


def test_forms_without_the_secret_or_the_token_change_nothing(editor: Editor) -> None:
    """Each alone does not suffice; neither does a form that is none."""
    secret = editor.secret()
    for body in (
        "", "ref=words@1.0.0&tag=best", f"secret={secret[:-1]}&ref={REF}&tag=best", "secret=&tag=best",
        f"secret={secret}&" + "a=b&" * 100, f"secret={secret}&tag=%ff", f"secret={secret}\u00e4" + "&x" * 9,
        f"secret={quote(secret)}&text=" + "x" * (1 << 20), '{"secret": "x"}',
    ):  # fmt: skip
        assert editor.ask("/-/edit", "POST", body.encode()).status == 403
    body = f"secret={secret}&ref={REF}&tag=best"
    assert editor.ask("/-/edit", "POST", body, Cookie="").status == 401
    assert (
        editor.ask("/-/edit", "POST", body, Host="evil.example", Origin="http://evil.example").status == 421
    )
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        assert editor.ask(f"/-/edit?{body}", method).status in (404, 405)
    for path in (f"/{REF}/a.txt", "/-/", "/-/a/b"):
        assert editor.ask(path, "POST", body).status == 405
    assert editor.repo.tagged("words") == {"production": "1.0.1"}


def test_a_form_that_does_not_arrive_is_given_up(editor: Editor, monkeypatch) -> None:
    """A client that stops in the middle of a form gets an answer and its connection ends."""
    monkeypatch.setattr(editing, "_PATIENCE", 0.2)
    port = editor.server.port
    head = f"POST /-/edit HTTP/1.1\r\nHost: localhost:{port}\r\nCookie: dataver-{port}={TOKEN}\r\n"
    head += f"Origin: http://localhost:{port}\r\nContent-Length: 1000\r\n\r\nsecret="
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        plain.sendall(head.encode())
        received = b""
        while part := plain.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 403 ")


def test_without_editing_there_are_no_forms(pages: Pages) -> None:
    """A page has none, and a POST is refused whatever it says."""
    assert 'method="post"' not in pages.page("version", ref="shop/prices@1.0.2")
    for path in ("/-/edit", "/-/version?ref=shop/prices@1.0.2"):
        got = pages.ask(path, "POST", "ref=shop/prices@1.0.2&tag=x", Origin=pages.server.url)
        assert got.status == 405
        assert "read-only" in got.text
