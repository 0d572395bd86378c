"""How long do pools take in jconv, beside plain `jax.lax` and PyTorch?

    pip install torch==2.13.0
    python experiments/bench/pools.py --all --out experiments/bench/pools.md

Expected: a minute on 2 cores. Result: pools.md and pools.png beside this file.

Forward, and forward with the gradient, of the pools in `jconv.workloads.CONTEST` (`--all`: of
further networks too; `--random 20 --seed 1`: of 20 that nobody tuned for). First it is checked that
all compute the same numbers. `lax` is `reduce_window` and its own gradient.
"""

import math
from typing import Any

import jax
import numpy as np
import operations
from contest import torch
from jax import lax
from operations import Operations

from jconv.workloads import Workload


def in_lax(workload: Workload, x: jax.Array) -> jax.Array:
    window, stride = (1, *workload.window, 1), (1, *workload.stride, 1)
    padding = [(0, 0), *((pad, pad) for pad in workload.padding), (0, 0)]
    if workload.operation == "max_pool":
        return lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, window, stride, padding)
    sums = lax.reduce_window(x, np.array(0, x.dtype), lax.add, window, stride, padding)
    return sums / math.prod(workload.window)


def in_torch(workload: Workload, x: Any) -> Any:
    pool = getattr(torch.nn.functional, f"{workload.operation}{workload.n}d")
    return pool(x, workload.window, workload.stride, workload.padding)


POOLS = Operations(
    "Pools: jconv beside others",
    names=("max_pool", "avg_pool"),
    tiny=("LeNet pool", "odd pool"),
    in_lax=in_lax,
    in_torch=in_torch,
)

if __name__ == "__main__":
    operations.main(POOLS, __doc__)
