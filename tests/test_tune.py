"""What `tune` measures is kept and followed; what a table says wrongly is passed over."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from jconv import cache, measured, select, workloads
from jconv.explain import as_weighed, operations
from jconv.tune import Tuning
from tests.strategies import normal
from tests.tolerance import assert_close

X, KERNEL = normal(2, 6, 6, 4), normal(3, 3, 4, 6)
KIND = measured.device("cpu") or ""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache directory of its own for each test, and no tables but those that it writes."""
    monkeypatch.setenv("JCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(measured, "SHIPPED", tmp_path / "tables")
    measured.tables.cache_clear()
    yield tmp_path
    measured.tables.cache_clear()


def key(function: Any = jconv.conv, *arrays: Any) -> str:
    """The name of a function's first step."""
    return measured.key(*as_weighed(next(operations(function, *(arrays or (X, KERNEL)))), "cpu"))


def chosen(function: Any = jconv.conv, *arrays: Any) -> select.Candidate:
    return jconv.explain(function, *(arrays or (X, KERNEL)), platform="cpu").steps[0].chosen


def quickly(fun: Any, *args: Any, **options: Any) -> Tuning:
    return jconv.tune(fun, *args, **{"platform": "cpu", "rounds": 1, "progress": False, **options})


def loss(kernel: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.sum(jconv.max_pool(jconv.conv(x, kernel, padding=1), 2) ** 2)


# --- Measuring -----------------------------------------------------------------------------------


def test_the_fastest_is_kept_and_followed():
    tuning = quickly(jconv.conv, X, KERNEL, rounds=3)
    (timing,) = tuning.timings
    assert timing.key == key()
    assert set(timing.times) >= {"xla", "taps"}
    assert timing.times[timing.fastest] == min(timing.times.values()) > 0
    assert chosen() == (timing.fastest, pytest.approx(chosen().cost), "measured by tune")
    assert "(measured by tune)" in str(jconv.explain(jconv.conv, X, KERNEL, platform="cpu"))
    (file,) = tuning.files
    assert json.loads(file.read_text()) == {timing.key: timing.times}


def test_the_result_is_a_table():
    tuning = quickly(jconv.conv, X, KERNEL, store=False)
    title, head, line = str(tuning).splitlines()
    assert title == f"1 steps on {KIND}, in milliseconds"
    assert head.split() == ["fastest", *sorted(tuning.timings[0].times), "step"]
    assert line.startswith(tuning.timings[0].fastest)
    assert line.endswith(key())


def test_nothing_is_kept_unless_asked():
    assert quickly(jconv.conv, X, KERNEL, store=False).files == ()
    assert chosen().reason == "the cheapest that is supported"


def test_gradients_and_pools_are_tuned():
    tuning = quickly(jax.jit(jax.grad(loss, (0, 1))), KERNEL, X)
    assert sorted(each.form for each in tuning.timings) == [
        "forward",
        "input_gradient",
        "kernel_gradient",
        "pool_max",
        "pool_place",
    ]
    for step in jconv.explain(jax.grad(loss, (0, 1)), KERNEL, X, platform="cpu").steps:
        assert step.chosen.reason == "measured by tune"


def test_steps_that_one_algorithm_computes_are_left_out(monkeypatch: pytest.MonkeyPatch):
    for name in jconv.algorithms():
        if name != "xla":
            monkeypatch.setattr(select.load(name), "supports", lambda *_: False)
    assert quickly(jax.grad(loss, (0, 1)), KERNEL, X).timings == ()


def test_equal_steps_are_timed_once_and_those_in_loops_too():
    def repeated(x: jax.Array, kernel: jax.Array) -> jax.Array:
        def same(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return jconv.conv(x, kernel, padding=1), None

        return jax.lax.scan(same, jconv.conv(x, kernel, padding=1), None, 3)[0]

    spec = jax.ShapeDtypeStruct((3, 3, 4, 4), jnp.float32)
    assert len(quickly(repeated, X, spec).timings) == 1


def test_a_mapped_pair_is_tuned_as_the_loop_computes_it():
    stacked = jax.vmap(jconv.conv)
    arrays = np.stack([X] * 3), np.stack([KERNEL] * 3)
    (timing,) = quickly(stacked, *arrays).timings
    assert timing.geometry.stack == 1
    assert chosen(stacked, *arrays) == chosen(jconv.conv, X, KERNEL)
    assert chosen().reason == "measured by tune"


def test_a_workload_stands_for_itself_and_its_gradients():
    cases = [workloads.find("digits"), workloads.find("odd 33, 5 channels")]
    forms = [each.form for each in quickly(cases).timings]
    assert sorted(forms) == sorted(["forward", "input_gradient", "kernel_gradient"] * 2)
    assert len(quickly(cases[0]).timings) == 3


@pytest.mark.parametrize("dtype", ["int8", "bfloat16", "complex64"])
def test_any_dtype_is_tuned(dtype: str):
    specs = (jax.ShapeDtypeStruct(each.shape, dtype) for each in (X, KERNEL))
    (timing,) = quickly(jconv.conv, *specs).timings
    assert timing.dtypes[0] == dtype


def test_progress_is_a_line_on_stderr_for_each_step(capsys: pytest.CaptureFixture[str]):
    quickly(jax.grad(loss, (0, 1)), KERNEL, X, progress=True)
    output, lines = capsys.readouterr()
    assert output == ""
    assert [line.split(":")[0] for line in lines.splitlines()] == [
        f"tune {i}/5" for i in range(1, 6)
    ]
    quickly(jconv.conv, X, KERNEL)
    assert capsys.readouterr() == ("", "")


def test_what_was_measured_before_an_interruption_is_kept(monkeypatch: pytest.MonkeyPatch):
    def write(line: str) -> None:
        if "2/5" in line:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stderr.write", write)
    with pytest.raises(KeyboardInterrupt):
        quickly(jax.grad(loss, (0, 1)), KERNEL, X, progress=True)
    assert len(cache.read(measured._tuned(KIND))) == 2


def test_portable_contexts_time_and_pick_portable_algorithms(monkeypatch: pytest.MonkeyPatch):
    everything = quickly(jconv.conv, X, KERNEL).timings[0].times
    with jconv.portable():
        (timing,) = quickly(jconv.conv, X, KERNEL).timings
    assert all(select.load(name).PORTABLE for name in timing.times)
    kept = cache.read(measured._tuned(KIND))
    assert kept == {key(): {**everything, **timing.times}}

    measured.remember(KIND, {key(): {"xla": 1.0, "taps": 0.001}})
    monkeypatch.setattr(select.load("taps"), "PORTABLE", False)
    assert chosen().algorithm == "taps"
    with jconv.portable():
        assert chosen().algorithm != "taps"


# --- Tables --------------------------------------------------------------------------------------


def test_a_measured_algorithm_is_what_runs():
    expected = jconv.conv(X, KERNEL, algorithm="xla")
    measured.remember(KIND, {key(): {"taps": 0.001, "xla": 1.0}})
    assert chosen() == ("taps", 0.001, "measured by tune")
    assert "while" in jax.jit(jconv.conv).lower(X, KERNEL).as_text()  # the loop over the taps
    assert_close(jax.jit(jconv.conv)(X, KERNEL), np.asarray(expected), terms=36)


def test_the_users_table_goes_before_the_one_that_comes_with_jconv(folder: Path):
    tuning = quickly(jconv.conv, X, KERNEL, store=False, out=folder / "tables")
    (file,) = tuning.files
    assert file.parent == folder / "tables"
    assert chosen().reason == f"measured on {KIND}"
    assert chosen().algorithm == tuning.timings[0].fastest
    measured.write(folder / "tables", KIND, {"another step": {"xla": 1.0}})
    assert set(json.loads(file.read_text())) == {key(), "another step"}
    measured.remember(KIND, {key(): {"taps": 0.001, "xla": 1.0}})
    assert chosen() == ("taps", 0.001, "measured by tune")


@pytest.mark.parametrize(
    "entry",
    [
        {"warp": 0.001},  # unknown
        {"taps": "fast"},
        {"taps": -1.0},
        {"taps": None},
        {"taps": True, "xla": float("nan")},
        ["taps"],
        "taps",
        None,
    ],
)
def test_entries_that_cannot_be_followed_are_passed_over(entry: Any, folder: Path):
    expected = chosen()
    cache.update(measured._tuned(KIND), {key(): entry})
    measured.tables.cache_clear()
    assert chosen() == expected
    measured.write(folder / "tables", KIND, {key(): {"taps": 0.001, "xla": 1.0}})
    assert chosen() == ("taps", 0.001, f"measured on {KIND}")
    assert quickly(jconv.conv, X, KERNEL).files
    assert chosen().reason == "measured by tune"


def test_algorithms_that_a_table_names_must_support_the_step():
    def pool(x: jax.Array, _: jax.Array) -> jax.Array:
        return jconv.max_pool(x, 2)

    expected = chosen(pool)
    measured.remember(KIND, {key(pool): {"taps": 0.001}})
    assert chosen(pool) == expected
    assert expected.reason == "the cheapest that is supported"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe", b'{"a": [1]}'])
def test_damaged_and_foreign_files_are_as_good_as_none(content: bytes, folder: Path):
    expected = chosen()
    for directory in (folder / "cache", folder / "tables"):
        directory.mkdir(exist_ok=True)
        for name in (f"{measured._tuned(KIND)}.json", measured._file(KIND)):
            (directory / name).write_bytes(content)
    measured.tables.cache_clear()
    assert chosen() == expected
    assert len(quickly(jconv.conv, X, KERNEL, out=folder / "tables").files) == 2
    assert chosen().reason == "measured by tune"


def test_what_cannot_be_kept_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "file").touch()
    monkeypatch.setenv("JCONV_CACHE_DIR", str(folder / "file" / "below"))
    with pytest.warns(UserWarning, match=r"could not be kept in .*; set JCONV_CACHE_DIR"):
        tuning = quickly(jconv.conv, X, KERNEL)
    assert tuning.files == ()
    assert len(tuning.timings) == 1
    with pytest.raises(OSError, match="file"):
        quickly(jconv.conv, X, KERNEL, out=folder / "file")


def test_tables_are_read_once(monkeypatch: pytest.MonkeyPatch):
    reads = []
    monkeypatch.setattr(cache, "read", lambda name: reads.append(name) or {})
    for _ in range(3):
        chosen()
    assert reads == [measured._tuned(KIND)]


def test_platforms_without_devices_have_no_tables():
    assert measured.device("other") is None
    assert measured.tables("other") == ()


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: jconv.tune(3), TypeError, "`fun` must be a function, a workload or several"),
        (lambda: jconv.tune([loss]), TypeError, "`fun` must be a function or hold workloads alone"),
        (
            lambda: jconv.tune(workloads.find("digits"), X),
            TypeError,
            "`fun` must be a function where arguments are given",
        ),
        (lambda: quickly(loss, KERNEL, X, rounds=0), ValueError, "`rounds` must be at least 1"),
        (lambda: quickly(loss, KERNEL, X, progress=1), TypeError, "`progress` must be True or"),
        (lambda: quickly(loss, KERNEL, X, store="no"), TypeError, "`store` must be True or False"),
        (
            lambda: quickly(loss, KERNEL, X, platform="cuda"),
            ValueError,
            "`platform` must be one of",
        ),
        (
            lambda: quickly(loss, KERNEL, X, platform="tpu"),
            ValueError,
            "`platform` must be one on which this process has devices, got 'tpu'; use 'cpu'",
        ),
    ],
)
def test_wrong_arguments_are_named(call: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
