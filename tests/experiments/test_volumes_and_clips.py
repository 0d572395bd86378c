"""Networks of three axes: solids, and what moves."""

import json
from pathlib import Path

import jax
import numpy as np

from experiments import volumes_and_clips
from jconv.training.data.examples import Examples


def test_volumes_clips_and_single_frames_are_learned(tmp_path: Path):
    assert volumes_and_clips.main(["--tiny", "--out", str(tmp_path)]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {
        *("clips.png", "volumes.png", "result.json")
    }
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    tiny = volumes_and_clips.TINY
    assert list(numbers["accuracy"]) == ["volumes", "clips", "single frames"]
    for runs in numbers["accuracy"].values():
        correct = tiny.held_out * np.array(runs)
        np.testing.assert_allclose(correct, correct.round(), atol=1e-5)
        assert len(runs) == tiny.seeds
    assert list(numbers["recall"]) == list(volumes_and_clips.SOLIDS)


def test_a_single_frame_is_one_of_its_clip():
    clips = np.arange(2 * 4 * 3 * 3).reshape(2, 4, 3, 3, 1)
    single = volumes_and_clips.frames(Examples(clips, np.array([5, 6])))
    np.testing.assert_array_equal(single.inputs, clips[:, 2])
    np.testing.assert_array_equal(single.targets, [5, 6])


def test_held_out_examples_are_others():
    config = volumes_and_clips.Config(examples=16, held_out=16)
    sources = volumes_and_clips.sources(config)
    for n, classes, training, held_out in sources.values():
        assert training.inputs.ndim == n + 2
        assert not np.array_equal(training.inputs, held_out.inputs)
        assert max(training.targets) < len(classes)
    # Clips and frames are of the same digits, in the same directions.
    clips, single = sources["clips"], sources["single frames"]
    np.testing.assert_array_equal(clips[3].targets, single[3].targets)


def test_only_the_kernels_differ_between_two_and_three_axes():
    def kernels(n: int) -> list[tuple[int, ...]]:
        network = volumes_and_clips.Network(n, 8, 2, seed=0)
        layers = network.first, network.second, network.third
        network.eval()
        logits = jax.eval_shape(network, np.zeros((3, *(8,) * n, 1), np.float32))
        assert logits.shape == (3, 8)
        return [layer.conv.kernel[...].shape for layer in layers]

    assert kernels(2) == [(3, 3, 1, 2), (3, 3, 2, 4), (3, 3, 4, 8)]
    assert kernels(3) == [(3, *shape) for shape in kernels(2)]


def test_one_of_each_class_is_shown():
    examples = Examples(np.zeros((5, 2)), np.array([2, 0, 2, 3, 0]))
    assert volumes_and_clips.first_of_each(examples, 5) == [1, 0, 3]
