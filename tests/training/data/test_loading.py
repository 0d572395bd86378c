"""Batches: complete, in an order that the seed alone tells, and the same after a resumption."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from jconv.training.data.examples import Examples
from jconv.training.data.folders import PictureFolder
from jconv.training.data.formats import DataError
from jconv.training.data.loading import Loader


def numbered(count: int) -> Examples:
    """Examples whose targets are their numbers."""
    numbers = np.arange(count)
    return Examples(np.stack([numbers, -numbers], 1).astype(np.float32), numbers)


class OneByOne:
    """The same from a source that is not in memory, counting what is asked for."""

    def __init__(self, count: int) -> None:
        self.examples, self.threads = numbered(count), set[str]()

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.threads.add(threading.current_thread().name)
        return self.examples[index]


def targets(loader: Loader) -> list[list[int]]:
    return [batch.tolist() for _, batch in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return [number for batch in batches for number in batch]


def test_an_epoch_has_every_example_once_and_each_is_another_order():
    loader = Loader(numbered(12), 4, seed=5, epochs=3)
    assert loader.steps == 3
    batches = targets(loader)
    assert [len(batch) for batch in batches] == [4] * 9
    epochs = [flat(batches[start : start + 3]) for start in (0, 3, 6)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(12))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_depends_on_seed_and_epoch_alone():
    first = targets(Loader(numbered(20), 5, seed=1, epochs=2))
    assert first == targets(Loader(numbered(20), 5, seed=1, epochs=2))
    assert first != targets(Loader(numbered(20), 5, seed=2, epochs=2))
    # Of a seed no epoch is another's: runs of several seeds see different orders.
    orders = [
        tuple(flat(targets(Loader(numbered(20), 20, seed=seed, epochs=4))[epoch : epoch + 1]))
        for seed in range(4)
        for epoch in range(4)
    ]
    assert len(set(orders)) == 16
    # Whatever the size of batches:
    assert flat(first) == flat(targets(Loader(numbered(20), 10, seed=1, epochs=2)))


def test_in_the_order_of_the_source():
    assert targets(Loader(numbered(7), 3, shuffle=False, epochs=2)) == [[0, 1, 2], [3, 4, 5]] * 2
    batches = targets(Loader(numbered(7), 3, shuffle=False, epochs=1, drop_remainder=False))
    assert batches == [[0, 1, 2], [3, 4, 5], [6]]


def test_inputs_belong_to_their_targets():
    for source in (numbered(10), OneByOne(10)):
        for inputs, numbers in Loader(source, 3, epochs=2):
            assert inputs.dtype == np.float32
            np.testing.assert_array_equal(inputs, np.stack([numbers, -numbers], 1))


def test_what_never_ends():
    batches = iter(Loader(numbered(4), 4))
    seen = [tuple(next(batches)[1].tolist()) for _ in range(50)]
    assert {tuple(sorted(batch)) for batch in seen} == {(0, 1, 2, 3)}
    assert len(set(seen)) > 10


@given(
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 4),
    st.booleans(),
    st.booleans(),
)
def test_processes_share_every_batch(
    length: int, batch_size: int, count: int, shuffle: bool, drop_remainder: bool
):
    source, whole_size = numbered(length), batch_size * count
    if drop_remainder and length < whole_size:
        return
    settings: dict[str, Any] = {"seed": 3, "epochs": 2, "shuffle": shuffle}
    settings["drop_remainder"] = drop_remainder
    shares = [
        targets(Loader(source, batch_size, index=index, count=count, **settings))
        for index in range(count)
    ]
    whole = targets(Loader(source, whole_size, **settings))
    # One process's batches, in the same order: those of several lie side by side in it.
    assert [flat(list(parts)) for parts in zip(*shares, strict=True)] == whole
    if drop_remainder:
        assert {len(batch) for share in shares for batch in share} == {batch_size}
    else:
        assert sorted(flat(whole)) == sorted(2 * list(range(length)))
        assert max(len(batch) for share in shares for batch in share) <= batch_size


@pytest.mark.parametrize("source", [numbered(5), OneByOne(5)])
def test_a_share_may_be_empty(source):
    settings: dict[str, Any] = {"epochs": 1, "drop_remainder": False, "count": 3}
    inputs, numbers = list(Loader(source, 1, index=2, **settings))[-1]
    assert (inputs.shape, numbers.shape) == ((0, 2), (0,))
    assert (inputs.dtype, numbers.dtype) == (np.float32, int)


# --- Resumption -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("source", [numbered(11), OneByOne(11)])
def test_batches_after_a_resumption_are_the_same_bit_by_bit(source, workers: int):
    loader = Loader(source, 4, seed=7, epochs=5, drop_remainder=False, workers=workers)
    batches = iter(loader)
    states, expected = [batches.get_state()], []
    for batch in batches:
        expected.append(batch)
        states.append(batches.get_state())
    assert len(expected) == 15
    for position in (0, 1, 2, 3, 8, 14, 15):
        state = json.loads(json.dumps(states[position]))
        fresh, used = iter(loader), iter(loader)
        next(used)
        for resumed in (fresh, used):
            resumed.set_state(state)
            assert resumed.get_state() == state
            rest = list(resumed)
            assert len(rest) == 15 - position
            for batch, wanted in zip(rest, expected[position:], strict=True):
                for array, other in zip(batch, wanted, strict=True):
                    assert array.dtype == other.dtype
                    assert array.tobytes() == other.tobytes()


def test_a_run_goes_on_with_other_processes_and_threads():
    two = [iter(Loader(numbered(24), 3, seed=2, index=index, count=2)) for index in range(2)]
    for _ in range(5):
        for batches in two:
            next(batches)
    one = iter(Loader(numbered(24), 6, seed=2, workers=2))
    one.set_state(two[1].get_state())
    for _ in range(6):
        shares = [next(batches)[1] for batches in two]
        np.testing.assert_array_equal(np.concatenate(shares), next(one)[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, r"same source and arguments, got seed 8 \(here 7\)$"),
        ({"examples": 9, "shuffle": False}, r"got examples 9 \(here 12\), shuffle False \(here T"),
        ({"global_batch_size": 8}, r"got global_batch_size 8 \(here 4\)"),
        ({"drop_remainder": False}, r"got drop_remainder False \(here True\)"),
        ({"batch": 7}, "`state` must be within the 6 batches, got 7"),
        ({"batch": -1}, r"`state\['batch'\]` must be at least 0, got -1"),
    ],
)
def test_states_of_other_loaders(change: dict[str, Any], message: str):
    batches = iter(Loader(numbered(12), 4, seed=7, epochs=2))
    next(batches)
    state = batches.get_state()
    with pytest.raises(ValueError, match=message):
        batches.set_state({**state, **change})
    assert batches.get_state() == state


# --- Threads --------------------------------------------------------------------------------------


def test_threads_give_the_same_batches():
    alone, shared = OneByOne(50), OneByOne(50)
    expected = targets(Loader(alone, 8, epochs=3))
    assert targets(Loader(shared, 8, epochs=3, workers=3)) == expected
    here = threading.current_thread().name
    assert alone.threads == {here}
    assert len(shared.threads) > 1
    assert here not in shared.threads


def test_batches_are_prepared_ahead():
    source = OneByOne(64)
    asked: list[int] = []
    ready = threading.Event()

    class Watched(OneByOne):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            asked.append(index)
            if len(asked) >= 8 * 5:
                ready.set()
            return source[index]

    batches = iter(Loader(Watched(64), 8, workers=2, epochs=1))
    next(batches)
    assert ready.wait(30)  # four more batches, though only one was asked for
    time.sleep(0.05)
    assert len(asked) == 8 * 5


def jpegs(root: Path, count: int) -> Path:
    random = np.random.default_rng(0)
    for index in range(count):
        path = root / f"{index % 3}/{index:03}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 20, 3), np.uint8)).save(path)
    return root


def test_picture_folders(tmp_path: Path):
    folder = PictureFolder(jpegs(tmp_path, 30), 16)
    for workers in (0, 2):
        loader = Loader(folder, 5, workers=workers, epochs=1)
        seen = []
        for inputs, classes in loader:
            assert (inputs.shape, inputs.dtype) == ((5, 16, 16, 3), np.uint8)
            assert classes.dtype == np.int32
            seen.extend(zip(map(bytes, inputs), classes.tolist(), strict=True))
        assert sorted(seen) == sorted((bytes(picture), int(target)) for picture, target in folder)


@pytest.mark.filterwarnings("ignore:1 of 30 pictures")
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_file_and_leaves_the_position(tmp_path: Path, workers: int):
    folder = PictureFolder(jpegs(tmp_path, 30), 16)
    expected = targets(Loader(folder, 5, epochs=1, shuffle=False))
    whole = {path: path.read_bytes() for path in folder.paths[11:13]}
    for path in whole:
        path.write_bytes(b"no picture")
    batches = iter(Loader(folder, 5, workers=workers, epochs=1, shuffle=False))
    seen = [next(batches)[1].tolist() for _ in range(2)]
    for _ in range(2):  # it does not go on to the batch after
        with pytest.raises(DataError, match=f"{folder.paths[12].name}': in no picture format"):
            next(batches)
    assert batches.get_state()["batch"] == 2
    for path, data in whole.items():
        path.write_bytes(data)
    mended = iter(Loader(PictureFolder(tmp_path, 16), 5, epochs=1, shuffle=False))
    mended.set_state(batches.get_state())
    assert seen + [batch.tolist() for _, batch in mended] == expected


def test_skipped_pictures_are_the_same_on_threads(tmp_path: Path):
    root = jpegs(tmp_path, 102)
    for index in (7, 8):
        (root / f"{index % 3}/{index:03}.jpg").write_bytes(b"no picture")
    runs = []
    for workers in (0, 3):
        folder = PictureFolder(root, 16)
        with pytest.warns(UserWarning, match="of 102 pictures cannot be decoded"):
            runs.append(
                [bytes(inputs) for inputs, _ in Loader(folder, 6, workers=workers, epochs=2)]
            )
        assert len(folder.skipped) == 2
    assert runs[0] == runs[1]


# --- Errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1, got 0"),
        ({"batch_size": 2.0}, TypeError, "`batch_size` must be an int"),
        ({"seed": -1}, ValueError, "`seed` must be at least 0, got -1"),
        ({"epochs": 0}, ValueError, "`epochs` must be at least 1, got 0"),
        ({"workers": -1}, ValueError, "`workers` must be at least 0, got -1"),
        ({"shuffle": 1}, TypeError, "`shuffle` must be True or False, got 1"),
        ({"drop_remainder": None}, TypeError, "`drop_remainder` must be True or False, got None"),
        ({"count": 0}, ValueError, "`count` must be at least 1, got 0"),
        ({"index": 2, "count": 2}, ValueError, "`index` must be below `count`, 2, got 2"),
        ({"index": -1}, ValueError, "`index` must be at least 0, got -1"),
        (
            {"batch_size": 6, "count": 2},
            ValueError,
            r"`source` must have at least 12 .* `batch_size` \* `count`, got 10; `drop_remainder=F",
        ),
        (
            {"source": Examples(np.zeros((0, 2)), np.zeros(0)), "drop_remainder": False},
            ValueError,
            "`source` must have at least one example",
        ),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        Loader(**{"source": numbered(10), "batch_size": 2, **arguments})
