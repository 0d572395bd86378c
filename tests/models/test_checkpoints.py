"""Checkpoints written here by hand: what is read, what is refused, and what never happens."""

import io
import json
import os
import pickle
import random
import re
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from jconv.models.checkpoints import CheckpointError, read_state_dict

# --- Writing --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A global in a pickle, called with `arguments` unless they are None."""

    name: str
    arguments: tuple | None = None
    state: Any = None


@dataclass(frozen=True)
class Stored:
    """A persistent id."""

    identity: Any


def encode(value: Any) -> bytes:
    """The opcodes of protocol 2 that make `value`."""
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(encode, value)) + b"t"
        case list():
            return b"](" + b"".join(map(encode, value)) + b"e"
        case dict():
            items = b"".join(encode(key) + encode(entry) for key, entry in value.items())
            return b"}(" + items + b"u"
        case Call():
            module, name = value.name.rsplit(".", 1)
            code = f"c{module}\n{name}\n".encode()
            code += b"" if value.arguments is None else encode(value.arguments) + b"R"
            return code + (b"" if value.state is None else encode(value.state) + b"b")
        case Stored():
            return encode(value.identity) + b"Q"
        case bytes():  # opcodes as they are
            return value
    raise TypeError(value)


def pickled(value: Any) -> bytes:
    return b"\x80\x02" + encode(value) + b"."


def storage(key: str = "0", count: int = 6, kind: str = "Float") -> Stored:
    return Stored(("storage", Call(f"torch.{kind}Storage"), key, "cpu", count))


def tensor(
    storage: Any, offset: Any = 0, shape: Any = (2, 3), strides: Any = (3, 1), *more: Any
) -> Call:
    arguments = (storage, offset, shape, strides, False, Call("collections.OrderedDict", ()))
    return Call("torch._utils._rebuild_tensor_v2", (*arguments, *more))


SIX = np.arange(6, dtype="<f4")


def zipped(value: Any, records: Mapping[str, bytes] | None = None, **settings: Any) -> bytes:
    """A file of `torch.save`, whose storage "0" is `SIX`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **settings) as archive:
        archive.writestr("archive/data.pkl", pickled(value))
        for name, data in ({"data/0": SIX.tobytes()} | dict(records or {})).items():
            archive.writestr(f"archive/{name}", data)
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def legacy(value: Any, storages: Mapping[str, bytes] | None = None) -> bytes:
    """A file of `torch.save` before 1.6, with storages of float32."""
    if storages is None:
        storages = {"0": SIX.tobytes()} if b"Storage" in encode(value) else {}
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    objects = (0x1950A86A20F9469CFC6C, 1001, system, value, list(storages))
    data = (struct.pack("<q", len(data) // 4) + data for data in storages.values())
    return b"".join(map(pickled, objects)) + b"".join(data)


def safetensors(entries: Mapping[str, tuple[str, list[int], bytes]]) -> bytes:
    header, data = {}, b""
    for name, (dtype, shape, content) in entries.items():
        ends = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": ends}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], dict[str, np.ndarray]]:
    def read(data: bytes) -> dict[str, np.ndarray]:
        path = tmp_path / "a file"
        path.write_bytes(data)
        return read_state_dict(path)

    return read


def assert_equal(actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert list(actual) == list(expected)
    for name, array in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (array.dtype, array.shape)
        assert actual[name].tobytes() == array.tobytes()


both_writers = pytest.mark.parametrize("write", [zipped, legacy])

# --- What is read ---------------------------------------------------------------------------------


@both_writers
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (tensor(storage()), SIX.reshape(2, 3)),
        (tensor(storage(), 0, (3, 2), (1, 3)), SIX.reshape(2, 3).T),
        (tensor(storage(), 1, (2,), (4,)), SIX[1::4]),
        (tensor(storage(), 5, (), ()), SIX[5]),
        (tensor(storage(), 6, (0, 3), (3, 1)), np.zeros((0, 3), np.float32)),
        (tensor(storage(), 2, (4, 5), (0, 0)), np.full((4, 5), 2, np.float32)),
        (tensor(storage(), 0, (2, 3), (3, 1), None), SIX.reshape(2, 3)),
        (Call("torch._utils._rebuild_tensor", (storage(), 1, (5,), (1,))), SIX[1:]),
        (Call("torch._utils._rebuild_parameter", (tensor(storage()), True, {})), SIX.reshape(2, 3)),
    ],
)
def test_tensors(read: Callable, write: Callable, value: Any, expected: np.ndarray):
    assert_equal(read(write({"x": value})), {"x": np.asarray(expected)})


@both_writers
def test_arrays_share_memory_and_cannot_be_written(read: Callable, write: Callable):
    contents = {"a": tensor(storage()), "b": tensor(storage(), 3, (3,), (1,))}
    state = read(write(contents | {"empty": tensor(storage(), 0, (0,), (1,))}))
    assert np.shares_memory(state["a"], state["b"])
    assert not any(array.flags.writeable for array in state.values())


@both_writers
def test_a_state_dict_with_metadata(read: Callable, write: Callable):
    metadata = {"_metadata": Call("collections.OrderedDict", ()), "__setstate__": 1, "items": 2}
    value = Call("collections.OrderedDict", (), metadata)
    value = encode(value) + encode("x") + encode(tensor(storage())) + b"s"
    assert_equal(read(write(value)), {"x": SIX.reshape(2, 3)})


def test_a_dict_of_pairs(read: Callable):
    value = Call("collections.OrderedDict", ([["b", tensor(storage())], ["a", tensor(storage())]],))
    assert list(read(legacy(value))) == ["b", "a"]


def test_views_of_old_storages(read: Callable):
    view = Stored(("storage", Call("torch.FloatStorage"), "0", "cpu", 6, ("1", 2, 3)))
    assert_equal(read(legacy({"x": tensor(view, 1, (2,), (1,))})), {"x": SIX[3:5]})
    with pytest.raises(CheckpointError, match="leaves its storage"):
        read(legacy({"x": tensor(view, 2, (2,), (1,))}))
    beyond = Stored(("storage", Call("torch.FloatStorage"), "0", "cpu", 6, ("1", 4, 3)))
    with pytest.raises(CheckpointError, match="ends beyond it"):
        read(legacy({"x": tensor(beyond, 0, (1,), (1,))}))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("write", [zipped, legacy])
def test_training_checkpoints(read: Callable, write: Callable, key: str):
    namespace = Call("argparse.Namespace", (), {"lr": 1, "device": Call("torch.device", ("cpu",))})
    optimizer = {"state": {0: {"step": tensor(storage())}}, "param_groups": [{"params": [0]}]}
    counter = Call("collections.Counter", ({30: 1},))
    value = {"optimizer": optimizer, "args": namespace, "milestones": counter, "epoch": 3}
    state = read(write(value | {"best": tensor(storage()), key: {"x": tensor(storage())}}))
    assert_equal(state, {"x": SIX.reshape(2, 3)})


def test_the_prefix_of_data_parallel(read: Callable):
    x = tensor(storage())
    assert list(read(zipped({"module.a": x, "module.module.b": x}))) == ["a", "module.b"]
    assert list(read(zipped({"module.a": x, "b": x}))) == ["module.a", "b"]
    assert read(zipped({})) == {}


@pytest.mark.parametrize("order", ["little", "big"])
def test_byte_order(read: Callable, order: str):
    sign = {"little": "<", "big": ">"}[order]
    records = {"byteorder": order.encode(), "data/0": SIX.astype(f"{sign}f4").tobytes()}
    expected = SIX.reshape(2, 3).astype("=f4")
    assert_equal(read(zipped({"x": tensor(storage())}, records)), {"x": expected})


SAFETENSORS = {
    "BOOL": np.dtype(bool),
    **{f"I{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    "C64": np.dtype("<c8"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
}


def test_safetensors(read: Callable):
    pytest.importorskip("safetensors")
    expected = {name: np.ones((2, 3), dtype) for name, dtype in SAFETENSORS.items()}
    expected |= {"scalar": np.float32(3)[...], "empty": np.zeros((0, 2), np.float32)}
    entries = {
        name: (name if name in SAFETENSORS else "F32", list(array.shape), array.tobytes())
        for name, array in expected.items()
    }
    state = read(safetensors(entries))
    assert_equal({name: state[name] for name in expected}, expected)
    assert not any(array.flags.writeable for array in state.values())
    with pytest.raises(CheckpointError, match="'x' in F4"):
        read(safetensors({"x": ("F4", [4], b"12")}))


def test_safetensors_whose_length_looks_like_a_pickle(read: Callable):
    pytest.importorskip("safetensors")
    data = safetensors({"module.x": ("F32", [6], SIX.tobytes())})
    data = struct.pack("<Q", 0x180) + data[8:-24] + b" " * (0x180 - len(data) + 32) + data[-24:]
    assert_equal(read(data), {"x": SIX})


def test_safetensors_that_is_not_installed(read: Callable, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match="install `safetensors` to read"):
        read(safetensors({"x": ("F32", [6], SIX.tobytes())}))


# --- What is refused ------------------------------------------------------------------------------


class Evil:
    """What pickle would execute."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple:
        return self.reduced


@both_writers
@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, f"{os.name}.system"), (eval, "builtins.eval"), (exec, "builtins.exec")],
)
def test_nothing_is_executed(
    tmp_path: Path, write: Callable, protocol: int, function: Callable, name: str
):
    marker, path = tmp_path / "marker", tmp_path / "evil.pth"
    code = f"echo > {marker}" if function is os.system else f"open({str(marker)!r}, 'w').close()"
    evil = pickle.dumps(Evil(function, code), protocol)
    name = name if protocol > 2 else name.replace("builtins", "__builtin__")
    pickle.loads(evil)
    assert marker.exists()  # as it stands it would work
    marker.unlink()

    opcodes = evil[:-1]
    for value in (opcodes, {"x": opcodes}, {"model": {"x": tensor(storage())}, "args": opcodes}):
        path.write_bytes(write(value))
        with pytest.raises(CheckpointError) as raised:
            read_state_dict(path)
        assert f"{str(path)!r} names the global `{name}`" in str(raised.value)
        assert "nothing was executed" in str(raised.value)
        assert "`model.state_dict()`" in str(raised.value)
        assert not marker.exists()


@both_writers
@pytest.mark.parametrize(
    "name",
    [
        *("builtins.getattr", "__builtin__.eval", "torch.load", "torch._utils", "os.path.join"),
        *("collections.OrderedDict.__init__", "torch.nn.modules.linear.Linear", "__main__.Net"),
        *(
            "jconv.models.pickles._storage",
            "numpy._core.multiarray._reconstruct",
            "copyreg.__all__",
        ),
    ],
)
def test_refused_globals(read: Callable, write: Callable, name: str):
    with pytest.raises(CheckpointError, match=f"names the global `{name}`.*nothing was executed"):
        read(write({"x": tensor(storage()), "y": Call(name)}))


OPCODES = {
    "instance": b"(ios\nsystem\n",
    "object": b"(cargparse\nNamespace\no",
    "extension": b"\x82\x01",
    "dup": b"N2",
    "newobj_ex": encode(Call("argparse.Namespace")) + b")}\x92",
}


@pytest.mark.parametrize("opcodes", OPCODES.values(), ids=OPCODES)
def test_refused_opcodes(read: Callable, opcodes: bytes):
    with pytest.raises(CheckpointError, match="opcode"):
        read(zipped({"x": opcodes}))


REBUILD = Call("torch._utils._rebuild_tensor_v2")
ORDERED = Call("collections.OrderedDict")
BAD_CALLS = {
    "a function as a storage": tensor(REBUILD),
    "a tensor as a storage": tensor(tensor(storage())),
    "a tensor as a shape": tensor(storage(), 0, tensor(storage())),
    "a called tensor": encode(tensor(storage())) + b")R",
    "a called dict": b"})R",
    "a called result": encode(Call("collections.OrderedDict", ())) + b")R",
    "no tuple of arguments": encode(ORDERED) + encode([1]) + b"R",
    "too few arguments": Call("torch._utils._rebuild_tensor_v2", (storage(),)),
    "pairs that are none": Call("collections.OrderedDict", ([1, 2],)),
    "pairs in a tuple": Call("collections.OrderedDict", ((("a", 1),),)),
    "an item of a tensor": encode(tensor(storage())) + encode("y") + b"Ns",
    "an item of a function": encode(REBUILD) + encode("y") + b"Ns",
    "half an item": b"}(" + encode("y") + b"u",
    "the state of a function": encode(REBUILD) + encode({"__defaults__": (1,)}) + b"b",
    "a deeply nested key": b"}" + b")" + b"\x85" * 100_000 + b"Ns",
    "an unhashable key": b"}]Ns",
    "an empty stack": b"R",
    "no mark": b"t",
    "no memo": b"h\x05",
    "a storage of nothing": Stored(()),
    "a storage of a tensor's type": Stored(("storage", REBUILD, "0", "cpu", 6)),
    "a module": Stored(("module", ORDERED, "file", "source")),
    "a storage with a tuple as a key": Stored(("storage", Call("torch.FloatStorage"), (), "", 6)),
    "a dtype that is none": Call(
        "torch._utils._rebuild_tensor_v3",
        (storage(), 0, (1,), (1,), False, {}, Call("torch.device")),
    ),
}


@pytest.mark.parametrize("value", BAD_CALLS.values(), ids=BAD_CALLS)
@both_writers
def test_calls_that_make_no_sense(read: Callable, write: Callable, value: Any):
    with pytest.raises(CheckpointError):
        read(write({"x": value}))


@both_writers
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (2, 3), (3, 1)),
        (6, (), ()),
        (0, (2,), (6,)),
        (2**62, (1,), (1,)),
        (0, (2**62, 2**62), (1, 1)),
        (0, (2,), (2**63,)),
        (0, (2**40,), (1,)),
        (-1, (2,), (1,)),
        (5, (2,), (-1,)),
        (0, (-2, -3), (3, 1)),
        (0, (0, -3), (3, 1)),
        (0, (2,), (1, 1)),
        (0, (True,), (1,)),
        (0, ("2",), (1,)),
        (0, [2], [1]),
        (None, (2,), (1,)),
        (0, (1,) * 65, (1,) * 65),
        (0, (0, 2**62, 2**62), (1, 1, 1)),
        (0, (2**62, 2**62), (0, 0)),
    ],
)
def test_no_tensor_leaves_its_storage(
    read: Callable, write: Callable, offset: Any, shape: Any, strides: Any
):
    with pytest.raises(CheckpointError, match="damaged"):
        read(write({"x": tensor(storage(), offset, shape, strides)}))


@both_writers
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"x": tensor(storage()), "_extra_state": 3}, "the entry '_extra_state' (int)"),
        ({"epoch": 3, "net": {"x": tensor(storage())}}, "the entry 'epoch' (int)"),
        ({"model": {"x": Call("argparse.Namespace", ())}}, "'x' (argparse.Namespace)"),
        ({"model": {"x": storage()}}, "the entry 'x' (Storage)"),
        ({"x": REBUILD}, "the entry 'x' (torch._utils._rebuild_tensor_v2)"),
        ({0: tensor(storage())}, "the entry 0 (Tensor)"),
        ([tensor(storage())], "holds a list and no state dict"),
        (tensor(storage()), "holds a Tensor and no state dict"),
        (None, "holds a NoneType and no state dict"),
        ({"x": tensor(storage(), 0, (), (), {"conj": True})}, "resolve_conj"),
        ({"x": tensor(storage("1"))}, "damaged or incomplete"),
        ({"x": tensor(storage("../version"))}, "damaged or incomplete"),
        ({"x": tensor(storage(count=7), 0, (7,), (1,))}, "damaged or incomplete"),
        ({"x": tensor(storage(count=5), 0, (5,), (1,))}, "damaged or incomplete"),
        ({"x": tensor(storage(kind="Double"))}, "damaged or incomplete"),
        ({"x": tensor(storage(kind="QInt8"))}, "names the global `torch.QInt8Storage`"),
    ],
)
def test_state_dicts_that_are_none(read: Callable, write: Callable, value: Any, message: str):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        read(write(value))


def text_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("letter.txt", "Dear all")
    return buffer.getvalue()


GOOD = {"x": tensor(storage())}
FILES = {
    "empty": (b"", "it is empty"),
    "text": (b"import this\n", "neither a PyTorch checkpoint nor a safetensors file"),
    "braces": (b"\\usepackage{tikz}" * 9, "neither a PyTorch"),
    "json": (b'{"x": [{"y": {}}]}', "neither a PyTorch"),
    "brace": (b"\\section{A}", "damaged or incomplete"),
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01", "neither a PyTorch"),
    "pickle": (pickled({"x": 1}), "a pickle, but not one that `torch.save` wrote"),
    "pickled array": (pickle.dumps({"x": SIX}), "names the global `numpy"),
    "protocol": (pickled(0x1950A86A20F9469CFC6C) + pickled(7), "unknown version"),
    "archive": (text_archive(), "not one that `torch.save` wrote"),
    "compressed": (zipped(GOOD, compression=zipfile.ZIP_DEFLATED), "compressed or overlapping"),
    "torchscript": (zipped(GOOD, {"constants.pkl": b""}), "TorchScript.*`torch.jit.load`"),
    "code": (zipped(GOOD, {"code/__torch__.py": b""}), "TorchScript"),
    "byte order": (zipped(GOOD, {"byteorder": b"middle"}), "unknown byte order 'middle'"),
    "unreferenced key": (legacy(GOOD, {"0": SIX.tobytes(), "1": b""}), "damaged or incomplete"),
    "nested key": (
        legacy(GOOD).replace(pickled(["0"]), pickled(b"](" + b")" + b"\x85" * 100_000 + b"e")),
        "a tuple as the key of a storage",
    ),
    "big storage": (legacy(GOOD)[:-32] + struct.pack("<q", 2**62), "damaged or incomplete"),
    "negative storage": (legacy(GOOD)[:-32] + struct.pack("<q", -1), "damaged or incomplete"),
}


@pytest.mark.parametrize(("data", "message"), FILES.values(), ids=FILES)
def test_files_that_are_no_checkpoints(tmp_path: Path, data: bytes, message: str):
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    if data[8:9] == b"{":
        pytest.importorskip("safetensors")
    with pytest.raises(CheckpointError, match=message) as raised:
        read_state_dict(path)
    assert str(path) in str(raised.value)
    assert isinstance(raised.value, ValueError)


def test_files_that_cannot_be_opened(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "missing.pth")
    with pytest.raises(IsADirectoryError):
        read_state_dict(tmp_path)


# --- Bombs, truncation, damage --------------------------------------------------------------------

BOMBS = {
    "string": b"\x8d" + struct.pack("<Q", 2**40),
    "bytes": b"\x8e" + struct.pack("<Q", 2**40),
    "bytearray": b"\x96" + struct.pack("<Q", 2**40),
    "integer": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "frame": b"\x95" + struct.pack("<Q", 2**40),
    "memo": b"Nr" + struct.pack("<I", 2**31 - 1),
    "copies": encode(ORDERED)
    + encode([[str(i), None] for i in range(1000)])
    + b"\x85q\x00R"
    + (encode(ORDERED) + b"h\x00R") * 1000,
    "shown": b"]q\x00"
    + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60))
    + encode("x")
    + b"\x93",
    "expanded": encode(tensor(storage(), 0, (10**6, 10**6), (0, 0))),
    "storage": encode(tensor(storage(count=2**50), 0, (2**50,), (1,))),
}


@both_writers
@pytest.mark.parametrize("value", BOMBS.values(), ids=BOMBS)
def test_bombs_allocate_no_more_than_the_file_holds(read: Callable, write: Callable, value: bytes):
    data = write({"x": value})
    tracemalloc.start()
    try:
        array = read(data)["x"]
        assert array.shape == (10**6, 10**6)  # a view, whose shape can be checked before a copy
        assert array.strides == (0, 0)
    except CheckpointError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2**20 + 100 * len(data)


def test_overlapping_records_are_refused(read: Callable):
    """One local record, which the directory lists a hundred times."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(GOOD))
        archive.writestr("archive/data/0", bytes(10_000))
        (record,) = (r for r in archive.infolist() if r.filename == "archive/data/0")
        for key in range(1, 100):
            copy = zipfile.ZipInfo(f"archive/data/{key}")
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(copy, name, getattr(record, name))
            archive.filelist.append(copy)
    with pytest.raises(CheckpointError, match="compressed or overlapping"):
        read(buffer.getvalue())


EXAMPLES = {
    "zip": zipped({"model": GOOD, "epoch": 3}, {"byteorder": b"little"}),
    "legacy": legacy(
        {"a": tensor(storage()), "b": tensor(storage("1", 0), 0, (0,), (1,))},
        {"0": SIX.tobytes(), "1": b""},
    ),
    "safetensors": safetensors({"x": ("F32", [2, 3], SIX.tobytes()), "y": ("BF16", [1], b"ab")}),
}
examples = pytest.mark.parametrize("name", EXAMPLES)


@examples
def test_a_truncated_file_is_refused_wherever_it_ends(read: Callable, name: str):
    if name == "safetensors":
        pytest.importorskip("safetensors")
    assert read(EXAMPLES[name])
    for length in range(len(EXAMPLES[name])):
        with pytest.raises(CheckpointError, match=r"damaged|neither"):
            read(EXAMPLES[name][:length])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pickletools")  # of damaged escapes
@examples
def test_damaged_bytes_give_arrays_or_an_error(read: Callable, name: str):
    if name == "safetensors":
        pytest.importorskip("safetensors")
    generator = random.Random(0)
    refused = 0
    for _ in range(1000):
        data = bytearray(EXAMPLES[name])
        for _ in range(generator.choice((1, 1, 2, 8))):
            data[generator.randrange(len(data))] = generator.randrange(256)
        del data[generator.choice((len(data), generator.randrange(len(data)))) :]
        try:
            state = read(bytes(data))
        except CheckpointError:
            refused += 1
        else:
            assert all(isinstance(array, np.ndarray) for array in state.values())
            assert all(array.nbytes == len(array.tobytes()) for array in state.values())
    assert refused > 500


def test_damaged_storages_fail_their_checksum(read: Callable):
    data = EXAMPLES["zip"].replace(SIX.tobytes(), SIX[::-1].tobytes())
    assert data != EXAMPLES["zip"]
    with pytest.raises(CheckpointError, match=r"CRC.*archive/data/0"):
        read(data)
