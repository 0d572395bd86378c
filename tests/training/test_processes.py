"""Training in other processes: killed and resumed, on several devices, as several processes."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
STEPS = 24  # of the child


def launch(folder: Path, devices: int, *distributed: int) -> subprocess.Popen[str]:
    options = [str(each) for each in (folder, *distributed)]
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.child", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def saved(folder: Path) -> set[int]:
    """Steps of the checkpoints that are whole."""
    found = (folder / "checkpoints").glob("[0-9]*")
    return {int(each.name) for each in found if each.name.isdigit()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What runs that nothing interrupts end with, by the number of devices."""
    processes = {n: launch(tmp_path_factory.mktemp("whole"), n) for n in (1, 8)}
    return {n: result(process) for n, process in processes.items()}


def test_eight_devices_train_as_one_does(whole: dict[int, dict[str, Any]]):
    np.testing.assert_allclose(whole[8]["losses"], whole[1]["losses"], rtol=1e-4)


@pytest.mark.parametrize("devices", [1, 8])
def test_a_killed_run_resumes_bit_equal(
    devices: int, tmp_path: Path, whole: dict[int, dict[str, Any]]
):
    # A checkpoint every second step, so that the kill falls anywhere: in steps and in the writing.
    least = random.randrange(2, STEPS - 6)
    process = launch(tmp_path, devices)
    while not any(step >= least for step in saved(tmp_path)):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    time.sleep(random.random() / 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, f"not killed before it ended, from step {least}"
    assert result(launch(tmp_path, devices)) == whole[devices]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [6, 12, 18, 24]


def test_sigterm_saves_and_says_how_to_resume(tmp_path: Path, whole: dict[int, dict[str, Any]]):
    process = launch(tmp_path, 1)
    while not saved(tmp_path):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.terminate()
    _, err = process.communicate(timeout=300)
    last = err.splitlines()[-1]
    assert last.startswith("jconv.training.loop.Interrupted: stopped after step ")
    assert last.endswith("the same call with `resume` goes on from there")
    step = int(last.split("after step ")[1].split()[0])
    assert max(saved(tmp_path)) == step < STEPS
    assert result(launch(tmp_path, 1)) == whole[1]


def test_two_processes_train_as_one_does(tmp_path: Path, whole: dict[int, dict[str, Any]]):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    processes = [launch(tmp_path, 1, port, number) for number in (0, 1)]
    first, second = map(result, processes)
    assert first == second
    np.testing.assert_allclose(first["losses"], whole[1]["losses"], rtol=1e-4)
