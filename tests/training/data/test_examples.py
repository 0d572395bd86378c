"""Examples in memory: as a source, as a pytree, and split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from jconv.training.data.examples import Examples, to_float


def numbered(classes: list[int]) -> Examples:
    """Examples whose inputs are their numbers."""
    return Examples(np.arange(len(classes)), np.array(classes))


def test_a_source():
    examples = Examples(np.arange(12.0).reshape(3, 4), np.array([7, 8, 9]))
    assert len(examples) == 3
    x, y = examples[1]
    assert (x.tolist(), y) == ([4, 5, 6, 7], 8)
    assert [int(y) for _, y in examples] == [7, 8, 9]
    taken = examples.take([2, 0, 2])
    assert taken.inputs[:, 0].tolist() == [8, 0, 8]
    assert taken.targets.tolist() == [9, 7, 9]


def test_a_pytree():
    examples = Examples(jnp.ones((3, 4)), jnp.arange(3))
    assert jax.tree.map(jnp.shape, examples).inputs == (3, 4)
    doubled = jax.jit(lambda each: jax.tree.map(lambda x: 2 * x, each))(examples)
    assert isinstance(doubled, Examples)
    assert doubled.targets.tolist() == [0, 2, 4]
    # What lies in place of the arrays need not be of equal length, nor arrays.
    first = jax.tree.map(lambda x: x[0], examples)
    assert (first.inputs.shape, first.targets.shape) == ((4,), ())
    sums = jax.vmap(lambda each: each.inputs.sum() + each.targets)(examples)
    assert sums.tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("inputs", "targets", "error", "message"),
    [
        (np.ones((3, 2)), np.ones(2), ValueError, r"as many as `inputs`, got .* \(2,\) and \(3, 2"),
        ([1, 2], np.ones(2), TypeError, r"`inputs` must be an array .*, got \[1, 2\]"),
        (np.ones(2), np.float32(1), TypeError, "`targets` must be an array with at least one axis"),
    ],
)
def test_wrong_arrays(inputs, targets, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        Examples(inputs, targets)


@given(st.lists(st.integers(-2, 5), min_size=2, max_size=60), st.data())
def test_a_split_is_stratified(classes: list[int], data: st.DataObject):
    examples = numbered(classes)
    count = data.draw(st.integers(1, len(classes) - 1))
    training, held_out = examples.split(count, seed=data.draw(st.integers(0, 9)))
    assert len(held_out) == count
    assert sorted([*training.inputs, *held_out.inputs]) == list(range(len(classes)))
    for each in (training, held_out):
        assert (np.diff(each.inputs) > 0).all()
        np.testing.assert_array_equal(each.targets, examples.targets[each.inputs])
    for label in set(classes):
        due = count * classes.count(label) / len(classes)
        assert abs((held_out.targets == label).sum() - due) < 1


def test_a_split_depends_on_its_seed_alone():
    examples = numbered([0, 1] * 50)
    first = examples.split(20, seed=3)[1].inputs
    np.testing.assert_array_equal(first, examples.split(20, seed=3)[1].inputs)
    assert (first != examples.split(20, seed=4)[1].inputs).any()


@pytest.mark.parametrize("targets", [np.linspace(0, 1, 10), np.zeros((10, 4, 4), np.uint8)])
def test_what_has_no_class_is_split_at_random(targets: np.ndarray):
    _, held_out = Examples(np.arange(10), targets).split(4)
    assert len(np.unique(held_out.inputs)) == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ValueError, "`held_out` must be at least 1, got 0"),
        ((4,), ValueError, "`held_out` must be below the number of examples, 4, got 4"),
        ((0.5,), TypeError, "`held_out` must be an int"),
        ((1, -1), ValueError, "`seed` must be at least 0, got -1"),
    ],
)
def test_wrong_splits(arguments: tuple, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        numbered([0, 0, 1, 1]).split(*arguments)


@pytest.mark.parametrize("module", [np, jnp])
def test_bytes_become_floats_and_nothing_else_does(module):
    pictures = module.arange(256, dtype=module.uint8)
    floats = jax.jit(to_float)(pictures) if module is jnp else to_float(pictures)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, np.arange(256) / 255, rtol=1e-6)
    for dtype in ("float32", "float16", "int32"):
        assert to_float(module.ones(2, dtype)).dtype == dtype
