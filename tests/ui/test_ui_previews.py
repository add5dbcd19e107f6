"""What the page of a file shows, by its kind."""

import sys

import pytest

from dataver import extras
from ui.example import HOSTILE_PROFILES

PRICES = {"ref": "shop/prices@1.0.2", "path": "prices.parquet"}


def shown(pages, path, ref="odd/names@1.0.0", **query):
    """Return the preview and the page of a file."""
    found = pages.document("version", ref=ref, path=path, **query)["preview"]
    return found, pages.page("version", ref=ref, path=path, **query)


def test_a_table_has_its_columns_with_histograms_and_its_first_rows(pages):
    """From its profile, without a byte of the file."""
    found, page = shown(pages, **PRICES)
    assert [each["name"] for each in found["columns"]] == ["id", "product", "price", "sold", "day", "note"]
    assert found["columns"][0]["drawn"]["counts"] == [500] * 10
    assert found["columns"][1]["drawn"]["values"] == 5
    assert found["read"] == 0
    assert [row[0] for row in found["rows"]] == list(range(50))
    assert "fig &lt;b&gt;" in page


@pytest.mark.parametrize("row", [50, 1_010, 4_990])
def test_rows_of_parquet_page(pages, row):
    """From any row on, by the row group that holds it."""
    found, page = shown(pages, row=row, **PRICES)
    assert [each[0] for each in found["rows"]] == list(range(row, min(row + 50, 5_000)))
    assert 0 < found["read"] < 2_000_000
    assert found["place"]["next"] == (row + 50 if row < 4_950 else None)
    assert f"rows {row:,}" in page


def test_rows_of_text_page(pages):
    """By reading the beginning; the types are those that were read."""
    found, _ = shown(pages, "sample.csv", "shop/prices@1.0.2", row=350)
    assert [row[0] for row in found["rows"]] == list(range(350, 400))
    assert [each["type"] for each in found["columns"]] == ["int64", "string", "double"]
    assert found["place"]["next"] is None


def test_without_a_profile_the_page_says_how_to_make_one(pages):
    """And has the schema and the rows nevertheless."""
    found, page = shown(pages, "labels.csv", "vision/cats@1.0.0")
    assert found["rows"][0] == ["0000.jpg", "cat"]
    found, page = shown(pages, "prices.parquet", "log/tables@1.0.0")
    assert found["columns"][0] == {
        "name": "id",
        "type": "int64",
        "nullable": True,
        "drawn": None,
        "unread": False,
    }
    assert found["rows"][0][0] == 0
    assert "dataver profile log/tables@1.0.0" in page


def test_texts_page_with_line_numbers(pages):
    """A link leads to the next lines; the last page has none."""
    found, page = shown(pages, "long.txt")
    assert found["lines"][:2] == ["line 0", "line 1"]
    assert len(found["lines"]) == 1_000
    seen = len(found["lines"])
    while found["next"]:
        assert found["next"]["line"] == seen + 1
        found, page = shown(pages, "long.txt", **found["next"])
        assert found["lines"][0] == f"line {seen}"
        seen += len(found["lines"])
    assert seen == 30_000
    assert 'start="29001"' in page


def test_html_and_svg_are_not_rendered(pages):
    """HTML is text; SVG an image from its own, sandboxed address."""
    _, page = shown(pages, "page.html")
    assert "&lt;script&gt;document.title" in page
    _, page = shown(pages, "drawing.svg", "vision/cats@1.0.1")
    assert '<img src="/vision/cats@1.0.1/drawing.svg"' in page
    assert "<script>alert" not in page
    assert pages.ask("/vision/cats@1.0.1/drawing.svg").headers["Content-Security-Policy"] == "sandbox"


def test_markdown_is_sanitised(pages):
    """Rendered, with its source."""
    _, page = shown(pages, "notes.md")
    assert "<strong>bold</strong>" in page
    assert "<script>alert" not in page


def test_notebooks_show_text_and_bitmaps_only(pages):
    """Markdown is sanitised; HTML, SVG and what is no base64 are left out."""
    found, page = shown(pages, "book.ipynb")
    outputs = found["cells"][2]["outputs"]
    assert outputs[0]["picture"].startswith("data:image/png;base64,iVBOR")
    assert outputs[1:] == [{"text": ""}, {"text": ""}, {"text": "Error: <b>\n"}]
    assert "<script>alert" not in page
    assert "<svg onload" not in page
    assert "onerror='alert" not in page
    assert "print(1 &lt; 2)" in page


def test_json_is_a_tree(pages):
    """Of values, of which few are shown."""
    found, page = shown(pages, "deep.json")
    assert found["tree"]["items"][0]["name"] == "a"
    assert "&#34;&lt;b&gt;&#34;" in page


def test_headers_of_tensors_and_lists_of_archives(pages):
    """Names, types and shapes; members and sizes."""
    assert shown(pages, "model.safetensors")[0]["arrays"][1] == {
        "name": "layer.weight", "shape": [64, 32], "dtype": "F32",
    }  # fmt: skip
    assert shown(pages, "matrix.npy")[0]["arrays"][0]["shape"] == [20, 30]
    found, page = shown(pages, "some.zip")
    assert found["members"] == [["<b>member</b>", 100]]
    assert "<b>member" not in page
    assert shown(pages, "some.tar.gz")[0]["members"] == [["inside/notes.md", 45]]


def test_other_files_show_their_first_bytes(pages):
    """In hexadecimal."""
    found, page = shown(pages, "bytes.bin")
    assert found["bytes"][0][1] == "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"
    assert len(found["bytes"]) == 32
    assert "0123456789:;" in page


def test_sound_has_its_waveform(pages):
    """From the profile, and an element that plays it."""
    found, page = shown(pages, "audio/tone0.wav", "vision/cats@1.0.1")
    assert found["peaks"]
    assert '<audio controls preload="metadata" src="/vision/cats@1.0.1/audio/tone0.wav"' in page
    assert "<polygon" in page


def test_video_is_an_element_that_asks_for_ranges(pages):
    """Of the file itself, which the server sends in parts."""
    found, page = shown(pages, "clip.mp4", "log/tables@1.0.0")
    assert found["kind"] == "video"
    assert '<video controls preload="metadata" src="/log/tables@1.0.0/clip.mp4"' in page
    reply = pages.ask("/log/tables@1.0.0/clip.mp4", Range="bytes=3-7")
    assert (reply.status, reply.text, reply.headers["Content-Type"]) == (206, "video", "video/mp4")


@pytest.mark.parametrize("path", ["broken.parquet", "broken.json", "nested.json"])
def test_broken_files_have_a_sentence(pages, path):
    """And what they hold as text."""
    found, page = shown(pages, path)
    assert found["note"]
    assert found["lines"]
    assert 'class="note"' in page


@pytest.mark.parametrize("path", list(HOSTILE_PROFILES))
def test_stored_profiles_are_not_trusted(pages, path):
    """One that has not the form of its kind becomes a sentence, and the file is shown as text."""
    found, page = shown(pages, path, "log/tables@1.0.0")
    assert found["lines"] == [f"some text of {path}"]
    assert "onerror='" not in page
    assert "<b>" not in page


def test_a_missing_package_is_a_sentence(pages, monkeypatch):
    """That says what to install; texts are shown as text."""
    for name in ("pyarrow", "duckdb", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    found, _ = shown(pages, "sample.csv", "log/tables@1.0.0")
    assert "pip install 'dataver[tables]'" in found["note"]
    assert found["lines"][0] == "id,product,price"
    found, page = shown(pages, "test/0000.jpg", "vision/cats@1.0.0")
    assert found["kind"] == "image"
    assert 'class="picture"' in page
