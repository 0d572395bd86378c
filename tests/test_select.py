"""Which algorithm is chosen, by whom, and what is said about it."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from jconv import onednn
from jconv.select import load
from tests.strategies import normal
from tests.tolerance import assert_close

X, KERNEL, GROUPED = normal(2, 6, 6, 4), normal(3, 3, 4, 6), normal(3, 3, 2, 6)


def loss(x: jax.Array, kernel: jax.Array, **options: object) -> jax.Array:
    return jnp.sum(jconv.max_pool(jconv.conv(x, kernel, **options), 2) ** 2)


def chosen(function, *arguments, **options) -> list[tuple[str, str]]:
    steps = jconv.explain(function, *arguments, platform="cpu", **options).steps
    return [(step.form, step.chosen.algorithm) for step in steps]


def test_xla_is_among_the_algorithms_and_supports_every_step():
    explanation = jconv.explain(jax.grad(loss, (0, 1)), X, KERNEL)
    for step in explanation.steps:
        assert "xla" in [each.algorithm for each in step.candidates if each.cost is not None]


def test_explain_names_every_form_of_a_gradient_in_order_without_computing():
    x, kernel = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (X, KERNEL))
    explanation = jconv.explain(jax.jit(jax.grad(loss, (0, 1))), x, kernel)
    forms = [step.form for step in explanation.steps]
    assert forms[:2] == ["forward", "pool_max"]
    assert sorted(forms[2:]) == ["input_gradient", "kernel_gradient", "pool_place"]
    text = str(explanation)
    assert all(form in text for form in forms)
    assert "size=(6, 6)" in text
    assert "out_channels=6" in text


def test_explain_looks_into_loops():
    def repeated(x, kernel):
        return jax.lax.scan(lambda x, _: (jconv.conv(x, kernel, padding="SAME"), None), x, None, 3)

    assert [form for form, _ in chosen(repeated, X, normal(3, 3, 4, 4))] == ["forward"]


def test_kernel_gradients_of_groups_are_computed_in_products_on_cpus():
    def loss(kernel: jax.Array) -> jax.Array:
        return jconv.conv(X, kernel, groups=2).sum()

    with jconv.portable():
        assert ("kernel_gradient", "taps") in chosen(jax.grad(loss), GROUPED)


def test_an_empty_batch_is_weighed_and_computed_too():
    empty = X[:0]
    for name in ("auto", "onednn", "phases", "taps", "xla"):

        def up(x: jax.Array, name: str = name) -> jax.Array:
            return jconv.conv_transpose(x, KERNEL.swapaxes(2, 3), stride=2, algorithm=name)

        if name == "onednn":  # which computes no spread input
            with pytest.raises(ValueError, match="does not support"):
                up(empty)
        else:
            assert up(empty).shape[0] == 0
    assert jconv.explain(jax.grad(loss, (0, 1)), empty, KERNEL).steps


# What each algorithm is for, where it is not for everything.
SPECIAL: dict[str, Callable[..., jax.Array]] = {
    "phases": lambda x, **options: jconv.conv_transpose(x, normal(3, 3, 6, 4), stride=2, **options),
    "product": lambda x, **options: jconv.conv(x, normal(2, 2, 4, 6), stride=2, **options),
    "slices": lambda x, **options: jconv.conv(x[..., None], normal(3, 3, 2, 1, 6), **options),
    "shifts": lambda x, **options: jconv.depthwise_conv(x, normal(3, 3, 4, 1), **options),
}


@pytest.mark.parametrize(
    "algorithm", [n for n in jconv.algorithms() if hasattr(load(n), "forward")]
)
def test_a_named_algorithm_runs_and_so_do_its_derivatives(algorithm: str):
    dtypes = (np.dtype(np.float32),) * 3
    if algorithm == "onednn" and not onednn.available(dtypes[0]):
        pytest.skip("jaxlib has no oneDNN on this platform")
    plain = SPECIAL.get(algorithm, partial(jconv.conv, kernel=KERNEL))
    named = partial(plain, algorithm=algorithm)
    for step in jconv.explain(jax.grad(lambda x: named(x).sum()), X).steps:
        able = algorithm in [each.algorithm for each in step.candidates if each.cost is not None]
        assert (step.chosen.algorithm == algorithm) == able
    assert chosen(named, X)[0][1] == algorithm
    ours, theirs = (
        jax.jit(jax.value_and_grad(lambda x, function=function: jnp.sum(function(x) ** 2)))(X)
        for function in (named, plain)
    )
    for one, other in zip(ours, theirs, strict=True):
        assert_close(one, np.asarray(other), terms=10_000)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    setup = "import jax.numpy as jnp, jconv\nx, k = jnp.ones((1, 5, 2)), jnp.ones((3, 2, 1))\n"
    return subprocess.run(
        [sys.executable, "-c", setup + code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def test_the_environment_sets_the_default_algorithm():
    code = "print(jconv.explain(jconv.conv, x, k).steps[0].chosen.algorithm)"
    done = run(code, JCONV_ALGORITHM="taps")
    assert done.stdout.strip() == "taps", done.stderr


def test_a_wrong_default_algorithm_is_named():
    done = run("jconv.conv(x, k)", JCONV_ALGORITHM="fast")
    assert "ValueError: `JCONV_ALGORITHM` must be 'auto' or one of" in done.stderr


def test_portable_can_be_entered_left_and_set_by_the_environment():
    code = (
        "from jconv.select import is_portable\n"
        "states = [is_portable()]\n"
        "with jconv.portable():\n"
        "    states.append(is_portable())\n"
        "with jconv.portable(False):\n"
        "    states.append(is_portable())\n"
        "print(states)"
    )
    assert run(code).stdout.strip() == "[False, True, False]"
    assert run(code, JCONV_PORTABLE="1").stdout.strip() == "[True, True, False]"


def test_jitted_functions_are_traced_anew_inside_portable():
    traced = []

    @jax.jit
    def function(x):
        traced.append(None)
        return jconv.conv(x, KERNEL)

    function(X)
    with jconv.portable():
        function(X)
    assert len(traced) == 2
