"""A small training run in a process of its own, which may be killed, or be one of several.

    python -m tests.training.child FOLDER [PORT PROCESS]

Prints, as JSON, a digest of the weights that it ends with, and the losses of its epochs.
"""

import hashlib
import json
import sys

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from jconv.models.layers import Conv
from jconv.models.norms import BatchNorm
from jconv.ops.adaptive import global_avg_pool
from jconv.training.data.embedded import digits
from jconv.training.data.examples import Examples
from jconv.training.loop import Training, fit
from jconv.training.optimizer import Optimizer
from jconv.training.tasks import Classification


class Network(nnx.Module):
    """What has running averages and draws random numbers."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        # A bias would have a gradient of rounding errors only, which Adam makes as large as others.
        self.conv = Conv(1, 4, 3, n=2, padding=1, use_bias=False, rngs=rngs)
        self.norm = BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.head = nnx.Linear(4, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = jax.nn.relu(self.norm(self.conv(x)))
        return self.head(self.dropout(global_avg_pool(y)))


def main(folder: str, *distributed: str) -> None:
    if distributed:
        port, process = distributed
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{port}", 2, int(process))
    training, held_out = digits()
    model = Network(rngs=nnx.Rngs(0))
    history = fit(
        model,
        Classification(10),
        Examples(training.inputs[:96], training.targets[:96]),
        held_out=Examples(held_out.inputs[:50], held_out.targets[:50]),
        config=Training(
            epochs=4,
            batch_size=16,
            optimizer=Optimizer(learning_rate=0.03, warmup=0),
            average=0.5,
            save_every=2,
            split=True,
        ),
        out=folder,
        resume=True,
        quiet=True,
    )
    parameters = nnx.state(model, nnx.Param)
    if distributed:
        parameters = multihost_utils.process_allgather(parameters, tiled=True)
    weights = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(parameters))
    losses = [[each.training["loss"], each.held_out["loss"]] for each in history]
    print(json.dumps({"digest": hashlib.sha256(weights).hexdigest(), "losses": losses}))


if __name__ == "__main__":
    main(*sys.argv[1:])
