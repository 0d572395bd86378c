"""Optimizers by hand, and on the parameters of networks."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jconv.models.layers import Conv
from jconv.training.optimizer import Optimizer, decays, make, schedule
from tests.quick import quick_jit
from tests.strategies import normal

PARAMETERS = {"kernel": normal(2, 3), "bias": normal(3)}
GRADIENTS = [{"kernel": normal(2, 3) * i, "bias": normal(3) - i} for i in range(1, 5)]
PLAIN = {"warmup": 0, "schedule": "constant"}


def descend(config: Optimizer, gradients: list[Any], parameters: Any = PARAMETERS) -> Any:
    """Parameters after a run on these gradients."""
    optimizer = make(config, len(gradients))

    @quick_jit
    def step(parameters: Any, state: Any, gradient: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state

    state = optimizer.init(parameters)
    for gradient in gradients:
        parameters, state = step(parameters, state, gradient)
    return parameters


def rates(steps: int, **options: Any) -> list[float]:
    """The learning rates of all updates."""
    config = Optimizer(learning_rate=1.0, **options)
    rate = schedule(config, steps)
    return [round(float(rate(i)), 4) for i in range(steps // config.accumulate)]


# --- Schedules ------------------------------------------------------------------------------------


def test_schedules():
    assert rates(4, warmup=0.5, schedule="constant") == [0.5, 1, 1, 1]
    assert rates(8, warmup=0.5, schedule="linear") == [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25]
    assert rates(8, warmup=0, schedule="step") == [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
    assert rates(8, warmup=0.25, schedule="step") == [0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]
    cosine = [(1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]
    assert rates(6, warmup=0.3, schedule="cosine") == [0.5, 1, *(round(c, 4) for c in cosine)]
    assert rates(4, warmup=1) == [0.25, 0.5, 0.75, 1]
    assert rates(9, warmup=0.5, schedule="constant", accumulate=2) == [0.5, 1, 1, 1]


@pytest.mark.parametrize("name", ["cosine", "linear", "step", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0, 0.4, 1])
def test_no_update_of_a_short_run_is_lost(name: Any, steps: int, warmup: float):
    found = rates(steps, schedule=name, warmup=warmup)
    assert all(0 < rate <= 1 for rate in found)
    assert max(found) == 1


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_schedule_is_followed(name: Any):
    config = Optimizer(name, 0.1, "linear", warmup=0.5, weight_decay=0, momentum=0, b2=0)
    steps = [dict.fromkeys(PARAMETERS, 1.0)] * 4
    moved = descend(config, steps, dict.fromkeys(PARAMETERS, jnp.zeros(())))
    # Without memory, either moves by its learning rate against a gradient of 1.
    assert moved["bias"] == pytest.approx(-0.1 * (0.5 + 1 + 1 + 0.5), rel=1e-5)


# --- Updates --------------------------------------------------------------------------------------


def by_hand(config: Optimizer) -> dict[str, np.ndarray]:
    """The parameters after `GRADIENTS`, in float64."""
    p = {name: value.astype(float) for name, value in PARAMETERS.items()}
    first = {name: np.zeros_like(value) for name, value in p.items()}
    second = {name: np.zeros_like(value) for name, value in p.items()}
    decay = {"kernel": config.weight_decay, "bias": 0}
    for i, gradient in enumerate(GRADIENTS, start=1):
        norm = math.sqrt(sum((g.astype(float) ** 2).sum() for g in gradient.values()))
        factor = min(1, (config.clip or math.inf) / norm)
        for name, g in gradient.items():
            g = factor * g.astype(float)
            if config.name == "sgd":  # as torch.optim.SGD has it
                g = g + decay[name] * p[name]
                first[name] = config.momentum * first[name] + g
                p[name] = p[name] - config.learning_rate * (g + config.momentum * first[name])
            else:
                first[name] = config.momentum * first[name] + (1 - config.momentum) * g
                second[name] = config.b2 * second[name] + (1 - config.b2) * g**2
                upward = first[name] / (1 - config.momentum**i)
                scale = np.sqrt(second[name] / (1 - config.b2**i)) + 1e-8
                step = upward / scale + decay[name] * p[name]
                p[name] = p[name] - config.learning_rate * step
    return p


CONFIGS = {
    "sgd": Optimizer("sgd", 0.01, momentum=0.8, weight_decay=0.3, **PLAIN),
    "sgd, clipped": Optimizer("sgd", 0.01, weight_decay=0.3, clip=2, **PLAIN),
    "sgd without momentum": Optimizer("sgd", 0.01, momentum=0, weight_decay=0, **PLAIN),
    "adamw": Optimizer("adamw", 0.01, weight_decay=0.3, **PLAIN),
    "adamw, clipped": Optimizer("adamw", 0.01, momentum=0.7, b2=0.9, clip=0.5, **PLAIN),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_updates_by_hand(name: str):
    ours, expected = descend(CONFIGS[name], GRADIENTS), by_hand(CONFIGS[name])
    for part in PARAMETERS:
        np.testing.assert_allclose(ours[part], expected[part], rtol=1e-5, atol=1e-6)


def test_clipping_bounds_the_global_norm_and_no_smaller_one():
    config = Optimizer("sgd", 1.0, momentum=0, weight_decay=0, clip=5, **PLAIN)
    for length, expected in ((3, 3), (10, 5)):
        unit = {"kernel": jnp.full((1, 1), 0.6 * length), "bias": jnp.full(1, 0.8 * length)}
        moved = descend(config, [unit], jax.tree.map(jnp.zeros_like, unit))
        assert optax.tree.norm(moved) == pytest.approx(expected)


# --- Networks -------------------------------------------------------------------------------------


class Network(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv = Conv(1, 4, 3, n=1, rngs=rngs)
        self.norm = nnx.GroupNorm(4, num_groups=2, rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(nnx.relu(self.norm(self.conv(x))).mean(1))


INPUTS, LABELS = normal(12, 8, 1), np.arange(12) % 2
GRAPH, STATE = nnx.split(Network(nnx.Rngs(0)), nnx.Param)


@quick_jit
def gradient(parameters: nnx.State, inputs: jax.Array, labels: jax.Array) -> nnx.State:
    def loss(parameters: nnx.State) -> jax.Array:
        logits = nnx.merge(GRAPH, parameters)(inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return jax.grad(loss)(parameters)


def flat(state: Any) -> dict[str, Any]:
    return {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(state)}


def test_kernels_decay_and_neither_biases_nor_norms():
    mask = {name: leaf.get_value() for name, leaf in flat(decays(STATE)).items()}
    assert {name for name, decay in mask.items() if decay} == {"conv.kernel", "head.kernel"}
    assert {"conv.bias", "norm.scale", "norm.bias", "head.bias"} <= set(mask)
    still = jax.tree.map(jnp.zeros_like, STATE)
    for name in ("sgd", "adamw"):
        config = Optimizer(name, 0.1, momentum=0, weight_decay=0.5, **PLAIN)
        moved = flat(descend(config, [still], STATE))
        for key, leaf in flat(STATE).items():
            expected = leaf[...] * (0.95 if mask[key] else 1)
            np.testing.assert_allclose(moved[key][...], expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_accumulated_steps_are_one_step_on_the_joined_batch(name: Any):
    options = {"schedule": "linear", "warmup": 0.4, "weight_decay": 0.1, "clip": 0.1}
    joined, parts = Optimizer(name, 0.1, **options), Optimizer(name, 0.1, accumulate=3, **options)
    whole, third = make(joined, 4), make(parts, 12)
    ours, theirs, state, whole_state = STATE, STATE, third.init(STATE), whole.init(STATE)
    update, whole_update = quick_jit(third.update), quick_jit(whole.update)
    for _ in range(4):
        step = gradient(theirs, INPUTS, LABELS)
        updates, whole_state = whole_update(step, whole_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
        for part in range(3):
            assert (flat(ours)["head.kernel"][...] != flat(theirs)["head.kernel"][...]).any()
            some = slice(4 * part, 4 * part + 4)
            updates, state = update(gradient(ours, INPUTS[some], LABELS[some]), state, ours)
            ours = optax.apply_updates(ours, updates)
        for mine, one in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(mine, one, rtol=1e-4, atol=1e-5)


def test_steps_that_are_left_over_change_nothing():
    config = Optimizer("sgd", 0.1, accumulate=2, **PLAIN)
    moved = descend(config, GRADIENTS[:3])
    np.testing.assert_array_equal(moved["kernel"], descend(config, GRADIENTS[:2])["kernel"])


BAD_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: Optimizer("adam"), ValueError,
     r"`name` must be one of \('sgd', 'adamw'\), got 'adam'"),
    (lambda: Optimizer(schedule="poly"), ValueError,
     r"`schedule` must be one of \('cosine', 'linear', 'step', 'constant'\), got 'poly'"),
    (lambda: Optimizer(learning_rate=-0.1), ValueError, r"`learning_rate` must be at least 0, got"),
    (lambda: Optimizer(learning_rate=math.inf), ValueError, r"`learning_rate` must be finite, got"),
    (lambda: Optimizer(learning_rate="0.1"), TypeError, r"`learning_rate` must be a number, got"),
    (lambda: Optimizer(weight_decay=math.nan), ValueError, r"`weight_decay` must be at least 0"),
    (lambda: Optimizer(warmup=1.5), ValueError,
     r"`warmup` must be at least 0 and at most 1, got 1.5"),
    (lambda: Optimizer(momentum=1), ValueError, r"`momentum` must be below 1, got 1"),
    (lambda: Optimizer(b2=-1), ValueError, r"`b2` must be at least 0 and at most 1, got -1"),
    (lambda: Optimizer(clip=0), ValueError, r"`clip` must be above 0, got 0; None clips nothing"),
    (lambda: Optimizer(clip=True), TypeError, r"`clip` must be a number, got True"),
    (lambda: Optimizer(accumulate=0), ValueError, r"`accumulate` must be at least 1, got 0"),
    (lambda: Optimizer(accumulate=1.5), TypeError, r"`accumulate` must be an int"),
    (lambda: make(Optimizer(), 0), ValueError, r"`steps` must be at least 1, got 0"),
    (lambda: schedule(Optimizer(accumulate=4), 3), ValueError,
     r"`steps` must be at least `accumulate`, 4, for one update, got 3"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), BAD_CALLS)
def test_errors(call: Callable[[], Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
