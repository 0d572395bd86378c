"""Data that packages carry: shapes, ranges, and that they stay what results were obtained on."""

import zlib

import numpy as np

from jconv.training.data.embedded import digits, photographs, series


def test_digits():
    training, held_out = digits()
    assert (len(training), len(held_out)) == (1437, 360)
    for part in (training, held_out):
        assert part.inputs.shape[1:] == (8, 8, 1)
        assert (part.inputs.dtype, part.targets.dtype) == (np.float32, np.int32)
        assert (part.inputs.min(), part.inputs.max()) == (0, 1)
    counts = np.bincount(held_out.targets)
    np.testing.assert_allclose(counts, np.bincount(training.targets) / 4, atol=1)
    seen = {picture.tobytes() for picture in training.inputs}
    assert not any(picture.tobytes() in seen for picture in held_out.inputs)


def test_the_held_out_digits_are_always_the_same():
    _, held_out = digits()
    values = (16 * held_out.inputs).astype(np.uint8)
    assert zlib.crc32(values.tobytes()) == 1814970648
    assert zlib.crc32(held_out.targets.astype("<i4").tobytes()) == 1473915990


def test_photographs():
    found = photographs()
    for picture in found:
        assert (picture.shape, picture.dtype) == ((427, 640, 3), np.uint8)
    red, _, blue = found.flower[150:280, 250:400].mean((0, 1))
    assert red > 2 * blue  # an orange flower
    assert found.china[:50].mean() > 180  # the sky


def test_the_series_is_weekly_and_without_gaps():
    times, values, measured = series()
    assert len(times) == len(values) == len(measured) == 2284
    assert (values.dtype, measured.dtype) == (np.float32, bool)
    np.testing.assert_array_equal(np.diff(times), np.timedelta64(7, "D"))
    assert str(times[0]) == "1958-03-29"
    assert np.isfinite(values).all()
    assert (values > 310).all()
    assert (values < 375).all()
    assert (~measured).sum() == 59
    starts = np.flatnonzero(np.diff(measured.astype(int)) == -1)
    lengths = np.flatnonzero(np.diff(measured.astype(int)) == 1) - starts
    assert (len(lengths), lengths.max()) == (22, 18)
    for start, length in zip(starts, lengths, strict=True):  # a straight line over the gap
        line = values[start : start + length + 2]
        np.testing.assert_allclose(np.diff(line), np.diff(line).mean(), atol=1e-4)
