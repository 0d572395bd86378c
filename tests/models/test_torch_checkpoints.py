"""Checkpoints that PyTorch and safetensors wrote, equal to the last bit."""

import argparse
import pickle
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jconv.models.checkpoints import CheckpointError, read_state_dict
from tests.torch_twin import torch

zip_or_legacy = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])

DTYPES = [
    *("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32"),
    *("float64", "complex64", "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn"),
    *("float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
]
DTYPES = [name for name in DTYPES if hasattr(torch, name)]


def numbers(dtype: str, *shape: int) -> "torch.Tensor":
    """Random bits as numbers of `dtype`."""
    dtype = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(0)
    if dtype == torch.bool:
        return torch.randint(0, 2, shape, generator=generator).to(dtype)
    size = torch.empty((), dtype=dtype).element_size()
    shape = (*shape[:-1], shape[-1] * size)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).view(dtype)


def saved(path: Path, contents: Any, zipped: bool = True, **settings: Any) -> Path:
    torch.save(contents, path, _use_new_zipfile_serialization=zipped, **settings)
    return path


def assert_equal(actual: Mapping[str, np.ndarray], expected: Mapping[str, "torch.Tensor"]) -> None:
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        assert str(tensor.dtype) == f"torch.{actual[name].dtype}"
        assert actual[name].dtype.isnative
        assert actual[name].shape == tensor.shape
        data = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        assert actual[name].tobytes() == data.tobytes()


@zip_or_legacy
def test_dtypes(tmp_path: Path, zipped: bool):
    state = {name: numbers(name, 3, 4) for name in DTYPES}
    assert_equal(read_state_dict(saved(tmp_path / "file", state, zipped)), state)


@zip_or_legacy
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint16", "complex64"])
def test_views(tmp_path: Path, zipped: bool, dtype: str):
    x = numbers(dtype, 4, 5, 6)
    state = {
        "whole": x,
        "transposed": x.permute(2, 0, 1),
        "part": x[1:3, ::2, 1:],
        "scalar": x[1, 2, 3],
        "expanded": x[:, :1].expand(4, 7, 6),
        "empty": x[:, 5:],
        "channels_last": x[None].contiguous(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(x.t() if x.ndim == 2 else x, requires_grad=False),
    }
    actual = read_state_dict(saved(tmp_path / "file", state, zipped))
    assert_equal(actual, state)
    assert np.shares_memory(actual["whole"], actual["part"])
    assert not np.shares_memory(actual["whole"], actual["channels_last"])


@zip_or_legacy
@pytest.mark.parametrize("protocol", range(2, 6))
def test_networks(tmp_path: Path, zipped: bool, protocol: int):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    assert network.state_dict()._metadata  # an attribute, no entry
    for model in (network, torch.nn.DataParallel(network)):
        for keep_vars in (False, True):
            state = model.state_dict(keep_vars=keep_vars)
            path = saved(tmp_path / "file", state, zipped, pickle_protocol=protocol)
            assert_equal(read_state_dict(path), network.state_dict())


def test_parameters_with_attributes(tmp_path: Path):
    parameter = torch.nn.Parameter(numbers("float32", 2, 3))
    parameter.note = {"tied": True}
    assert_equal(read_state_dict(saved(tmp_path / "file", {"x": parameter})), {"x": parameter})


@zip_or_legacy
@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict"])
def test_training_checkpoints(tmp_path: Path, zipped: bool, key: str):
    network = torch.nn.Linear(3, 4)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 6])
    options = {"device": torch.device("cuda:0"), "dtype": torch.bfloat16, "output": tmp_path}
    checkpoint = {
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": scheduler.state_dict(),  # with a Counter
        "best": torch.tensor(0.5),
        "loss": np.float64(0.25),
        "epoch": 3,
        "shape": torch.Size((2, 3)),
        "args": argparse.Namespace(lr=0.1, seeds={1, 2}, **options),
        key: network.state_dict(),
    }
    path = saved(tmp_path / "file", checkpoint, zipped)
    assert_equal(read_state_dict(path), network.state_dict())


class Extra(torch.nn.Linear):
    def get_extra_state(self) -> Any:
        return {"scale": 2}


@zip_or_legacy
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.nn.Linear(2, 3), "names the global `torch.nn.modules.linear.Linear`"),
        (lambda: Extra(2, 3).state_dict(), "the entry '_extra_state' "),
        (lambda: {"x": torch.ones(2, dtype=torch.complex64).conj()}, "resolve_conj"),
        (lambda: {"x": torch.eye(3).to_sparse()}, "names the global `torch._utils._rebuild_sparse"),
        (lambda: torch.ones(3), "holds a Tensor and no state dict"),
        (lambda: [torch.ones(3)], "holds a list and no state dict"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, zipped: bool, make: Callable, message: str):
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(saved(tmp_path / "file", make(), zipped))


@pytest.mark.filterwarnings("ignore")  # PyTorch is about to drop it
def test_torchscript(tmp_path: Path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 3), torch.ones(1, 2)), tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"TorchScript archive: .* `model.state_dict\(\)`"):
        read_state_dict(tmp_path / "file")


def test_safetensors(tmp_path: Path):
    safetensors = pytest.importorskip("safetensors.torch")
    names = [name for name in DTYPES if name not in ("complex128",)]
    names = [name for name in names if not name.endswith("fnuz")]  # not in each version of it
    state = {name: numbers(name, 3, 4) for name in names}
    state |= {"module.scalar": torch.tensor(2.0), "empty": torch.ones(0, 3)}
    safetensors.save_file(state, tmp_path / "file", metadata={"format": "pt"})
    actual = read_state_dict(tmp_path / "file")
    assert_equal({name: actual[name] for name in state}, state)


@zip_or_legacy
def test_truncated_files(tmp_path: Path, zipped: bool):
    path = saved(tmp_path / "file", torch.nn.Linear(3, 4).state_dict(), zipped)
    data = path.read_bytes()
    for length in np.linspace(0, len(data) - 1, 200).astype(int):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"damaged|neither"):
            read_state_dict(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pickletools")  # of damaged escapes
@zip_or_legacy
def test_damaged_files(tmp_path: Path, zipped: bool):
    path = saved(tmp_path / "file", torch.nn.Linear(3, 4).state_dict(), zipped)
    data, generator = path.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(generator.choice((1, 4, 16))):
            damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            state = read_state_dict(path)
        except CheckpointError:
            continue
        assert all(isinstance(array, np.ndarray) for array in state.values())
        assert not zipped or [array.tobytes() for array in state.values()]


def test_pickles_of_other_makers(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps(torch.nn.Linear(3, 4).state_dict()))
    with pytest.raises(CheckpointError, match="nothing was executed"):
        read_state_dict(path)
