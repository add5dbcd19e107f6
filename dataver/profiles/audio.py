"""Profiles of audio: length, rate, channels, and the peaks that draw a waveform. Needs soundfile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import soundfile

if TYPE_CHECKING:
    from dataver.profiles.kinds import Profile, Source

__all__ = ["cheap", "full"]

_PEAKS: Final = 512
_BLOCK: Final = 1 << 18  # samples of all channels that are decoded at a time
_MOST: Final = 1 << 30  # samples that are decoded at most: 3 hours of CD audio


def cheap(source: Source) -> Profile:
    """Return what the header says."""
    with source.open() as file, soundfile.SoundFile(file) as sound:
        return _header(sound)


def full(source: Source) -> Profile:
    """Decode all of it; return what the header says and the peaks, each between 0 and 1."""
    with source.open() as file, soundfile.SoundFile(file) as sound:
        found = _header(sound)
        many = max(1, -(-sound.frames // _PEAKS))
        peaks = np.zeros(_PEAKS, np.float32)
        done = 0
        while done * sound.channels < _MOST:
            block = np.abs(sound.read(max(1, _BLOCK // sound.channels), "float32", always_2d=True)).max(
                axis=1
            )
            if not len(block):
                break
            places = np.minimum((done + np.arange(len(block))) // many, _PEAKS - 1)
            np.maximum.at(peaks, places, block)
            done += len(block)
        else:
            found["partial"] = f"only the first {done / sound.samplerate:.0f} seconds were decoded"
        if done < sound.frames and "partial" not in found:
            found["problem"] = f"it was cut: its header states {sound.frames:,} samples, and it has {done:,}"
        return found | {"peaks": [round(float(min(peak, 1)), 4) for peak in peaks[: -(-done // many)]]}


def _header(sound: soundfile.SoundFile) -> Profile:
    return {
        "format": sound.format,
        "encoding": sound.subtype,
        "seconds": round(sound.frames / sound.samplerate, 3),
        "rate": sound.samplerate,
        "channels": sound.channels,
    }
