"""Forecasts and words by causal networks: what they are compared with, and what they may see."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments import sequences
from jconv.analysis.receptive_field import receptive_field
from jconv.training.data.embedded import series


def test_errors_accuracies_and_what_networks_see(tmp_path: Path):
    assert sequences.main(["--tiny", "--out", str(tmp_path)]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {
        *("forecasts.png", "words.png", "result.json")
    }
    numbers = json.loads((tmp_path / "result.json").read_text())["numbers"]
    tiny = sequences.TINY
    for counts in numbers["parameters"].values():
        assert counts["dilated"] == counts["undilated"] > 0
    # One block of two convolutions of window 3, behind steps of 32 samples each 16.
    assert numbers["field_weeks"] == dict.fromkeys(sequences.KINDS, 5)
    assert numbers["field_samples"] == dict.fromkeys(sequences.KINDS, 32 + 16 * 4)
    for past, future in numbers["change_before_and_after"].values():
        assert past == 0 < future
    for name in sequences.KINDS:
        assert len(numbers["error_ppm"][name]) == tiny.seeds
        np.testing.assert_allclose(
            np.mean(numbers["error_ppm_by_weeks"][name], 1), numbers["error_ppm"][name], rtol=1e-5
        )
        correct = sequences.HELD_OUT * np.array(numbers["word_accuracy"][name])
        np.testing.assert_allclose(correct, correct.round(), atol=1e-3)
        assert len(correct) == tiny.seeds


def test_dilations_widen_the_view_and_add_no_weights():
    config, x = sequences.Config(levels=3, width=4), jnp.ones((1, 50, 1))
    wide, narrow = (sequences.network(each, config, 0) for each in sequences.KINDS.values())
    assert sequences.parameters(wide) == sequences.parameters(narrow)
    wide.eval()
    narrow.eval()
    # Two convolutions of window 3 in each block: of dilations 1, 2 and 4, or of 1 alone.
    assert receptive_field(wide, x).size == (1 + 4 * (1 + 2 + 4),)
    assert receptive_field(narrow, x).size == (1 + 4 * 3,)


def test_a_target_is_what_came_after_and_not_made_up():
    values = np.arange(60.0, dtype=np.float32) ** 2
    measured = np.ones(60, bool)
    measured[3] = False
    targets = sequences.ahead(values, measured)
    assert targets.shape == (60, sequences.YEAR)
    assert targets[0, 0] == 1
    assert targets[4, 6] == 11**2 - 4**2
    assert np.isnan(targets[3]).all()  # not from what was not measured,
    assert np.isnan(targets[1, 1])  # nor to it,
    assert np.isnan(targets[8:, -1]).all()  # nor beyond the end
    assert not np.isnan(targets[4:8]).any()


def test_rules_are_right_where_they_should_be():
    weeks = np.arange(260, dtype=np.float32)
    season = np.sin(2 * np.pi * weeks / sequences.YEAR)

    def errors(values: np.ndarray) -> dict[str, float]:
        targets = sequences.ahead(values, np.ones(len(values), bool))
        made = sequences.rules(values)
        assert all(each.shape == targets.shape for each in made.values())
        return {name: float(np.nanmean(abs(each - targets))) for name, each in made.items()}

    same, year, growth = errors(np.full(260, 3.0, np.float32)).values()
    assert same == year == growth == 0
    same, year, growth = errors(season).values()
    assert same > 0.5
    assert max(year, growth) < 1e-4
    _, year, growth = errors(season + weeks).values()
    assert abs(year - sequences.YEAR) < 1e-3
    assert growth < 1e-3


def test_windows_hold_the_series_and_count_their_last_weeks():
    _, values, measured = series()
    examples = sequences.windows(values[:400], measured[:400])
    inputs, targets = examples[2]
    assert inputs.shape == (sequences.WINDOW, 1)
    np.testing.assert_allclose(inputs[:, 0], np.diff(values[7 : 8 + sequences.WINDOW]))
    assert np.isnan(targets[: -sequences.SCORED]).all()
    expected = sequences.ahead(values[:400], measured[:400])[8 : 8 + sequences.WINDOW]
    np.testing.assert_array_equal(targets[-sequences.SCORED :], expected[-sequences.SCORED :])


def test_a_network_that_sees_later_inputs_is_found_out():
    x = jnp.arange(10.0)[None, :, None]
    assert sequences.leak(_Before(), x, 4) == (0, 1)
    assert sequences.leak(_Around(), x, 4) == (1, 2)


class _Before(nnx.Module):
    """The last input."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


class _Around(nnx.Module):
    """The sum of the last input and the next one."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + jnp.roll(x, -1, axis=1).at[:, -1].set(0)
