"""Deleted and swapped blocks: which they are, and that the network is then what it should be."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments import many_paths
from jconv.models import resnet20
from jconv.training.data.embedded import digits


def test_each_change_is_measured(tmp_path: Path):
    assert many_paths.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    tiny, numbers = many_paths.TINY, result["numbers"]
    assert set(numbers) == {"residual", "plain"}
    for errors in numbers.values():
        values = {name: np.array(each) for name, each in errors.items()}
        assert values["whole"].shape == (tiny.seeds,)
        assert values["without"].shape == (tiny.seeds, tiny.blocks)
        assert values["deleted"].shape == (tiny.seeds, tiny.blocks, tiny.draws)
        assert values["swapped"].shape == (tiny.seeds, tiny.swaps, tiny.draws)
        for each in values.values():
            correct = 360 * each / 100
            np.testing.assert_allclose(correct, correct.round(), atol=1e-3)
            assert ((each >= 0) & (each <= 100)).all()
        # Without one of them is without that one, and without all is always the same.
        assert np.isin(values["deleted"][:, 0], values["without"]).all()
        assert len(np.unique(values["deleted"][:, -1])) == tiny.seeds


def test_as_many_blocks_are_deleted_or_swapped_as_are_said():
    config = many_paths.Config(blocks=5, draws=30, swaps=2)
    orders = many_paths.orders(config)
    assert orders["whole"].tolist() == [0, 1, 2, 3, 4]
    assert orders["without"][1].tolist() == [0, many_paths.NONE, 2, 3, 4]
    for count, drawn in enumerate(orders["deleted"], 1):
        left = drawn != many_paths.NONE
        assert (left.sum(1) == config.blocks - count).all()
        np.testing.assert_array_equal(
            drawn[left], np.broadcast_to(orders["whole"], drawn.shape)[left]
        )
    once, twice = orders["swapped"]
    assert ((once != orders["whole"]).sum(1) == 2).all()
    assert set((twice != orders["whole"]).sum(1)) == {0, 3, 4}  # undone, one in common, apart
    np.testing.assert_array_equal(
        np.sort(orders["swapped"]), np.broadcast_to(orders["whole"], (2, 30, 5))
    )
    assert len(np.unique(orders["deleted"][1], axis=0)) > 1
    np.testing.assert_array_equal(many_paths.orders(config)["swapped"], orders["swapped"])


def test_the_compiled_network_has_its_blocks_in_the_order_given():
    model = resnet20(in_channels=1, num_classes=10, depths=(1, 1, 4), width=2, rngs=nnx.Rngs(0))
    model.eval()
    _, *blocks = model.layer3
    _, held_out = digits()
    x = jnp.asarray(held_out.inputs[:40])
    model.fc.bias[...] -= model(x).mean(0)  # or an untrained network has one answer to all
    orders = np.array([[0, 1, 2], [2, 0, 1], [-1, 1, -1], [-1, -1, -1]])
    likeliest = []
    for order in orders:
        y = model.features(x, "layer3.0")["layer3.0"]
        for index in order[order != many_paths.NONE]:
            y = blocks[index](y)
        likeliest.append(np.asarray(model.fc(y.mean((1, 2))).argmax(-1)))
    assert np.array_equal(likeliest[0], model(x).argmax(-1))
    for targets in likeliest:
        shares = many_paths.misread(model, x, targets, orders)
        np.testing.assert_allclose(shares, [(each != targets).mean() for each in likeliest])
    assert len({each.tobytes() for each in likeliest}) == len(orders)
