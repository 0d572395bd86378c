"""The command line as a user gives it, on tiny networks and pictures."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx
from PIL import Image
from safetensors.numpy import save_file

from jconv.__main__ import main
from jconv.models import zoo
from jconv.models.weights import to_torchvision
from tests.models.random_network import random_network

# Of tiny size, with dropout and without, and one that torchvision has not.
NETWORKS: dict[str, Callable[..., Any]] = {
    "tiny": partial(zoo.NETWORKS["resnet18"], depths=(1, 1), width=4, num_classes=7),
    "tiny_fcn": partial(zoo.NETWORKS["fcn_resnet50"], depths=(1, 1, 1, 1), width=4),
    "tiny_unet": partial(zoo.NETWORKS["unet"], depth=1, width=4, norm="none"),
    "tiny_tcn": partial(zoo.NETWORKS["tcn"], widths=(4,), window=3),
}


def run(*arguments: str | Path) -> int:
    return main([str(each) for each in arguments])


def build(name: str, **options: Any) -> Any:
    return zoo.network(name)(rngs=nnx.Rngs(0), **options)


def write_weights(path: Path, name: str, classes: int) -> Path:
    """Random weights of a network, under torchvision's names."""
    save_file(
        to_torchvision(random_network(lambda: build(name, num_classes=classes), seed=5)), path
    )
    return path


def noise(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(path)
    return path


def strict(text: str) -> dict[str, Any]:
    def reject(word: str) -> Any:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=reject)


def check_wrong(
    arguments: list[str] | str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with status 2, and one line on stderr that begins with `message`."""
    words = arguments.split() if isinstance(arguments, str) else arguments
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    output, errors = capsys.readouterr()
    assert (status, output) == (2, "")
    assert re.match(rf"python -m jconv( \w+)?: error: {message}", errors), errors
    assert errors.count("\n") == 1
    assert errors.endswith("\n")
    assert len(errors) < 1100
