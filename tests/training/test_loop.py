"""The loop: what it learns, what it keeps, and how it fails."""

import json
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv.models.layers import Conv
from jconv.ops.adaptive import global_avg_pool
from jconv.training.checkpoint import Checkpoints
from jconv.training.data.examples import Examples
from jconv.training.evaluation import evaluate
from jconv.training.loop import Diverged, Record, Training, fit
from jconv.training.optimizer import Optimizer
from jconv.training.step import setup
from jconv.training.tasks import Classification, Regression

FAST = Optimizer(learning_rate=0.1, schedule="constant", warmup=0)


class Network(nnx.Module):
    def __init__(self, classes: int = 3) -> None:
        rngs = nnx.Rngs(0)
        self.conv = Conv(1, 4, 3, n=1, rngs=rngs)
        self.head = nnx.Linear(4, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(global_avg_pool(jax.nn.relu(self.conv(x))))


def waves(count: int) -> Examples:
    """Three frequencies."""
    numbers = np.random.default_rng(0)
    targets = numbers.integers(3, size=count)
    phases = numbers.uniform(0, 2 * np.pi, (count, 1))
    inputs = np.sin(np.arange(12) * (targets[:, None] + 0.5) + phases)[..., None]
    return Examples(inputs.astype(np.float32), targets.astype(np.int32))


SOURCE = waves(64)
TASK = Classification(3)


def run(out: Path | None = None, resume: bool = False, **options: Any) -> list[Record]:
    config = Training(**{"epochs": 2, "batch_size": 32, "optimizer": FAST, **options})
    return fit(
        Network(),
        TASK,
        SOURCE,
        held_out=waves(20),
        config=config,
        out=out,
        resume=resume,
        quiet=True,
    )


def test_it_learns_and_leaves_a_trained_network():
    model = Network()
    config = Training(epochs=30, batch_size=32, optimizer=FAST, evaluate_every=20)
    history = fit(model, TASK, SOURCE, held_out=waves(20), config=config, quiet=True)
    assert [(each.epoch, each.step) for each in history] == [(20, 40), (30, 60)]
    assert history[-1].held_out["accuracy"] > 0.9
    assert history[-1].training["loss"] < history[0].training["loss"]
    assert 0 <= history[0].waiting < 1
    measured = evaluate(model, TASK, waves(20), batch_size=16)
    np.testing.assert_allclose(measured["loss"], history[-1].held_out["loss"], rtol=1e-5)


def test_evaluation_counts_every_example_once():
    model, source = Network(), waves(21)
    logits = model(source.inputs)
    losses = -jax.nn.log_softmax(logits)[np.arange(21), source.targets]
    measured = evaluate(model, TASK, source, batch_size=8)
    np.testing.assert_allclose(measured["loss"], losses.mean(), rtol=1e-5)
    accuracy = (logits.argmax(-1) == source.targets).mean()
    np.testing.assert_allclose(measured["accuracy"], accuracy, rtol=1e-6)


def test_pictures_of_bytes_are_those_of_floats():
    numbers = np.random.default_rng(0).integers(256, size=(64, 12, 1), dtype=np.uint8)
    floats = Examples(numbers.astype(np.float32) / 255, SOURCE.targets)
    config = Training(epochs=1, batch_size=32, optimizer=FAST)
    losses = [
        fit(Network(), TASK, each, held_out=each, config=config, quiet=True)[0]
        for each in (Examples(numbers, SOURCE.targets), floats)
    ]
    for part in ("training", "held_out"):
        first, second = (getattr(record, part)["loss"] for record in losses)
        np.testing.assert_allclose(first, second, rtol=1e-6)


def test_the_average_of_parameters_is_what_remains():
    model = Network()
    first = model.head.kernel[...]
    config = Training(epochs=1, batch_size=64, optimizer=FAST)
    fit(model, TASK, SOURCE, config=config, quiet=True)
    averaged = Network()
    config = Training(epochs=1, batch_size=64, optimizer=FAST, average=0.75)
    fit(averaged, TASK, SOURCE, config=config, quiet=True)
    expected = 0.75 * first + 0.25 * model.head.kernel[...]
    np.testing.assert_allclose(averaged.head.kernel[...], expected, rtol=1e-4, atol=1e-6)


class Negative:
    """Augmentation that can be told from none, and equals others of its kind."""

    def __call__(self, key: jax.Array, inputs: Any, targets: Any) -> tuple[Any, Any]:
        return -inputs, jax.nn.one_hot(targets, 3)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Negative)

    def __hash__(self) -> int:
        return 0


def test_augmentation_changes_what_is_trained_on_but_not_what_is_evaluated():
    config = Training(epochs=1, batch_size=64, optimizer=Optimizer(learning_rate=0.0))
    [record] = fit(
        Network(), TASK, SOURCE, held_out=SOURCE, config=config, augment=Negative(), quiet=True
    )
    flipped = Examples(-SOURCE.inputs, SOURCE.targets)
    for examples, metrics in ((flipped, record.training), (SOURCE, record.held_out)):
        expected = evaluate(Network(), TASK, examples, batch_size=64)["loss"]
        np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-5)


def test_regression():
    class Scale(nnx.Module):
        def __init__(self) -> None:
            self.factor = nnx.Param(jnp.ones(()))

        def __call__(self, x: jax.Array) -> jax.Array:
            return x * self.factor[...]

    x = np.arange(1.0, 17.0, dtype=np.float32)[:, None] / 16
    targets = np.where(x > 0.9, np.nan, 3 * x)
    model = Scale()
    config = Training(epochs=60, batch_size=16, optimizer=FAST)
    history = fit(model, Regression(), Examples(x, targets), config=config, quiet=True)
    np.testing.assert_allclose(model.factor[...], 3, rtol=0.05)
    assert history[-1].training["mean_absolute_error"] < 0.1
    assert Regression().score(history[-1].training) > Regression().score(history[0].training)


def test_a_run_leaves_its_history(tmp_path: Path):
    history = run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert [line["held_out"]["loss"] for line in lines] == [r.held_out["loss"] for r in history]
    assert list((tmp_path / "tensorboard").iterdir())
    with pytest.raises(ValueError, match=r"`out` must be a folder without a run, .* of 4 steps"):
        run(tmp_path)
    again = run(tmp_path, resume=True)
    assert [each.held_out["loss"] for each in again] == [each.held_out["loss"] for each in history]
    with pytest.raises(
        ValueError, match=r"`epochs` must be as in the run that is resumed, 2, got 3"
    ):
        run(tmp_path, resume=True, epochs=3)


def test_a_profile_on_request(tmp_path: Path):
    run(tmp_path, epochs=8, profile=50)  # more than there are
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, damage: str):
    expected = run(tmp_path)
    folder = tmp_path / "checkpoints" / "4" / "state"
    for file in [each for each in folder.rglob("*") if each.is_file()]:
        if damage == "cut":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        else:
            file.unlink()
    with pytest.warns(UserWarning, match=r"checkpoint of step 4 in .* cannot be read .* before"):
        resumed = run(tmp_path, resume=True)
    assert [r.held_out["loss"] for r in resumed] == [r.held_out["loss"] for r in expected]
    assert (tmp_path / "checkpoints" / "damaged-4").is_dir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path, resume=True)


def test_what_is_not_finite_stops_the_run(tmp_path: Path):
    inputs = SOURCE.inputs.copy()
    inputs[7] = np.inf
    config = Training(epochs=3, batch_size=8, optimizer=FAST, save_every=1)
    with pytest.raises(Diverged, match=r"gradient of step (\d+) was not finite, .* of step \1: "):
        fit(
            Network(),
            TASK,
            Examples(inputs, SOURCE.targets),
            config=config,
            out=tmp_path,
            quiet=True,
        )
    with pytest.raises(Diverged, match="there is no checkpoint: lower the optimizer's"):
        fit(
            Network(), TASK, Examples(inputs[7:15], SOURCE.targets[7:15]), config=config, quiet=True
        )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "`epochs` must be at least 1, got 0"),
        ({"workers": -1}, "`workers` must be at least 0, got -1"),
        ({"average": 1.0}, "`average` must be at least 0 and below 1, got 1.0"),
        ({"batch_size": 128}, "`batch_size` must be at most the number of examples, 64, got 128"),
        ({"batch_size": 12}, "`batch_size` must be divisible by the number of devices, 8, got 12"),
    ],
)
def test_wrong_settings(options: dict[str, Any], text: str):
    with pytest.raises(ValueError, match=text):
        run(**options)


def test_wrong_tasks():
    with pytest.raises(ValueError, match="`classes` must be at least 2, got 1"):
        Classification(1)
    with pytest.raises(ValueError, match="`smoothing` must be at least 0 and below 1, got 1"):
        Classification(2, smoothing=1)
    with pytest.raises(ValueError, match="`source` must have at least one example"):
        evaluate(Network(), TASK, Examples(np.ones((0, 12, 1)), np.ones(0, int)))


def test_the_best_checkpoint_is_kept(tmp_path: Path):
    history = run(tmp_path, epochs=6, optimizer=Optimizer(learning_rate=0.5, schedule="constant"))
    scores = {each.step: each.held_out["accuracy"] for each in history}
    best = max(scores, key=lambda step: (scores[step], step))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    _, like = setup(Network(), TASK, FAST, 12, 2)
    state, notes = checkpoints.best(like)
    assert int(state.step) == best
    assert notes["score"] == scores[best]
    assert {*checkpoints.steps()} == {best, 10, 12}
    checkpoints.close()
