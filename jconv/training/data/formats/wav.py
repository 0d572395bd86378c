"""Recordings: WAV files."""

import struct
from typing import NamedTuple

import numpy as np

from jconv.pictures import FilePath
from jconv.training.data.formats.files import DataError, reading

INTEGERS, FLOATS, EXTENSIBLE = 1, 3, 0xFFFE  # format tags
DTYPES = {
    (INTEGERS, 8): "u1",
    (INTEGERS, 16): "<i2",
    (INTEGERS, 24): "<i4",
    (INTEGERS, 32): "<i4",
    (FLOATS, 32): "<f4",
    (FLOATS, 64): "<f8",
}


class Recording(NamedTuple):
    """Sound: `samples` `(length, channels)`, float32, integers scaled to -1 to 1; and its `rate`,
    samples a second."""

    samples: np.ndarray
    rate: int


def read_wav(path: FilePath) -> Recording:
    """A WAV file: integers of 8, 16, 24 or 32 bits or floats of 32 or 64, any number of channels.

    Raises:
      DataError: the file is missing, truncated, of another format or compressed.

    Source: IBM, Microsoft, "Multimedia programming interface and data specifications 1.0", 1991.
    """
    with reading(path) as file:
        chunks = _riff_chunks(path, file.read())
        tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
        if tag == EXTENSIBLE:
            (tag,) = struct.unpack_from("<H", chunks[b"fmt "], 24)
        if (tag, bits) not in DTYPES:
            raise DataError(
                path,
                f"holds format {tag} of {bits} bits, expected 1 (integers) of 8, 16, 24 or 32 or 3 "
                "(floats) of 32 or 64: save it uncompressed",
            )
        data = np.frombuffer(chunks[b"data"], np.uint8)
        if not channels or align != channels * bits // 8 or len(data) % align:
            raise DataError(
                path,
                f"is damaged: {channels} channels of {bits} bits in frames of {align} bytes, "
                f"{len(data)} bytes in all",
            )
        if bits == 24:  # as the high bytes of 32
            data = np.pad(data.reshape(-1, 3), ((0, 0), (1, 0))).reshape(-1)
        values = data.view(DTYPES[tag, bits]).reshape(-1, channels)
        samples = values.astype(np.float32)
        if tag == INTEGERS:
            zero = 128 if bits == 8 else 0  # only these are unsigned
            samples = (samples - zero) / 2 ** (8 * values.itemsize - 1)
        return Recording(samples, rate)


def _riff_chunks(path: FilePath, data: bytes) -> dict[bytes, bytes]:
    """The chunks of a WAV file by name: each a name, a length and as many bytes, evened."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise DataError(path, f"begins with {data[:12]!r}, expected b'RIFF....WAVE' of a WAV file")
    chunks: dict[bytes, bytes] = {}
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        chunks[name] = data[place + 8 : place + 8 + size]
        if len(chunks[name]) < size:
            raise DataError(
                path, f"is cut short: {len(chunks[name])} of the {size} bytes of chunk {name!r}"
            )
        place += 8 + size + size % 2
    for name in (b"fmt ", b"data"):
        if name not in chunks:
            raise DataError(path, f"is cut short: no chunk {name!r}, only {sorted(chunks)}")
    return chunks
