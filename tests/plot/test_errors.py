"""Bad calls: each is a ValueError or TypeError that names the argument."""

import re
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jconv import plot
from jconv.analysis.receptive_field import ReceptiveField

KERNEL = np.ones((3, 3, 2, 4))
MAPS = np.ones((8, 6, 4))
PICTURE = np.ones((8, 6, 3))
BATCH = np.ones((2, 8, 6, 1))
FIELD = ReceptiveField((3, 3), (1, 1), (-1, -1), (False, False))
LINE = ReceptiveField((3,), (1,), (-1,), (False,))
X, TAPS = jnp.ones((6, 1)), jnp.ones((3, 1, 1))
TABLE = np.ones((3, 4))

kernels, feature_maps, responses = plot.kernels, plot.feature_maps, plot.responses
receptive_field, segmentation, curves = (
    plot.receptive_field,
    plot.segmentation,
    plot.learning_curves,
)
heat_map, confusion_matrix, steps = plot.heat_map, plot.confusion_matrix, plot.steps

# name: (call, error, what its text must hold)
CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    # arrays, which all functions read alike
    "words": (
        lambda: kernels(["a"]),
        TypeError,
        "`kernel` must be an array of real numbers, got dtype <U1",
    ),
    "complex numbers": (
        lambda: kernels(1j * KERNEL),
        TypeError,
        "`kernel` must be an array of real numbers, got dtype complex128",
    ),
    "rows of different lengths": (
        lambda: heat_map([[1, 2], [3]]),
        ValueError,
        "`values` must be (rows, columns) or (seeds, rows, columns), got rows of different lengths",
    ),
    # kernels
    "kernel without window": (
        lambda: kernels(KERNEL[0, 0]),
        ValueError,
        "`kernel` must be (*window, in_channels, out_channels) with a window of one or two axes; "
        "of a kernel with three take a slice, kernel[0], got shape (2, 4)",
    ),
    "kernel of three axes": (
        lambda: kernels(KERNEL[None]),
        ValueError,
        "got shape (1, 3, 3, 2, 4)",
    ),
    "kernel without channels": (lambda: kernels(KERNEL[..., :0]), ValueError, "(3, 3, 2, 0)"),
    "rgb of two channels": (
        lambda: kernels(KERNEL, rgb=True),
        ValueError,
        "`rgb` must be False unless `kernel` has 3 input channels, got 2",
    ),
    "rgb is a number": (
        lambda: kernels(KERNEL, rgb=1),
        TypeError,
        "`rgb` must be True or False, got 1",
    ),
    "own_scale is a word": (
        lambda: kernels(KERNEL, own_scale="yes"),
        TypeError,
        "`own_scale` must be True or False, got 'yes'",
    ),
    # feature maps
    "maps of a batch": (
        lambda: feature_maps(MAPS[None]),
        ValueError,
        "`maps` must be (height, width, channels) or (length, channels), of one example: maps[0], "
        "got shape (1, 8, 6, 4)",
    ),
    "picture of four channels": (
        lambda: feature_maps(MAPS, np.ones((8, 6, 4))),
        ValueError,
        "`picture` must be (height, width), (height, width, 1) or (height, width, 3), got shape "
        "(8, 6, 4)",
    ),
    "picture of one axis": (lambda: feature_maps(MAPS, np.ones(8)), ValueError, "got shape (8,)"),
    "picture normalized": (
        lambda: feature_maps(MAPS, 2 * PICTURE - 4),
        ValueError,
        "`picture` must be of uint8, or numbers from 0 (black) to 1 (white), got -2 to -2; undo a "
        "normalization: picture * std + mean",
    ),
    "picture of integers": (lambda: feature_maps(MAPS, 255 * PICTURE), ValueError, "255 to 255"),
    "picture of NaNs": (lambda: feature_maps(MAPS, np.nan * PICTURE), ValueError, "got nan to nan"),
    "signal of three axes": (
        lambda: feature_maps(MAPS[0], PICTURE),
        ValueError,
        "`picture` must be (length,) or (length, channels), got shape (8, 6, 3)",
    ),
    # responses
    "one picture": (
        lambda: responses(BATCH[0, ..., 0], KERNEL[:, :, :1], BATCH),
        ValueError,
        "`pictures` must be (batch, height, width, channels), got shape (8, 6)",
    ),
    "kernel that is no picture": (
        lambda: responses(BATCH, KERNEL, BATCH),
        ValueError,
        "`kernel` must have 1 or 3 input channels, got 2",
    ),
    "kernel of one axis": (
        lambda: responses(BATCH, KERNEL[0], BATCH),
        ValueError,
        "`kernel` must be (height, width, in_channels, out_channels), got shape (3, 2, 4)",
    ),
    "maps of other channels": (
        lambda: responses(BATCH, KERNEL[:, :, :1], BATCH),
        ValueError,
        "`maps` must hold a map for each picture and each output channel of `kernel`, here "
        "(2, height, width, 4), got shape (2, 8, 6, 1)",
    ),
    "maps of other pictures": (
        lambda: responses(BATCH[:1], KERNEL[:, :, :1, :1], BATCH),
        ValueError,
        "here (1, height, width, 1), got shape (2, 8, 6, 1)",
    ),
    "pictures of two channels": (
        lambda: responses(np.ones((2, 8, 6, 2)), KERNEL[:, :, :1, :1], BATCH),
        ValueError,
        "`pictures` must be (height, width), (height, width, 1) or (height, width, 3), got shape",
    ),
    "too few examples": (
        lambda: responses(BATCH, KERNEL[:, :, :1, :1], BATCH, examples=["a"]),
        ValueError,
        "`examples` must hold a name for each picture, here 2, got 1",
    ),
    "channels is a word": (
        lambda: responses(BATCH, KERNEL[:, :, :1, :1], BATCH, channels="a"),
        TypeError,
        "`channels` must be a sequence of names, got 'a'",
    ),
    # receptive fields
    "no fields": (
        lambda: receptive_field(PICTURE, {}),
        ValueError,
        "`fields` must hold at least one entry, got {}",
    ),
    "fields are sizes": (
        lambda: receptive_field(PICTURE, {"conv1": (3, 3)}),
        TypeError,
        "`fields['conv1']` must be what jconv.analysis.receptive_field returns, or such by name, "
        "got a tuple",
    ),
    "fields of one axis and of two": (
        lambda: receptive_field(PICTURE, {"a": FIELD, "b": LINE}),
        ValueError,
        "`fields` must all have one axis or all two, got [1, 2]",
    ),
    "too many fields": (
        lambda: receptive_field(PICTURE, dict.fromkeys(range(22), FIELD)),
        ValueError,
        "`fields` must be at most 21 to be told apart, got 22",
    ),
    "field without size": (
        lambda: receptive_field(PICTURE, {"a": ReceptiveField((None,) * 2, *[(1, 1)] * 3)}),
        ValueError,
        "`fields['a']` must have a size and an offset, got ReceptiveField(size=(None, None)",
    ),
    "field of nothing": (
        lambda: receptive_field(PICTURE, ReceptiveField((0, 0), *[(None, None)] * 3)),
        ValueError,
        "in a larger picture it may have them",
    ),
    "picture of a line": (
        lambda: receptive_field(PICTURE, LINE),
        ValueError,
        "`picture` must be (length,) or (length, channels), got shape (8, 6, 3)",
    ),
    "place outside": (
        lambda: receptive_field(PICTURE, FIELD, at=(2, 6)),
        ValueError,
        "`at` must be a position in the picture, of (8, 6), got (2, 6)",
    ),
    "place of one axis": (
        lambda: receptive_field(PICTURE, FIELD, at=(2,)),
        ValueError,
        "`at` must be",
    ),
    "place before the picture": (
        lambda: receptive_field(PICTURE, FIELD, at=-1),
        ValueError,
        "`at` must be at least 0, got -1",
    ),
    "effective of another shape": (
        lambda: receptive_field(PICTURE, FIELD, effective=np.ones((6, 8))),
        ValueError,
        "`effective` must be of the picture's shape (8, 6), got (6, 8)",
    ),
    "effective with channels": (
        lambda: receptive_field(PICTURE, FIELD, effective=PICTURE),
        ValueError,
        "`effective` must be of the picture's shape (8, 6), got shape (8, 6, 3)",
    ),
    "effective of both signs": (
        lambda: receptive_field(PICTURE, FIELD, effective=-np.ones((8, 6))),
        ValueError,
        "`effective` must be nowhere below 0, got -1; of a gradient take the size: jnp.abs",
    ),
    # steps
    "x of a batch": (
        lambda: steps(X[None], TAPS),
        ValueError,
        "`x` must be (length, in_channels) and `kernel` (window, in_channels, out_channels), got "
        "shapes (1, 6, 1) and (3, 1, 1)",
    ),
    "x without channels": (lambda: steps(X[:, 0], TAPS), ValueError, "got shapes (6,) and"),
    "x is a list": (lambda: steps([1.0, 2.0], TAPS), TypeError, "`x` must be an array, got list"),
    "kernel of two axes": (lambda: steps(X, KERNEL), ValueError, "and (3, 3, 2, 4)"),
    "complex signal": (lambda: steps(1j * X, TAPS), TypeError, "`x` must be real"),
    "channels differ": (lambda: steps(X, KERNEL[0]), ValueError, "`kernel` must be (*window, in_"),
    "kernel too long": (lambda: steps(X[:2], TAPS), ValueError, "`kernel` must fit into"),
    "no stride": (lambda: steps(X, TAPS, stride=0), ValueError, "`stride` must be at least 1"),
    "padding is a typo": (lambda: steps(X, TAPS, padding="SAMEE"), ValueError, "`padding` must be"),
    "bias of another size": (
        lambda: steps(X, TAPS, jnp.ones(2)),
        ValueError,
        "`bias` must have shape (1,)",
    ),
    "signal too long": (
        lambda: steps(jnp.ones((100, 1)), TAPS),
        ValueError,
        "`x` must be short enough to be read, at most 500 cells, got 9800 for an output of shape "
        "(98, 1); draw a part of it, x[:8], or fewer channels",
    ),
    # segmentation
    "mask with channels": (
        lambda: segmentation(PICTURE, PICTURE),
        ValueError,
        "`masks` must be (height, width), got shape (8, 6, 3)",
    ),
    "mask of probabilities": (
        lambda: segmentation(PICTURE, np.full((8, 6), 0.5)),
        ValueError,
        "`masks` must hold classes from 0 to 255, got 0.5 to 0.5; of logits take logits.argmax(-1)",
    ),
    "mask below 0": (lambda: segmentation(PICTURE, -TABLE), ValueError, "got -1 to -1"),
    "mask above 255": (lambda: segmentation(PICTURE, 256 * TABLE), ValueError, "got 256 to 256"),
    "one of two masks": (
        lambda: segmentation(PICTURE, {"predicted": TABLE, "truth": TABLE[0]}),
        ValueError,
        "`masks['truth']` must be (height, width), got shape (4,)",
    ),
    "no masks": (lambda: segmentation(PICTURE, {}), ValueError, "`masks` must hold at least one"),
    "labels too few": (
        lambda: segmentation(PICTURE, 2 * TABLE, ["none", "cat"]),
        ValueError,
        "`labels` must hold a name for each class, here 3, got 2",
    ),
    "opacity in percent": (
        lambda: segmentation(PICTURE, TABLE, opacity=50),
        ValueError,
        "`opacity` must be at least 0 and at most 1, got 50",
    ),
    "opacity is a word": (
        lambda: segmentation(PICTURE, TABLE, opacity="half"),
        TypeError,
        "`opacity` must be a number, got 'half'",
    ),
    # learning curves
    "curves without quantity": (
        lambda: curves({"training": [1.0]}),
        TypeError,
        '`curves` must be a dict of dicts: {"loss": {"training": values}}',
    ),
    "quantity without curves": (
        lambda: curves({"loss": {"training": [1.0]}, "accuracy": {}}),
        TypeError,
        "`curves` must be a dict of dicts",
    ),
    "curves are a list": (lambda: curves([1.0]), TypeError, "`curves` must be a dict of dicts"),
    "no curves": (lambda: curves({}), ValueError, "`curves` must have from 1 to 21 names"),
    "too many curves": (
        lambda: curves({"loss": {str(name): [1.0] for name in range(22)}}),
        ValueError,
        "`curves` must have from 1 to 21 names, to be told apart, got 22",
    ),
    "curve without values": (
        lambda: curves({"loss": {"training": []}}),
        ValueError,
        "`curves['loss']['training']` must be (times,) or (seeds, times), got shape (0,)",
    ),
    "times of another curve": (
        lambda: curves({"loss": {"training": [1.0, 2.0]}}, at=[0, 1, 2]),
        ValueError,
        "`at` must hold a time for each of the 2 values of `curves['loss']['training']`, got 3",
    ),
    "times of two axes": (
        lambda: curves({"loss": {"training": [1.0]}}, at=[[0]]),
        ValueError,
        "`at` must be (times,), got shape (1, 1)",
    ),
    "log of what is not drawn": (
        lambda: curves({"loss": {"training": [1.0]}}, log="training"),
        ValueError,
        "`log` must be among ['loss'], got 'training'",
    ),
    # heat maps
    "values of one axis": (lambda: heat_map([1.0, 2.0]), ValueError, "`values` must be (rows, col"),
    "one of two tables": (
        lambda: heat_map({"accuracy": TABLE, "cost": TABLE[0]}),
        ValueError,
        "`values['cost']` must be (rows, columns) or (seeds, rows, columns), got shape (4,)",
    ),
    "tables of different shapes": (
        lambda: heat_map({"accuracy": TABLE, "cost": TABLE.T}),
        ValueError,
        "`values` must agree in rows and columns, got [(3, 4), (4, 3)]",
    ),
    "names turned": (
        lambda: heat_map(TABLE, range(4), range(3)),
        ValueError,
        "`rows` must hold a name for each row, here 3, got 4",
    ),
    "too few columns": (
        lambda: heat_map(TABLE, columns=["a"]),
        ValueError,
        "`columns` must hold a name for each column, here 4, got 1",
    ),
    "format of integers": (
        lambda: heat_map(TABLE, format="d"),
        ValueError,
        "`format` must be that of a float, as '.3g', got 'd'",
    ),
    # confusion matrices
    "counts that are not square": (
        lambda: confusion_matrix(TABLE),
        ValueError,
        "`counts` must be (classes, classes), got shape (3, 4)",
    ),
    "counts are shares": (
        lambda: confusion_matrix([[0.5, 0.5], [0.0, 1.0]]),
        ValueError,
        "`counts` must be whole numbers from 0 up, got 0 to 1; for shares use heat_map",
    ),
    "counts below 0": (lambda: confusion_matrix([[-1]]), ValueError, "got -1 to -1"),
    "too many labels": (
        lambda: confusion_matrix([[1]], ["cat", "dog"]),
        ValueError,
        "`labels` must hold a name for each class, here 1, got 2",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_call_names_its_argument(name: str):
    call, error, text = CASES[name]
    with pytest.raises(error, match=re.escape(text)):
        call()
