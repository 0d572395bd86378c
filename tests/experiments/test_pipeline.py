"""Steps and weights of pipelines, and what their heads can take."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from experiments import pipeline
from jconv.training.data.examples import Examples
from jconv.training.loop import Training
from jconv.training.tasks import Classification
from tests.models.random_network import random_network


@pytest.fixture(scope="module")
def kinds() -> dict[str, pipeline.Kind]:
    return pipeline.kinds(pipeline.TINY)


def untrained(config: Any, kind: pipeline.Kind, head: str, seed: int) -> pipeline.Pipeline:
    model = random_network(lambda: pipeline.Pipeline(kind, head, seed))
    model.eval()
    return model


def test_a_run_counts_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # To compile the training of four networks would take most of the time of these tests.
    monkeypatch.setattr(pipeline, "train", untrained)
    assert pipeline.main(["--tiny", "--out", str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    assert list(numbers) == ["digits", "tones"]
    for heads in numbers.values():
        flat, average = heads["flatten"], heads["average"]
        assert flat["steps"][:-2] == average["steps"][:-2]
        assert flat["parameters"] > average["parameters"]
        assert np.shape(flat["accuracy_by_shift"])[0] == pipeline.TINY.seeds
        assert flat["accuracy_of_larger"] == [None]
        assert 0 <= average["accuracy_of_larger"][0] <= 1
    shapes = [shape for _, shape, _ in numbers["digits"]["average"]["steps"]]
    assert shapes == [[16, 16, 1], [16, 16, 16], [8, 8, 16], [8, 8, 32], [4, 4, 32], [32], [10]]


@pytest.mark.parametrize("name", ["digits", "tones"])
@pytest.mark.parametrize("head", pipeline.HEADS)
def test_weights_of_the_steps_are_all_there_are(
    name: str, head: str, kinds: dict[str, pipeline.Kind]
):
    model = untrained(None, kinds[name], head, 0)
    steps = list(model.steps(kinds[name].held_out.inputs[:2]))
    total = sum(pipeline.parameters(layer) for _, layer, _ in steps)
    assert total == sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    *_, (_, _, before), (_, linear, _) = steps
    assert linear.kernel.shape == (before.shape[1], len(kinds[name].classes))


def test_an_average_takes_any_size_and_flattening_one(kinds: dict[str, pipeline.Kind]):
    for kind in kinds.values():
        bigger = pipeline.larger(kind.held_out, kind.pool)
        assert bigger.inputs.shape[1] > kind.held_out.inputs.shape[1]
        flat, average = (untrained(None, kind, head, 0) for head in pipeline.HEADS)
        assert pipeline.accuracy(flat, bigger) is None
        assert pipeline.accuracy(flat, kind.held_out) is not None
        assert pipeline.accuracy(average, bigger) is not None


def test_networks_are_trained_on_their_kind(
    kinds: dict[str, pipeline.Kind], monkeypatch: pytest.MonkeyPatch
):
    fitted = []

    def fit(model: Any, task: Any, training: Examples, *, config: Training, quiet: bool) -> None:
        assert len(training) >= config.batch_size
        fitted.append((model, task, training))

    monkeypatch.setattr(pipeline, "fit", fit)
    monkeypatch.setattr(pipeline, "Pipeline", lambda *arguments: arguments)
    for kind in kinds.values():
        model = pipeline.train(pipeline.TINY, kind, "average", 3)
        assert model == (kind, "average", 3)
        assert fitted[-1] == (model, Classification(len(kind.classes)), kind.training)


def test_a_pipeline_learns(kinds: dict[str, pipeline.Kind]):
    trained = pipeline.train(pipeline.TINY, kinds["tones"], "average", 0)
    untrained = pipeline.Pipeline(kinds["tones"], "average", 0)
    for after, before in zip(trained.convolutions, untrained.convolutions, strict=True):
        assert (after.conv.kernel[...] != before.conv.kernel[...]).any()


def test_shifts_are_along_all_axes_and_lose_what_leaves():
    examples = Examples(np.arange(1.0, 10).reshape(1, 3, 3, 1), np.array([0]))
    moved = pipeline.shifted(examples, 1).inputs[0, ..., 0]
    np.testing.assert_array_equal(moved, [[0, 0, 0], [0, 1, 2], [0, 4, 5]])
    np.testing.assert_array_equal(pipeline.shifted(examples, 0).inputs, examples.inputs)


def test_inputs_have_room_for_their_shifts(kinds: dict[str, pipeline.Kind]):
    for kind in kinds.values():
        moved = pipeline.shifted(kind.held_out, max(kind.shifts)).inputs
        axes = tuple(range(1, moved.ndim))
        total = kind.held_out.inputs.sum(axes)
        np.testing.assert_allclose(moved.sum(axes), total, rtol=1e-5, atol=1e-3)
