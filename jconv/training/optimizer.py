"""Optimizers of optax, from a configuration."""

import dataclasses
import math
from typing import Any, Literal, get_args

import jax
import optax

from jconv.arguments import choice, integer, number

Name = Literal["sgd", "adamw"]
Schedule = Literal["cosine", "linear", "step", "constant"]


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """How parameters follow their gradients.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and the value.
    """

    name: Name = "adamw"
    """sgd: stochastic gradient descent with Nesterov momentum, as PyTorch's; or adamw"""
    learning_rate: float = 1e-3
    """the peak of the schedule, after the warm-up"""
    schedule: Schedule = "cosine"
    """from there to 0 as half a cosine or linearly; or in steps: a tenth after half of the updates,
    a hundredth after three quarters; or constant"""
    warmup: float = 0.05
    """share of the updates through which the learning rate rises to its peak, linearly"""
    weight_decay: float = 0.01
    """pull of parameters towards 0, but not of biases and norms: of sgd, added to the gradient; of
    adamw, apart from it; either per unit of learning rate"""
    clip: float | None = None
    """largest global norm of the gradient: larger ones are scaled down to it"""
    accumulate: int = 1
    """steps whose gradients are averaged for one update, as if their batches were one"""
    momentum: float = 0.9
    """share of the running gradient that a further update keeps; of adamw, its b1"""
    b2: float = 0.999
    """the same of the running squared gradient of adamw"""

    def __post_init__(self) -> None:
        choice("name", self.name, get_args(Name))
        choice("schedule", self.schedule, get_args(Schedule))
        for name in ("learning_rate", "weight_decay"):
            if number(name, getattr(self, name), 0) == math.inf:
                raise ValueError(f"`{name}` must be finite, got inf")
        for name in ("warmup", "momentum", "b2"):
            number(name, getattr(self, name), 0, 1)
        for name in ("momentum", "b2"):
            if getattr(self, name) == 1:
                raise ValueError(f"`{name}` must be below 1, got 1: nothing would be forgotten")
        if self.clip is not None and number("clip", self.clip, 0) == 0:
            raise ValueError("`clip` must be above 0, got 0; None clips nothing")
        integer("accumulate", self.accumulate)


def make(config: Optimizer, steps: int) -> optax.GradientTransformation:
    """The optimizer for a run of so many steps.

    Args:
      config: an `Optimizer`.
      steps: gradients that it will be given. Every `config.accumulate` of them make an update;
        those that are left over at the end make none.

    Returns:
      A transformation of optax, for any tree of parameters, such as an `nnx.State`. Its `update`
      needs the parameters. Parameters of one axis or none, which biases and the scales of norms
      are, do not decay.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> import jax.numpy as jnp
    >>> optimizer = make(Optimizer("sgd", 0.1, "constant", warmup=0, weight_decay=0), steps=10)
    >>> parameters = {"kernel": jnp.ones((1, 2)), "bias": jnp.ones(2)}
    >>> state = optimizer.init(parameters)
    >>> gradient = {"kernel": jnp.full((1, 2), 2.0), "bias": jnp.zeros(2)}
    >>> updates, state = optimizer.update(gradient, state, parameters)
    >>> optax.apply_updates(parameters, updates)  # by 0.1 * (2 + 0.9 * 2)
    {'bias': Array([1., 1.], dtype=float32), 'kernel': Array([[0.62, 0.62]], dtype=float32)}

    Sources: I. Sutskever et al., "On the importance of initialization and momentum in deep
    learning", ICML 2013; I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR
    2019.
    """
    rate = schedule(config, steps)
    if config.name == "sgd":
        descent = optax.chain(
            optax.add_decayed_weights(config.weight_decay, mask=decays),
            optax.sgd(rate, config.momentum, nesterov=True),
        )
    else:
        descent = optax.adamw(
            rate, config.momentum, config.b2, weight_decay=config.weight_decay, mask=decays
        )
    if config.clip is not None:
        descent = optax.chain(optax.clip_by_global_norm(config.clip), descent)
    if config.accumulate > 1:
        return optax.MultiSteps(descent, config.accumulate).gradient_transformation()
    return descent


def schedule(config: Optimizer, steps: int) -> optax.Schedule:
    """The learning rate of each update.

    Args:
      config, steps: as in `make`.

    Returns:
      A function of the number of updates that were made before, `step // config.accumulate`: what
      is warmed up begins above 0, and what falls to 0 would reach it one update after the last.

    Raises:
      ValueError, TypeError: the argument in backticks, what it must be, and what to do.

    >>> rate = schedule(Optimizer(learning_rate=1.0, schedule="linear", warmup=0.4), steps=10)
    >>> [round(float(rate(i)), 2) for i in range(10)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 0.83, 0.67, 0.5, 0.33, 0.17]

    Sources: P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017
    (warm-up); I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
    ICLR 2017 (cosine); K. He et al., "Deep residual learning for image recognition", CVPR 2016,
    section 4.2 (steps).
    """
    updates = integer("steps", steps) // config.accumulate
    if not updates:
        raise ValueError(
            f"`steps` must be at least `accumulate`, {config.accumulate}, for one update, got "
            f"{steps}"
        )
    peak, warmup = config.learning_rate, round(config.warmup * updates)
    rest = max(updates - warmup, 1)
    after = {
        "cosine": optax.cosine_decay_schedule(peak, rest),
        "linear": optax.linear_schedule(peak, 0.0, rest),
        "step": optax.piecewise_constant_schedule(
            peak, {math.ceil(share * updates) - warmup: 0.1 for share in (0.5, 0.75)}
        ),
        "constant": optax.constant_schedule(peak),
    }[config.schedule]
    if not warmup:
        return after
    rise = optax.linear_schedule(peak / warmup, peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def decays(parameters: Any) -> Any:
    """Which parameters decay: a tree of bools."""
    return jax.tree.map(lambda parameter: parameter.ndim > 1, parameters)
