"""Profiles of audio: real files, cut ones and lies."""

import io

import numpy as np
import pytest
import soundfile

from .sources import profile


def audio(form: str, seconds: float = 2.0, rate: int = 8000, channels: int = 2) -> bytes:
    """Return a tone that is twice as loud in its second half."""
    count = int(seconds * rate)
    tone = np.sin(np.arange(count) / 3)[:, None] * np.repeat([[0.25], [0.5]], count // 2, axis=0)
    data = io.BytesIO()
    soundfile.write(data, np.repeat(tone, channels, axis=1), rate, format=form)
    return data.getvalue()


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "AIFF"])
def test_length_rate_channels_and_peaks(form: str):
    found = profile(f"a.{form.lower()}", audio(form))
    assert (found["format"], found["rate"], found["channels"], found["seconds"]) == (form, 8000, 2, 2.0)
    peaks = found.pop("peaks")
    assert 400 <= len(peaks) <= 512
    assert 0.2 < max(peaks[: len(peaks) // 2 - 5]) < 0.35 and 0.4 < max(peaks[len(peaks) // 2 :]) < 0.65
    assert profile(f"a.{form.lower()}", audio(form), full=False) == {**found, "full": False}


def test_broken_files_have_a_problem():
    for data in (b"", b"RIFF", b"ID3" + bytes(1000), b"fLaC" + bytes(100)):
        assert profile("a.wav", data)["problem"]
    flac = audio("FLAC", seconds=20)
    assert profile("a.flac", flac[: len(flac) // 2])["problem"]


def test_a_header_that_states_more_than_there_is():
    """The file is read to its end, whatever the header says."""
    data = bytearray(audio("WAV"))
    place = data.index(b"data") + 4
    data[place : place + 4] = (2_000_000_000).to_bytes(4, "little")
    found = profile("a.wav", bytes(data))
    assert found["seconds"] == 2.0 or "problem" in found


def test_no_sound_at_all():
    found = profile("a.wav", audio("WAV", seconds=0))
    assert (found["seconds"], found["peaks"]) == (0.0, [])
