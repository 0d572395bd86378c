"""Networks with random numbers everywhere, so that no layer starts as one that does nothing."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

M = TypeVar("M", bound=nnx.Module)


def random_network(make: Callable[[], M], seed: int = 0) -> M:
    """`make()` with random numbers in every parameter and statistic, also where it would start from
    a constant. No initializer runs, since most would be compiled for one shape each."""
    model = nnx.eval_shape(make)
    rng = np.random.default_rng(seed)
    for path, variable in nnx.to_flat_state(nnx.state(model)):
        shape = variable.shape
        match path[-1]:
            case "kernel":
                value = rng.normal(0, (2 / np.prod(shape[:-1])) ** 0.5, shape)
            case "scale" | "var":
                value = rng.uniform(0.5, 1.5, shape)
            case "bias" | "mean":
                value = rng.normal(0, 0.1, shape)
            case "key":
                variable.set_value(jax.random.key(seed))
                continue
            case "count":
                value = 7
        variable.set_value(jnp.asarray(value, variable.dtype))
    return model
