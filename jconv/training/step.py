"""One step of training, and one of evaluation: what is compiled.

All that is static is in `Setup`, by whose value programs are kept: networks of the same kind, with
other weights or seeds, share them.
"""

import dataclasses
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from jconv.training.data.examples import to_float
from jconv.training.optimizer import Optimizer, make
from jconv.training.sharding import data_mesh, shardings
from jconv.training.tasks import Sums, Task


class Augment(Protocol):
    """Frozen and hashable: changes a batch at random. See `jconv.training.augment`."""

    def __call__(self, key: jax.Array, inputs: Any, targets: Any) -> tuple[Any, Any]: ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """All that changes in training, but the position in the data. A pytree.

    Attributes:
      step: int32, steps done.
      key: what random numbers of steps are drawn from, together with their number.
      parameters: what is trained.
      others: the network's other variables: running averages, counters of random numbers.
      optimizer: the state of the optimizer.
      average: the exponential moving average of the parameters, or None.
      totals: sums over the steps of this epoch of what is measured.
    """

    step: jax.Array
    key: jax.Array
    parameters: Any
    others: Any
    optimizer: Any
    average: Any
    totals: Sums


@dataclasses.dataclass(frozen=True)
class Setup:
    """What is static of training: hashable, and equal for networks of the same kind.

    Attributes:
      training, evaluation: the network's graph in either mode.
      task, optimizer, augment: as in `fit`.
      steps, epoch_steps: in all, and in an epoch.
      decay: of the average of the parameters; 0 keeps none.
      mesh: the devices.
      split: whether the state is split over them.
    """

    training: nnx.GraphDef[Any]
    evaluation: nnx.GraphDef[Any]
    task: Task
    optimizer: Optimizer
    steps: int
    epoch_steps: int
    augment: Augment | None
    decay: float
    mesh: Mesh
    split: bool

    @property
    def transformation(self) -> optax.GradientTransformation:
        return make(self.optimizer, self.steps)

    def placed(self, state: State) -> State:
        """The state where it belongs on the devices; the totals are read on all of them."""
        where = dataclasses.replace(
            shardings(state, self.mesh, split=self.split),
            totals=shardings(state.totals, self.mesh, split=False),
        )
        return jax.lax.with_sharding_constraint(state, where)


def setup(
    model: nnx.Module,
    task: Task,
    optimizer: Optimizer,
    steps: int,
    epoch_steps: int,
    *,
    augment: Augment | None = None,
    decay: float = 0.0,
    split: bool = False,
    seed: int = 0,
) -> tuple[Setup, State]:
    """What is static of training a network, and the state that it starts in."""
    model.eval()
    evaluation = nnx.graphdef(model)
    model.train()
    parts: Any = nnx.split(model, nnx.Param, ...)
    training, parameters, others = parts
    # The arrays of the model stay its own: a step gives the memory of its state away.
    parameters, others = jax.tree.map(jnp.copy, (parameters, others))
    mesh = data_mesh()
    made = Setup(
        training, evaluation, task, optimizer, steps, epoch_steps, augment, decay, mesh, split
    )
    state = State(
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key(seed),
        parameters=parameters,
        others=others,
        optimizer=jax.jit(made.transformation.init)(parameters),
        average=jax.tree.map(jnp.copy, parameters) if decay else None,
        totals=task.zeros(),
    )
    # Not `device_put`, which puts nothing on another process's devices.
    return made, jax.jit(made.placed)(state)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def train_step(setup: Setup, state: State, inputs: Any, targets: Any) -> tuple[State, jax.Array]:
    """The state after one more batch, and whether its loss and gradient were finite."""
    key = jax.random.fold_in(state.key, state.step)
    inputs = to_float(inputs)
    if setup.augment is not None:
        inputs, targets = setup.augment(key, inputs, targets)

    def loss(parameters: Any) -> tuple[jax.Array, Any]:
        # A copy, whose running averages may change where `jax.grad` traces.
        model = nnx.merge(setup.training, parameters, state.others, copy=True)
        value, sums = setup.task.loss(model, inputs, targets)
        return value, (sums, nnx.state(model, nnx.Not(nnx.Param)))

    (value, (sums, others)), gradient = jax.value_and_grad(loss, has_aux=True)(state.parameters)
    updates, optimizer = setup.transformation.update(gradient, state.optimizer, state.parameters)
    parameters = optax.apply_updates(state.parameters, updates)
    average = state.average
    if setup.decay:
        average = optax.incremental_update(parameters, average, 1 - setup.decay)
    finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(gradient))
    begins = state.step % setup.epoch_steps == 0
    totals = jax.tree.map(lambda old, new: jnp.where(begins, 0, old) + new, state.totals, sums)
    after = State(state.step + 1, state.key, parameters, others, optimizer, average, totals)
    return setup.placed(after), finite


@partial(jax.jit, static_argnums=0)
def evaluation_step(
    setup: Setup, state: State, inputs: Any, targets: Any, weights: jax.Array
) -> Sums:
    """Sums of what is measured on a batch, by the averaged parameters if there are some."""
    sums = setup.task.sums(model_of(setup, state), to_float(inputs), targets, weights)
    return jax.lax.with_sharding_constraint(sums, shardings(sums, setup.mesh, split=False))


def model_of(setup: Setup, state: State) -> Any:
    """The network in evaluation mode, with the averaged parameters if there are some."""
    parameters = state.parameters if state.average is None else state.average
    return nnx.merge(setup.evaluation, parameters, state.others, copy=True)
