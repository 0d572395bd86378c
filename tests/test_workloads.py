"""The named geometries are calls that jconv takes."""

import jax
import pytest

from jconv import workloads
from jconv.workloads import WORKLOADS, Workload


def test_names_are_unique():
    assert len({each.name for each in WORKLOADS}) == len(WORKLOADS)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda each: each.name)
def test_a_workload_is_a_function_of_its_arrays(workload: Workload):
    y = jax.eval_shape(workload, *workload.specs())
    assert y.ndim == workload.n + 2
    assert (y.shape[0], y.shape[-1]) == (workload.x[0], workload.out_channels)


def test_options_pass_through():
    workload = workloads.find("digits")
    assert workload.padding == (1, 1)
    y = jax.eval_shape(lambda *arrays: workload(*arrays, algorithm="xla"), *workload.specs())
    assert y.shape == (64, 8, 8, 16)


def test_the_same_seed_draws_the_same_valid_workloads():
    drawn = workloads.draw(seed=1, count=50)
    assert drawn == workloads.draw(seed=1, count=50)
    assert drawn != workloads.draw(seed=2, count=50)
    for each in drawn:
        assert jax.eval_shape(each, *each.specs()).shape[-1] == each.out_channels
