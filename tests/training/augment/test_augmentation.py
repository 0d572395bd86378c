"""What holds for all augmentations: what changes, and that nothing else does."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from jconv.training.augment import (
    Affine,
    Augmentation,
    Colour,
    Compose,
    Crop,
    CutMix,
    Erase,
    Flip,
    MixUp,
    Noise,
    ResizedCrop,
)
from tests.quick import quick_jit
from tests.training.augment.batches import (
    KEY,
    LABELS,
    PICTURES,
    SERIES,
    VOLUMES,
    masks_of,
    run,
    shares,
)

# Each with some of its strengths, and without any.
STRONG: dict[str, Augmentation] = {
    "flip": Flip(),
    "crop": Crop(padding=2, padding_mode="reflect"),
    "resized crop": ResizedCrop(),
    "affine": Affine(rotation=30, zoom=0.2, shift=(1.5, 0)),
    "colour": Colour(0.3, 0.3, 0.3, 20),
    "noise": Noise(0.1),
    "erase": Erase(probability=0.9),
    "mixup": MixUp(5),
    "cutmix": CutMix(5),
}
WEAK: dict[str, Augmentation] = {
    "flip": Flip(0, probability=0),
    "crop": Crop(),
    "resized crop": ResizedCrop(area=(1, 1), aspect=1),
    "affine": Affine(),
    "colour": Colour(),
    "noise": Noise(0),
    "erase": Erase(probability=0),
    "erase nothing": Erase(area=(0, 0), probability=1),
    "mixup": MixUp(5, alpha=0),
    "cutmix": CutMix(5, alpha=0),
    "compose": Compose(()),
}
MIXING = ("mixup", "cutmix")


def targets_for(name: str, inputs: np.ndarray) -> Any:
    return shares(LABELS) if name in MIXING else masks_of(inputs)


@pytest.mark.parametrize("x", [SERIES, PICTURES, VOLUMES])
def test_without_strength_nothing_changes(x: np.ndarray):
    @quick_jit
    def all_of_them(key: jax.Array, inputs: jax.Array) -> dict[str, Any]:
        return {name: each(key, inputs, targets_for(name, x)) for name, each in WEAK.items()}

    for name, (inputs, targets) in all_of_them(KEY, x).items():
        np.testing.assert_array_equal(inputs, x, name)
        np.testing.assert_array_equal(targets, targets_for(name, x), name)


BATCHES = {name: (PICTURES, targets_for(name, PICTURES)) for name in STRONG}


def every(key: jax.Array, batches: dict[str, Any]) -> dict[str, Any]:
    """What each of them makes of a batch of its own."""
    return {name: STRONG[name](key, *batch) for name, batch in batches.items()}


def loss(pictures: dict[str, Any], targets: dict[str, Any], key: jax.Array) -> tuple[Any, Any]:
    made = every(key, {name: (pictures[name], targets[name]) for name in STRONG})
    return sum(jnp.sum(inputs**2) for inputs, _ in made.values()), made


@pytest.fixture(scope="module")
def made() -> Callable[..., Any]:
    """Gradients with respect to the pictures, and the batches, by key and pictures."""
    gradient = quick_jit(jax.grad(loss, has_aux=True))
    targets = {name: targets for name, (_, targets) in BATCHES.items()}
    return lambda key, pictures: gradient(dict.fromkeys(STRONG, pictures), targets, key)


def test_the_key_alone_decides_what_changes(made: Callable[..., Any]):
    gradients, batches = made(KEY, PICTURES)
    _, again = made(KEY, PICTURES)
    _, different = made(jax.random.key(1), PICTURES)
    _, of_alike = made(KEY, np.tile(PICTURES[:1], (8, 1, 1, 1)))
    for name, (inputs, _) in batches.items():
        np.testing.assert_array_equal(inputs, again[name][0])
        assert (np.asarray(inputs) != PICTURES).any(), name
        assert (np.asarray(inputs) != different[name][0]).any(), name
        if name not in MIXING:
            unlike = np.unique(np.asarray(of_alike[name][0]).reshape(8, -1), axis=0)
            assert len(unlike) >= (2 if name == "flip" else 5), name
        assert np.isfinite(gradients[name]).all(), name
        assert (np.asarray(gradients[name]) != 0).mean() > 0.4, name


def test_batches_stay_on_their_devices(made: Callable[..., Any]):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, P("data"))
    batches = jax.device_put(BATCHES, split)
    compiled = quick_jit(every).lower(KEY, batches).compile()
    assert "all-gather" not in compiled.as_text()
    assert "all-to-all" not in compiled.as_text()
    _, alone = made(KEY, PICTURES)
    spread = jax.tree.leaves(compiled(KEY, batches))
    for ours, theirs in zip(spread, jax.tree.leaves(alone), strict=True):
        assert ours.sharding.is_equivalent_to(split, ours.ndim)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "x64"), [("bfloat16", False), ("float16", True), ("float32", True), ("float64", True)]
)
def test_dtypes_stay_and_a_batch_may_be_empty(dtype: str, x64: bool):
    with jax.enable_x64(x64):
        for count in (0, 8):
            batches = {
                name: (inputs[:count].astype(jnp.dtype(dtype)), targets[:count])
                for name, (inputs, targets) in BATCHES.items()
            }
            made = jax.tree.leaves(jax.eval_shape(every, KEY, batches))
            for ours, theirs in zip(made, jax.tree.leaves(batches), strict=True):
                assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)


def test_half_precision_is_computed_in_float32_and_rounded_once():
    half = jnp.asarray(PICTURES, "bfloat16")
    augment = Compose((ResizedCrop(), Colour(contrast=0.5)))
    rounded, _ = run(augment, half, LABELS)
    exact, _ = run(augment, half.astype(jnp.float32), LABELS)
    assert (rounded == exact.astype(half.dtype)).mean() > 0.99


@dataclasses.dataclass(frozen=True)
class Counted(Augmentation):
    """Notes how often it is traced."""

    by: float
    traced: Callable[[], None]

    def apply(self, key: jax.Array, inputs: jax.Array, targets: jax.Array) -> Any:
        self.traced()
        return inputs + self.by * jax.random.normal(key), targets


def test_another_key_compiles_nothing():
    traces: list[None] = []

    def note() -> None:
        traces.append(None)

    results = [Counted(1.0, note)(key, PICTURES, LABELS)[0] for key in jax.random.split(KEY, 3)]
    assert len(traces) == 1
    assert len({float(each.sum()) for each in results}) == 3
    Counted(2.0, note)(KEY, PICTURES, LABELS)
    assert len(traces) == 2


def test_one_key_changes_all_frames_alike():
    clips = np.tile(PICTURES[:4, None], (1, 3, 1, 1, 1))
    augment = Compose((Flip(0), Affine(rotation=90), Erase()))
    moved, labels = run(jax.vmap(augment, (None, 1, None), (1, None)), clips, LABELS[:4])
    np.testing.assert_allclose(moved, np.tile(moved[:, :1], (1, 3, 1, 1, 1)), atol=1e-6)
    assert (moved != clips).any()
    np.testing.assert_array_equal(labels, LABELS[:4])


def test_parts_come_in_order_each_with_a_key_of_its_own():
    zeros, labels = np.zeros((100, 50, 1), np.float32), np.arange(100)
    noise, _ = run(Compose([Noise(1)] * 3), zeros, labels)
    assert abs(noise.std() - math.sqrt(3)) < 0.1  # the same thrice would have 3
    erase = Erase((1, 1), probability=1, fill=3)
    assert (run(Compose((Noise(1), erase)), zeros, labels)[0] == 3).all()


BAD_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Compose(Flip()), TypeError, r"`parts` must be a sequence of augmentations, .* Flip"),
    (lambda: Compose((Flip, 3)), TypeError, r"`parts` must be a sequence of augmentations"),
    (lambda: Flip()(0, PICTURES, LABELS), TypeError,
     r"`key` must be one key, such as `jax.random.key\(0\)`, got 0"),
    (lambda: Flip()(jax.random.PRNGKey(0), PICTURES, LABELS), TypeError, r"`key` must be one key"),
    (lambda: Flip()(jax.random.split(KEY), PICTURES, LABELS), TypeError, r"`key` must be one key"),
    (lambda: Flip()(KEY, [[1.0]], LABELS), TypeError, r"`inputs` must be an array, got list"),
    (lambda: Flip()(KEY, PICTURES.astype(np.uint8), LABELS), TypeError,
     r"`inputs` must be floats, got dtype uint8; of pictures in bytes, use `inputs / 255`"),
    (lambda: Flip()(KEY, PICTURES[0, 0], LABELS), ValueError,
     r"`inputs` must be \(batch, \*spatial, channels\) .* got shape \(10, 3\)"),
    (lambda: Flip()(KEY, PICTURES[:, :0], LABELS), ValueError,
     r"`inputs` must have at least one element on every spatial axis"),
    (lambda: Flip()(KEY, PICTURES, LABELS[:3]), ValueError,
     r"`targets` must have the 8 examples of `inputs` on their first axis, got shape \(3,\)"),
    (lambda: Flip()(KEY, PICTURES, np.zeros((8, 6, 5), int)), ValueError,
     r"`targets` of int32 must be labels \(8,\) or masks \(8, 12, 10\), got shape \(8, 6, 5\)"),
    (lambda: Flip()(KEY, PICTURES, masks_of(PICTURES) > 0), TypeError,
     r"`targets` that are masks must have a dtype that holds 255, .* got bool; use `targets.ast"),
    (lambda: Flip()(KEY, PICTURES, masks_of(PICTURES).astype(np.int8)), TypeError, r"got int8"),
    (lambda: Augmentation()(KEY, PICTURES, LABELS), NotImplementedError,
     r"Augmentation must have a method `apply`"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
