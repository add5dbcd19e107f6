"""A web page with status 200 in place of a small object of JSON."""

import pytest

from dataver.errors import IntegrityError
from dataver.formats.block import parse_block
from dataver.formats.bundle import parse_attachment, parse_bundle
from dataver.formats.compression import make_decompressor
from dataver.formats.config import parse_config
from dataver.formats.event import parse_event
from dataver.formats.external import parse_external
from dataver.formats.frame import decode_frames
from dataver.formats.pack import parse_trailer
from dataver.formats.record import parse_record
from dataver.formats.tag import parse_tag_move
from dataver.formats.tombstone import parse_tombstone


@pytest.mark.parametrize("parse", [parse_config, parse_record, parse_tag_move, parse_tombstone, parse_event])
def test_a_web_page_is_called_that(parse):
    """Each kind of object says what came instead of it."""
    with pytest.raises(IntegrityError, match="is a web page"):
        parse(b"\n<!doctype html><title>Sign in</title>")


@pytest.mark.parametrize(
    "parse",
    [
        lambda page: parse_block(page, bytes(32)),
        lambda page: parse_external(page, bytes(33)),
        lambda page: parse_trailer(page, len(page)),
        lambda page: parse_bundle(page, "0" * 32),
        lambda page: parse_attachment(page, "0" * 64),
        lambda page: list(decode_frames(memoryview(page), make_decompressor())),
    ],
    ids=["block", "external pack", "pack", "bundle", "attachment", "frames"],
)
@pytest.mark.parametrize(
    "page", [b"<html>", b"<!doctype html><title>Sign in</title>" + b"<p>Password:</p>" * 30]
)
def test_a_web_page_is_no_binary_object(parse, page):
    """Short or long, it is called what it is, and not cut off or damaged."""
    with pytest.raises(IntegrityError, match="is a web page"):
        parse(page)
