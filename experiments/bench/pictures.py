"""Does a network wait for its pictures, where these are decoded from files while it trains?

    python experiments/bench/pictures.py

Expected: a minute and a half on 2 cores. Result (jax 0.10.2 on CPU): a ResNet-18 that trains on a
folder of 2,000 JPEGs of 64x64 pixels, in batches of 50, with two workers, threads that decode
ahead, waits for 0.9% of the time.

The pictures are crops of scikit-learn's photographs, sorted by which of the two they are of.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from flax import nnx
from PIL import Image

from jconv.models import resnet18
from jconv.training.data.embedded import photographs
from jconv.training.data.folders import PictureFolder
from jconv.training.loop import Training, fit
from jconv.training.tasks import Classification


def write(folder: Path, count: int, size: int) -> None:
    """Random crops, in a folder for each photograph."""
    numbers = np.random.default_rng(0)
    for name, picture in photographs()._asdict().items():
        (folder / name).mkdir()
        for i in range(count // 2):
            top, left = (numbers.integers(length - size) for length in picture.shape[:2])
            crop = picture[top : top + size, left : left + size]
            Image.fromarray(crop).save(folder / name / f"{i}.jpg", quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a run of seconds")
    tiny = parser.parse_args().tiny
    count, size, batch, width = (32, 32, 8, 4) if tiny else (2000, 64, 50, 64)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), count, size)
        source = PictureFolder(folder, size)
        model = resnet18(num_classes=2, width=width, rngs=nnx.Rngs(0))
        config = Training(epochs=2, batch_size=batch, workers=2)
        # The first epoch compiles.
        _, record = fit(model, Classification(2), source, config=config)
        print(f"{record.waiting:.1%} of an epoch's time is waiting for data")


if __name__ == "__main__":
    main()
