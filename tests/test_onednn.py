"""oneDNN is used where it is proven, and whatever happens to the proof, convolutions are right."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import jconv
from jconv import onednn
from tests.strategies import normal
from tests.tolerance import assert_close

X, KERNEL = normal(2, 7, 6, 3), normal(3, 2, 3, 4)
with jconv.portable():
    EXPECTED = np.asarray(jconv.conv(X, KERNEL))

HERE = onednn.available(np.dtype("float32"))
needs_onednn = pytest.mark.skipif(not HERE, reason="jaxlib has no oneDNN on this platform")


@pytest.fixture(autouse=True)
def unproven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh installation: an empty cache directory, nothing proven in this process."""
    monkeypatch.setenv("JCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(onednn.platform, "machine", lambda: "x86_64")
    onednn._proven.cache_clear()
    yield tmp_path / "cache"
    onednn._proven.cache_clear()


def children(monkeypatch: pytest.MonkeyPatch, **result: Any) -> list[Any]:
    """Child processes that only seem to run, and end with `result`; the list of them."""
    runs: list[Any] = []

    def run(*arguments: Any, **options: Any) -> Any:
        runs.append(arguments)
        if isinstance(error := result.get("error"), Exception):
            raise error
        return SimpleNamespace(**{"stderr": "", "returncode": 0} | result)

    monkeypatch.setattr(subprocess, "run", run)
    return runs


def conv_is_right() -> int:
    """Computes a convolution that no compilation is known of, and counts the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        actual = jax.jit(lambda x, kernel: jconv.conv(x, kernel))(X, KERNEL)
        again = jax.jit(lambda x, kernel: jconv.conv(x, kernel))(X, KERNEL)
    assert_close(actual, EXPECTED, terms=18)
    assert_close(again, EXPECTED, terms=18)
    return len([each for each in caught if "jconv" in str(each.message)])


@needs_onednn
def test_the_proof_is_made_once_and_remembered(unproven: Path, monkeypatch: pytest.MonkeyPatch):
    assert onednn.available(np.dtype("float32"))
    (remembered,) = json.loads((unproven / "onednn.json").read_text()).values()
    assert "float32" in remembered
    onednn._proven.cache_clear()
    runs = children(monkeypatch, error=AssertionError("a second child"))
    assert onednn.available(np.dtype("float32"))
    assert not runs


@needs_onednn
def test_it_is_chosen_on_cpus_alone_and_not_where_others_must_run_it():
    def chosen(**options: Any) -> str:
        big = jax.ShapeDtypeStruct((8, 56, 56, 64), np.float32)
        kernel = jax.ShapeDtypeStruct((3, 3, 64, 64), np.float32)
        return jconv.explain(jconv.conv, big, kernel, **options).steps[0].chosen.algorithm

    assert chosen(platform="cpu") == "onednn"
    assert chosen(platform="gpu") != "onednn"
    with jconv.portable():
        assert chosen(platform="cpu") != "onednn"


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "complex64"])
def test_other_dtypes_are_never_given_to_it(dtype: str):
    assert not onednn.available(np.dtype(dtype))


def test_one_setting_switches_it_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JCONV_ONEDNN", "0")
    runs = children(monkeypatch, stdout="started\nproven float32\n")
    assert not onednn.available(np.dtype("float32"))
    assert conv_is_right() == 0
    assert not runs


@pytest.mark.parametrize(
    "failure",
    [
        {"stdout": "started\n", "returncode": -9},
        {"stdout": "", "returncode": 1, "stderr": "ImportError: jaxlib\n"},
        {"error": subprocess.TimeoutExpired("python", 60)},
        {"error": OSError("no more processes")},
    ],
    ids=["killed", "no jaxlib", "too slow", "no processes"],
)
def test_a_failed_proof_is_one_warning_and_not_remembered(
    failure: dict[str, Any], unproven: Path, monkeypatch: pytest.MonkeyPatch
):
    children(monkeypatch, **failure)
    assert conv_is_right() == 1
    assert not (unproven / "onednn.json").exists()


@pytest.mark.parametrize("returncode", [0, -6], ids=["wrong", "aborted"])
def test_what_is_not_proven_is_remembered_and_not_used(
    returncode: int, unproven: Path, monkeypatch: pytest.MonkeyPatch
):
    children(monkeypatch, stdout="started\n", returncode=returncode)
    assert conv_is_right() == 0
    assert list(json.loads((unproven / "onednn.json").read_text()).values()) == [[]]


def test_another_jaxlib_is_proven_anew(unproven: Path, monkeypatch: pytest.MonkeyPatch):
    runs = children(monkeypatch, stdout="started\n")
    onednn.available(np.dtype("float32"))
    onednn._proven.cache_clear()
    monkeypatch.setattr(onednn.importlib.metadata, "version", lambda name: "99.0")
    onednn.available(np.dtype("float32"))
    assert len(runs) == 2
    assert len(json.loads((unproven / "onednn.json").read_text())) == 2


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"onednn": 3}', "\0\0"])
def test_a_damaged_or_foreign_cache_counts_as_empty(
    content: str, unproven: Path, monkeypatch: pytest.MonkeyPatch
):
    unproven.mkdir()
    (unproven / "onednn.json").write_text(content)
    runs = children(monkeypatch, stdout="started\n")
    assert conv_is_right() == 0
    assert len(runs) == 1


def test_a_cache_directory_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JCONV_CACHE_DIR", str(tmp_path / "file"))
    runs = children(monkeypatch, stdout="started\n")
    assert conv_is_right() == 0
    assert len(runs) == 1


def test_threads_that_ask_at_once_wait_for_one_child(monkeypatch: pytest.MonkeyPatch):
    runs = children(monkeypatch, stdout="started\n")
    results: list[np.ndarray] = []

    def call() -> None:
        results.append(np.asarray(jax.jit(lambda x, kernel: jconv.conv(x, kernel))(X, KERNEL)))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1
    assert len(results) == 4
    for result in results:
        assert_close(result, EXPECTED, terms=18)


@needs_onednn
def test_four_threads_compute_at_once():
    x, kernel = normal(4, 30, 30, 16), normal(3, 3, 16, 16)
    function = jax.jit(jconv.conv)
    expected = np.asarray(function(x, kernel))
    wrong: list[int] = []

    def call() -> None:
        wrong.extend(i for i in range(20) if not np.array_equal(function(x, kernel), expected))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


FORKS = """
import multiprocessing, os, sys
import numpy as np

def decode(i):
    return np.full((4, 4), i)

if __name__ == "__main__":
    import jax.numpy as jnp, jconv
    x, kernel = jnp.ones((2, 9, 9, 3)), jnp.ones((3, 3, 3, 4))
    before = jconv.conv(x, kernel)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        decoded = pool.map(decode, range(8))
        after = jconv.conv(x, kernel, padding=1)
    assert [each[0, 0] for each in decoded] == list(range(8))
    assert (before == 27).all() and (after[:, 1:-1, 1:-1] == 27).all()
    print("right")
"""


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this platform"
)
def test_forked_data_loaders_do_no_harm(tmp_path: Path):
    script = tmp_path / "loader.py"
    script.write_text(FORKS)
    path = os.pathsep.join([str(Path(jconv.__file__).parents[1]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.stdout.strip() == "right", done.stderr


def test_nothing_unsafe_is_accepted():
    depthwise = onednn._proof((9, 9), 3, in_channels=8, out_channels=8, groups=8)
    assert onednn.accepts_convolution(depthwise)
    for unsafe in ({"dilation": (2, 1)}, {"padding": ((-1, 0), (0, 0))}, {"size": (0, 9)}):
        assert not onednn.accepts_convolution(onednn.dataclasses.replace(depthwise, **unsafe))
