"""One mesh over all devices: batches are split over it, parameters repeated or split too.

On a cluster each process calls `jax.distributed.initialize()` before anything else, which finds the
others under Slurm or Open MPI; nothing else changes:

    srun --nodes=4 python train.py
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def data_mesh() -> Mesh:
    """All devices of all processes along one axis, "data"."""
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """A batch must be as large on every device."""
    if batch_size % mesh.size:
        raise ValueError(
            f"`batch_size` must be divisible by the number of devices, {mesh.size}, got "
            f"{batch_size}"
        )


def to_devices(batch: Any, mesh: Mesh) -> Any:
    """This process's part of a batch, arrays with a leading batch axis, as arrays over the mesh."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.tree.map(
        lambda array: jax.make_array_from_process_local_data(sharding, np.asarray(array)), batch
    )


def shardings(tree: Any, mesh: Mesh, *, split: bool) -> Any:
    """Where the arrays of a tree lie: on every device, or, if `split`, each along its longest axis
    that the devices divide, over them."""

    def one(leaf: Any) -> NamedSharding:
        spec: list[str | None] = [None] * len(leaf.shape)
        if split and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            lengths = [0 if size % mesh.size else size for size in leaf.shape]
            if math.prod(leaf.shape) and max(lengths, default=0):
                spec[lengths.index(max(lengths))] = AXIS
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(one, tree)
