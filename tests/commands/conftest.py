from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jconv.models import zoo
from tests.commands.tiny import NETWORKS, write_weights


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Iterator[None]:
    """The tiny networks among those of the zoo."""
    with pytest.MonkeyPatch.context() as patch:
        for name, build in NETWORKS.items():
            patch.setitem(zoo.NETWORKS, name, build)
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """The path of random weights of a tiny network."""
    written: dict[tuple[str, int], Path] = {}

    def write(name: str, classes: int) -> Path:
        if (name, classes) not in written:
            path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
            written[name, classes] = write_weights(path, name, classes)
        return written[name, classes]

    return write
