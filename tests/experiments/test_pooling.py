"""What pools keep, how they bear shifts, and what comes back by unpooling."""

import json
from itertools import pairwise
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import pooling


def test_pools_bear_shifts_and_unpooling_puts_back(tmp_path: Path):
    assert pooling.main(["--tiny", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert all((tmp_path / figure).exists() for figure in result["figures"])
    numbers = result["numbers"]
    for curves in numbers["changes"].values():
        assert all(len(curve) == pooling.TINY.pools + 1 for curve in curves.values())
        np.testing.assert_allclose(curves["every second, no pool"], 1, atol=0.1)
        for name in ("max-pool 2x2", "average pool 2x2", "max-pool with blur"):
            assert all(less < more - 0.05 for more, less in pairwise(curves[name]))
        assert curves["max-pool with blur"][-1] < 0.75 * curves["max-pool 2x2"][-1]

    back = numbers["unpooling"]
    assert back["put back where they were"]["equal"] == 1
    assert back["put into corners"]["equal"] < 0.5
    assert back["repeated"]["equal"] < 0.5
    assert all(
        back["put back where they were"]["off_by"] < back[name]["off_by"]
        for name in ("put into corners", "repeated")
    )


def test_edges_are_where_it_becomes_brighter():
    step = jnp.zeros((1, 5, 6, 1)).at[:, :, 3:].set(1)
    left, right, top, bottom = np.moveaxis(np.asarray(pooling.edges(step))[0], -1, 0)
    np.testing.assert_array_equal(right, np.broadcast_to([0, 0, 4, 4, 0, 0], (5, 6)))
    np.testing.assert_array_equal([left, top, bottom], 0)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--pools", "4"], "`pools` must be at least 1 and at most 3, got 4"),
        (["--digits", "2000"], "`digits` must be at least 1 and at most 1437, got 2000"),
    ],
)
def test_wrong_options(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_:
        pooling.main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err
