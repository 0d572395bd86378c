"""What depth and shortcuts change, and what they leave alone."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from experiments import residual_learning
from jconv.training.loop import Record


def test_each_network_has_its_curves(tmp_path: Path):
    assert residual_learning.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    tiny, numbers = residual_learning.TINY, result["numbers"]
    shallow, deep = (residual_learning.layers(tiny, blocks) for blocks in (tiny.shallow, tiny.deep))
    for metric, most in (("training_loss", np.inf), ("training_error_percent", 100)):
        assert list(numbers[metric]) == ["plain", "residual"]
        assert all(list(curves) == [shallow, deep] for curves in numbers[metric].values())
        values = np.array([list(curves.values()) for curves in numbers[metric].values()])
        assert values.shape == (2, 2, tiny.seeds, tiny.epochs)
        assert (values >= 0).all()
        assert (values <= most).all()
    losses = np.array([list(each.values()) for each in numbers["training_loss"].values()])
    assert len(np.unique(losses)) == losses.size  # no network stands for another
    sizes = numbers["parameters"]
    assert sizes[f"plain, {shallow}"] == sizes[f"residual, {shallow}"]
    assert sizes[f"plain, {deep}"] == sizes[f"residual, {deep}"]
    assert sizes[f"plain, {shallow}"] < sizes[f"plain, {deep}"]


@pytest.mark.parametrize(("blocks", "called"), [(3, "20 layers"), (9, "56 layers")])
def test_layers_with_weights_are_counted(blocks: int, called: str):
    config = residual_learning.Config()
    assert blocks in (config.shallow, config.deep)
    model = nnx.eval_shape(lambda: residual_learning.network(config, "plain", blocks, seed=0))
    weights = [leaf for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)) if leaf.ndim > 1]
    assert residual_learning.layers(config, blocks) == called == f"{len(weights)} layers"


def test_twins_start_from_the_same_weights_and_differ_by_their_shortcuts():
    tiny = residual_learning.TINY
    plain, residual = (
        residual_learning.network(tiny, kind, 1, 0) for kind in ("plain", "residual")
    )
    for leaf, twin in zip(*(jax.tree.leaves(nnx.state(m)) for m in (plain, residual)), strict=True):
        np.testing.assert_array_equal(leaf, twin)
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    assert abs(plain(x) - residual(x)).max() > 1e-3


def test_metrics_are_those_of_the_training_examples():
    runs = [
        [Record(i + 1, i, {"loss": seed - i / 4}, {"loss": 9.0}, 0.0, 0.0) for i in range(3)]
        for seed in (1.0, 2.0)
    ]
    curves = residual_learning.curves_of({"plain": {"8 layers": runs}}, "loss")
    np.testing.assert_allclose(curves["plain"]["8 layers"], [[1, 0.75, 0.5], [2, 1.75, 1.5]])
