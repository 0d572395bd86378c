"""WAV files, written by the standard library, by SciPy and byte by byte."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.io import wavfile

from jconv.training.data.formats import DataError, read_wav

PCM_GUID = bytes.fromhex("000000001000800000aa00389b71")  # after the tag


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def riff(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def form(tag: int, channels: int, bits: int, *, align: int | None = None) -> bytes:
    align = channels * bits // 8 if align is None else align
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, 8000, 8000 * align, align, bits))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_integers_of_the_standard_library(tmp_path: Path, width: int, channels: int):
    full = 2 ** (8 * width - 1)
    values = np.array([[-full, full - 1], [0, 1], [-1, full // 2]])[:, :channels]
    stored = values + full if width == 1 else values  # 8 bits have no sign
    data = b"".join(
        int(value).to_bytes(width, "little", signed=width > 1) for value in stored.ravel()
    )
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(11025)
        file.writeframes(data)
    samples, rate = read_wav(tmp_path / "a.wav")
    assert (samples.dtype, rate) == (np.float32, 11025)
    np.testing.assert_allclose(samples, values / full, rtol=1e-7)


@given(
    st.sampled_from(["uint8", "int16", "int32", "float32", "float64"]),
    st.integers(1, 3),
    st.integers(1, 9),
)
def test_files_of_scipy(tmp_path_factory, dtype: str, channels: int, length: int):
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    waves = np.random.default_rng(length).uniform(-1, 1, (length, channels))
    if dtype.startswith("float"):
        values, expected = waves.astype(dtype), waves
    else:
        full, zero = 2 ** (8 * np.dtype(dtype).itemsize - 1), 128 if dtype == "uint8" else 0
        values = (np.trunc(waves * full) + zero).astype(dtype)
        expected = (values.astype(float) - zero) / full
    wavfile.write(path, 44100, values)
    samples, rate = read_wav(path)
    assert rate == 44100
    np.testing.assert_allclose(samples, expected, rtol=1e-6, atol=1e-7)


def test_the_extensible_form_and_other_chunks(tmp_path: Path):
    extended = struct.pack("<HHIIHH", 0xFFFE, 2, 48000, 288000, 6, 24)
    extended += struct.pack("<HHIH", 22, 24, 3, 1) + PCM_GUID
    data = bytes([0, 0, 0x80, 0xFF, 0xFF, 0x7F])
    file = riff(chunk(b"LIST", b"odd"), chunk(b"fmt ", extended), chunk(b"data", data))
    samples, rate = read_wav(write(tmp_path / "a.wav", file))
    np.testing.assert_allclose(samples, [[-1, 1 - 2**-23]])
    assert rate == 48000


def test_a_recording_of_nothing(tmp_path: Path):
    samples, _ = read_wav(write(tmp_path / "a.wav", riff(form(1, 2, 16), chunk(b"data", b""))))
    assert samples.shape == (0, 2)


SILENCE = chunk(b"data", bytes(8))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"ID3\x04 an mp3 it is", r"begins with b'ID3.*', expected b'RIFF....WAVE' of a WAV file"),
        (b"RIFF\0\0\0\0AVI ", r"begins with b'RIFF.*AVI ', expected"),
        (riff(form(1, 1, 16)), r"is cut short: no chunk b'data', only \[b'fmt '\]"),
        (riff(SILENCE), r"is cut short: no chunk b'fmt ', only \[b'data'\]"),
        (riff(form(2, 1, 4), SILENCE), "holds format 2 of 4 bits, expected 1 .*uncompressed"),
        (riff(form(7, 1, 8), SILENCE), "holds format 7 of 8 bits"),
        (riff(form(1, 1, 12, align=2), SILENCE), "holds format 1 of 12 bits"),
        (riff(form(3, 1, 16), SILENCE), "holds format 3 of 16 bits"),
        (riff(form(1, 0, 16), SILENCE), "is damaged: 0 channels of 16 bits in frames of 0 bytes"),
        (riff(form(1, 1, 16, align=4), SILENCE), "is damaged: 1 channels of 16 bits in frames of"),
        (riff(form(1, 3, 16), SILENCE), "is damaged: 3 channels .* frames of 6 bytes, 8 bytes in"),
        (riff(chunk(b"fmt ", b"\1\0"), SILENCE), "cannot be read: unpack_from requires a buffer"),
    ],
)
def test_what_is_no_wav_file(tmp_path: Path, data: bytes, message: str):
    with pytest.raises(DataError, match=f"a.wav': {message}"):
        read_wav(write(tmp_path / "a.wav", data))


def test_a_file_cut_short_anywhere(tmp_path: Path):
    whole = riff(form(1, 1, 16), chunk(b"data", bytes(20)))
    for end in range(1, len(whole)):
        path = write(tmp_path / "a.wav", whole[:end])
        with pytest.raises(DataError, match=r"a.wav': (begins with|is cut short)"):
            read_wav(path)
    with pytest.raises(DataError, match="is cut short: 17 of the 20 bytes of chunk b'data'"):
        read_wav(write(tmp_path / "a.wav", whole[:-3]))
