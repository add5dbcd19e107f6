"""Events, bundles of them and attachments: their bytes, and what is refused."""

from datetime import UTC, datetime, timedelta

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import FormatTooNew, IntegrityError, InvalidInput
from dataver.formats.bundle import (
    MAX_ATTACHMENT,
    MAX_BUNDLE,
    attachment_digest,
    encode_attachment,
    encode_bundle,
    parse_attachment,
    parse_bundle,
)
from dataver.formats.event import (
    Context,
    Event,
    Link,
    RunFacts,
    Subset,
    check_run_key,
    link_id,
    new_event_id,
    parse_event,
)

NOW = datetime(2026, 11, 1, 12, 30, 15, 5, tzinfo=UTC)
LINK = Link(
    role="input",
    dataset="vision/cats",
    label="1.0.1",
    record="ab" * 32,
    tree="cd" * 32,
    subset=Subset(patterns=("train/**",), shard=(0, 8)),
    files=3,
    size=1 << 40,
    time=NOW,
    how="fetch",
    context="mlflow:4f1c",
)
EVENT = Event(
    id="019aa1b2c3d4" + "0" * 20,
    written=NOW,
    tool="dataver 0.1",
    run=RunFacts(
        key="dataver:" + "5" * 32,
        process="6" * 32,
        sequence=2,
        started=NOW,
        name="train",
        contexts=(Context(system="mlflow", id="4f1c", kind="tracker", facts={"experiment": "Zoë"}),),
        facts={"argv": ["train.py", "--lr", "0.1"], "git": {"commit": "c0ffee", "dirty": True}},
    ),
    links=(LINK,),
)
GOLDEN = (
    '{"format":1,"id":"019aa1b2c3d400000000000000000000","links":[{"context":"mlflow:4f1c",'
    '"dataset":"vision/cats","files":3,"how":"fetch","label":"1.0.1","record":"'
    + "ab"
    * 32
    + '","role":"input","size":1099511627776,"subset":{"patterns":["train/**"],"shard":[0,8]},'
    '"time":"2026-11-01T12:30:15.000005Z","tree":"' + "cd" * 32 + '","write_id":null}],'
    '"run":{"contexts":[{"facts":{"experiment":"Zoë"},"id":"4f1c","kind":"tracker","system":"mlflow"}],'
    '"ended":null,"facts":{"argv":["train.py","--lr","0.1"],"git":{"commit":"c0ffee","dirty":true}},'
    '"key":"dataver:55555555555555555555555555555555","name":"train","outcome":null,"part_of":null,'
    '"process":"66666666666666666666666666666666","sequence":2,"started":"2026-11-01T12:30:15.000005Z"},'
    '"tool":"dataver 0.1","written":"2026-11-01T12:30:15.000005Z"}'
).encode()


def test_the_bytes_of_an_event_are_pinned():
    """An event, byte for byte, and the identity of its link: indexes everywhere depend on it."""
    assert EVENT.encode() == b'{"checksum":"d15ab3d0cd7f4e90",' + GOLDEN[1:]
    assert parse_event(EVENT.encode()) == EVENT
    assert parse_event(GOLDEN) == EVENT  # as it was written before events had a checksum
    assert link_id(EVENT.run.key, LINK).hex() == "3c5af14086a3bcf2513574ac6240f040"


def test_a_link_is_the_same_link_whoever_noted_it_and_when():
    """Time, way and counts are no part of a link's identity; what was read, and in which run, is."""
    mine = link_id("dataver:a", LINK)
    for change in ({"time": NOW + timedelta(1)}, {"how": "read"}, {"files": 9}, {"size": 9}, {"label": None}):
        assert link_id("dataver:a", LINK._replace(**change)) == mine
    others = [{"role": "output"}, {"tree": "00" * 32}, {"record": "00" * 32}, {"subset": Subset()}]
    others += [{"context": None}, {"dataset": "other"}, {"subset": Subset(patterns=("train/**",))}]
    found = {link_id("dataver:a", LINK._replace(**change)) for change in others}
    assert len(found | {mine, link_id("dataver:b", LINK)}) == len(others) + 2
    output = LINK._replace(role="output", write_id="0f" * 16)
    assert link_id("dataver:a", output) == link_id("dataver:a", output._replace(record=None))


def test_what_a_link_excludes_is_part_of_what_it_is():
    """An exclusion is one more list of a subset; a link without one has the bytes it always had."""
    left_out = Subset(exclude=("*.tmp", "train/bad"))
    assert left_out and left_out.values() == {"exclude": ["*.tmp", "train/bad"]}
    assert Subset.of(left_out.values()) == left_out
    both = LINK._replace(subset=LINK.subset._replace(exclude=("*.tmp",)))
    event = EVENT._replace(links=(both,))
    assert parse_event(event.encode()) == event
    assert link_id("dataver:a", both) != link_id("dataver:a", LINK)
    for wrong in ("*.tmp", [1], ["x"] * 2_001):
        with pytest.raises(IntegrityError, match="subset"):
            Subset.of({"exclude": wrong})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"format":1', b'"format":0'),
        (b'"role":"input"', b'"role":"reader"'),
        (b'"dataset":"vision/cats"', b'"dataset":"../../etc"'),
        (b'"label":"1.0.1"', b'"label":"latest"'),
        (b'"size":1099511627776', b'"size":-1'),
        (b'"size":1099511627776', b'"size":9223372036854775808'),
        (b'"shard":[0,8]', b'"shard":[8,8]'),
        (b'"shard":[0,8]', b'"shard":[true,8]'),
        (b'"patterns":["train/**"]', b'"patterns":[1]'),
        (b'"patterns":["train/**"]', b'"patterns":"train"'),
        (b'"record":"ab', b'"record":"zz'),
        (b'"record":"' + b"ab" * 32 + b'"', b'"record":null'),
        (b'"time":"2026-11', b'"time":"2026-13'),
        (b'"kind":"tracker"', b'"kind":"boss"'),
        (b'"system":"mlflow"', b'"system":"ML flow"'),
        (b'{"experiment":"Zo\xc3\xab"}', b'{"experiment":1}'),
        (b'"key":"dataver:', b'"key":"DROP TABLE runs;'),
        (b'"key":"dataver:', b'"key":"dataver: '),
        (b'"key":"dataver:', '"key":"dataver:\u202e'.encode()),
        (b'"key":"dataver:', '"key":"dataver:\x9b'.encode()),
        (b'"key":"dataver:', '"key":"dataver:\u2028'.encode()),
        (b'"context":"mlflow:4f1c"', '"context":"mlflow:\u200b"'.encode()),
        (b'"outcome":null', b'"outcome":"fine"'),
        (b'"process":"66', b'"process":"6G'),
        (b'"sequence":2', b'"sequence":-2'),
        (b'"facts":{"argv":["train.py","--lr","0.1"]', b'"facts":[{"argv":["train.py","--lr","0.1"]'),
        (b'"0.1"]', b'"0.1",' + b"[" * 40 + b"]" * 41),
        (b'"0.1"]', b'"0.1",' + b"[" * 300_000 + b"]" * 300_001),
        (b'"links":[{', b'"links":[1,{'),
        (b'"files":3', b'"files":3,"files":3'),
    ],
)
def test_damaged_events_are_refused(old, new):
    """Every field has its type and its bounds, and a key cannot change how a line is shown."""
    assert GOLDEN.count(old) >= 1
    with pytest.raises(IntegrityError):
        parse_event(GOLDEN.replace(old, new, 1))


def test_a_newer_event_is_refused_by_number():
    """Both numbers are named, and keys that are not known are passed over."""
    with pytest.raises(FormatTooNew, match=r"format 2.*up to 1"):
        parse_event(GOLDEN.replace(b'"format":1', b'"format":2'))
    assert parse_event(GOLDEN.replace(b'"id":', b'"hello":[1],"id":')) == EVENT


@given(st.binary(max_size=200), st.integers(0, len(GOLDEN) - 1), st.integers(0, 255))
def test_damage_is_refused_or_harmless(data, place, byte):
    """Random, truncated and changed bytes raise only our errors, in bundles too."""
    for bad in (data, GOLDEN[:place], GOLDEN + b"\n"):
        with pytest.raises((IntegrityError, FormatTooNew)):
            parse_event(bad)
        with pytest.raises(IntegrityError):
            parse_bundle(bad, "0" * 32)
        with pytest.raises(IntegrityError):
            parse_attachment(bad, "0" * 64)
    try:
        parse_event(GOLDEN[:place] + bytes([byte]) + GOLDEN[place + 1 :])
    except (IntegrityError, FormatTooNew):
        pass


def test_what_an_event_cannot_hold_is_refused_before_it_is_written():
    """Bad values of a caller are InvalidInput; so are names of runs that nobody could type."""
    for run in (
        EVENT.run._replace(key="no system"),
        EVENT.run._replace(facts={"a": float("nan")}),
        EVENT.run._replace(started=datetime(2026, 1, 1)),
        EVENT.run._replace(facts={"a": "x" * (1 << 20)}),
    ):
        with pytest.raises(InvalidInput):
            EVENT._replace(run=run).encode()
    for key in ("", "mlflow", "mlflow:", "Mlflow:1", "a:b c", "a:\x1b[31m", "a:" + "b" * 481, "a:\u2066b"):
        with pytest.raises(InvalidInput):
            check_run_key(key)
    for key in (
        "mlflow:4f1c",
        "wandb:team/project/ab12",
        "slurm:hpc/12_3",
        "x:größe-日本",
        "airflow:a/b/1~é",
    ):
        assert check_run_key(key) == key


def test_ids_sort_by_time_whatever_the_clock_shows():
    """A later event has a greater id; clocks out of range are taken as the nearest end of it."""
    ids = [new_event_id(seconds * 10**9) for seconds in (-5, 0, 1, 1_800_000_000, 32_503_679_999, 10**12)]
    times = [each[:12] for each in ids]
    assert times == sorted(times)
    assert times[0] == times[1] == "0" * 12
    assert ids[-1][:12] == f"{32_503_679_999_999:012x}"
    assert all(len(each) == 32 for each in ids)
    assert len({new_event_id(0) for _ in range(100)}) == 100


def events(count):
    return [EVENT._replace(id=f"{number:012x}{'7' * 20}") for number in range(count)]


def test_a_bundle_says_what_its_events_said():
    """The same events in any order, with doubles, make the same bundle; its id sorts with its last event."""
    some = events(50)
    name, data = encode_bundle(reversed(some))
    assert (name, data) == encode_bundle(some + some)
    assert parse_bundle(data, name) == (some, [])
    assert name[:12] == some[-1].id[:12]
    assert len(data) < 50 * 60


def test_a_bundle_that_lies_is_refused():
    """Another's name, a bomb, a size that is not stated, bytes behind it, and no events at all."""
    name, data = encode_bundle(events(2))
    bomb = zstandard.ZstdCompressor().compress(bytes(MAX_BUNDLE + 1))
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 30))
    for bad, as_name in (
        (data, name[:12] + "0" * 20),
        (bomb, name),
        (stream, name),
        (data + b"x", name),
        (data[:-1], name),
        (zstandard.compress(b""), name),
    ):
        with pytest.raises(IntegrityError):
            parse_bundle(bad, as_name)
    for bad in ([], events(6000)):
        with pytest.raises(InvalidInput):
            encode_bundle(bad)


def test_one_bad_line_does_not_spoil_a_bundle():
    """What a newer or broken program put beside our events is named by its line; the others are read."""
    from dataver.hashing import CONTEXT_BUNDLE, derived

    lines = [GOLDEN, b"{}", GOLDEN.replace(b'"format":1', b'"format":9'), b"", GOLDEN]
    content = b"".join(line + b"\n" for line in lines)
    name = "0" * 12 + derived(CONTEXT_BUNDLE, content).hex()[:20]
    found = parse_bundle(zstandard.compress(content), name)
    assert found.events == [EVENT, EVENT]
    assert [problem.partition(":")[0] for problem in found.problems] == ["line 2", "line 3", "line 4"]


@given(st.binary(max_size=2000))
def test_attachments_are_what_their_name_says(raw):
    """Any bytes come back, and never under another name."""
    digest, data = attachment_digest(raw), encode_attachment(raw)
    assert parse_attachment(data, digest) == raw
    with pytest.raises(IntegrityError):
        parse_attachment(data, attachment_digest(raw + b"x"))


def test_attachments_are_bounded():
    """Too long is refused when written, and when read before it is unpacked."""
    with pytest.raises(InvalidInput, match="the limit"):
        encode_attachment(bytes(MAX_ATTACHMENT + 1))
    with pytest.raises(IntegrityError, match="at most"):
        parse_attachment(zstandard.compress(bytes(MAX_ATTACHMENT + 1)), "0" * 64)
