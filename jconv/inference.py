"""What networks see in picture files: their classes, and the classes of their pixels."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx

from jconv.arguments import integer
from jconv.pictures import (
    CLASSIFICATION,
    SEGMENTATION,
    FilePath,
    Mask,
    Picture,
    PictureError,
    Preset,
    decode,
    overlay,
    resize_mask,
    write_mask,
    write_picture,
)

Skipped: TypeAlias = Callable[[PictureError], object]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of a picture, and their probabilities, the highest first."""

    path: Path
    classes: tuple[int, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of each pixel of a picture, of a network that knows `classes` of them."""

    path: Path
    picture: Picture
    mask: Mask  # (height, width) of the picture
    classes: int

    def shares(self) -> dict[int, float]:
        """The share of the pixels of each class that is found, the largest first."""
        counts = np.bincount(self.mask.ravel())
        order = np.argsort(-counts, kind="stable")
        return {int(each): float(counts[each] / self.mask.size) for each in order if counts[each]}


def predict(
    model: nnx.Module,
    paths: Sequence[FilePath],
    preset: Preset = CLASSIFICATION,
    *,
    top: int = 5,
    batch: int = 16,
    skipped: Skipped | None = None,
) -> Iterator[Prediction]:
    """What is in the pictures, according to a classification network.

    Args:
      model: maps `(batch, height, width, 3)`, float32, to logits `(batch, classes)`. It computes in
        evaluation mode, whichever mode it is in, and is left as it is.
      paths: picture files.
      preset: how a picture becomes an input; its `crop` must be set, so that all have one shape.
      top: how many classes to tell, at least 1; all, if the network knows fewer.
      batch: pictures computed at a time, at least 1; the last batch is filled up, so that the
        network is compiled once.
      skipped: called with the error of each picture that cannot be used. None raises it.

    Returns:
      An iterator of predictions, in the order of `paths`. Files are decoded by threads ahead of
      the network, never more of them than fill three batches.

    Raises:
      ValueError, TypeError: if an argument is none of these; while iterating also `PictureError`,
        or if the network returns other than logits, or not finite ones.
    """
    paths = _listed(paths)
    integer("top", top)
    batch = min(integer("batch", batch), max(len(paths), 1))
    if preset.crop is None:
        raise ValueError("`preset` must have a `crop`, so that all inputs have one shape, got None")
    return _predict(model, paths, preset, top, batch, skipped)


def segment(
    model: nnx.Module,
    paths: Sequence[FilePath],
    preset: Preset = SEGMENTATION,
    *,
    skipped: Skipped | None = None,
) -> Iterator[Segmentation]:
    """What is where in the pictures, according to a segmentation network.

    Args:
      model: maps `(1, height, width, 3)`, float32, to logits `(1, height, width, classes)`, of at
        most 256 classes, in any height and width. Its mode is as in `predict`.
      paths: picture files.
      preset: how a picture becomes an input. The network is compiled once for each shape.
      skipped: as in `predict`.

    Returns:
      An iterator of segmentations, in the order of `paths`. Each pixel of the mask has the class
      of the nearest pixel of the logits.

    Raises:
      ValueError, TypeError: as in `predict`.
    """
    return _segment(model, _listed(paths), preset, skipped)


def _listed(paths: Sequence[FilePath]) -> list[FilePath]:
    if isinstance(paths, str | os.PathLike):
        raise TypeError(f"`paths` must be a sequence of paths, got {paths!r} alone")
    return list(paths)


def stems(paths: Sequence[Path], folder: Path, endings: Sequence[str]) -> list[str]:
    """A name for each of `paths`, for results called `folder / f"{name}{ending}"`.

    It is the file's name without suffix, with -2, -3, ... where another has it already, be it in
    capitals, or where a result would overwrite one of `paths`.
    """
    folder = folder.resolve()
    taken = {str(path.resolve()).casefold() for path in paths}
    names = []
    for path in paths:
        for number in count(1):
            name = path.stem if number == 1 else f"{path.stem}-{number}"
            results = {str(folder / f"{name}{ending}").casefold() for ending in endings}
            if not results & taken:
                break
        taken |= results
        names.append(name)
    return names


MASK, OVERLAY = "_mask.png", "_overlay.png"


def save(segmentation: Segmentation, folder: Path, name: str) -> tuple[Path, Path]:
    """Writes `name`_mask.png, whose values are the classes, and `name`_overlay.png, the picture
    under their colours, and returns the two paths. Either file is written whole or not at all."""
    mask, over = folder / f"{name}{MASK}", folder / f"{name}{OVERLAY}"
    write_mask(mask, segmentation.mask)
    write_picture(over, overlay(segmentation.picture, segmentation.mask))
    return mask, over


# --- Computation ----------------------------------------------------------------------------------


class Evaluation(NamedTuple):
    """A network in evaluation mode, as `jax.jit` takes it."""

    graph: nnx.GraphDef[Any]  # static
    state: Any


def _evaluation(model: nnx.Module) -> Evaluation:
    copy = nnx.clone(model)  # whose mode may change
    copy.eval()
    return Evaluation(*nnx.split(copy))


def _logits(network: Evaluation, x: jax.Array, form: str) -> jax.Array:
    """The network's logits, of which `form` names the axes."""
    y = nnx.merge(*network)(x)
    if not isinstance(y, jax.Array) or y.ndim != form.count(",") + 1:
        got = f"shape {y.shape}" if isinstance(y, jax.Array) else type(y).__name__
        raise ValueError(f"`model` must return logits {form} for x of shape {x.shape}, got {got}")
    return y.astype(jnp.float32)


@partial(jax.jit, static_argnames="top")
def _likeliest(network: Evaluation, x: jax.Array, top: int) -> tuple[jax.Array, jax.Array]:
    """The `top` probabilities and their classes, both `(batch, top)`."""
    probabilities = jax.nn.softmax(_logits(network, x, "(batch, classes)"))
    likeliest: tuple[jax.Array, jax.Array] = jax.lax.top_k(
        probabilities, min(top, probabilities.shape[-1])
    )
    return likeliest


@jax.jit
def _classes(network: Evaluation, x: jax.Array) -> tuple[jax.Array, jax.Array, int]:
    """The likeliest class of each pixel, whether all logits are finite, and how many classes."""
    logits = _logits(network, x, "(batch, height, width, classes)")
    if logits.shape[-1] > 256:
        raise ValueError(
            "`model` must know at most 256 classes, as many as a mask holds, got "
            f"{logits.shape[-1]}"
        )
    mask = jnp.argmax(logits, axis=-1).astype(jnp.uint8)
    return mask, jnp.isfinite(logits).all(), logits.shape[-1]


def _predict(
    model: nnx.Module,
    paths: Sequence[FilePath],
    preset: Preset,
    top: int,
    batch: int,
    skipped: Skipped | None,
) -> Iterator[Prediction]:
    network = _evaluation(model)
    pictures = _read(paths, preset, 2 * batch, skipped)
    while some := list(islice(pictures, batch)):
        x = np.stack([each for _, each in some])
        x = np.pad(x, [(0, batch - len(some)), (0, 0), (0, 0), (0, 0)])
        results = map(np.asarray, _likeliest(network, x, top))
        for (path, _), probabilities, classes in zip(some, *results, strict=False):
            _check_finite(path, np.isfinite(probabilities).all())
            yield Prediction(path, tuple(classes.tolist()), tuple(probabilities.tolist()))


def _segment(
    model: nnx.Module, paths: Sequence[FilePath], preset: Preset, skipped: Skipped | None
) -> Iterator[Segmentation]:
    network = _evaluation(model)

    def both(picture: Picture) -> tuple[Picture, npt.NDArray[np.float32]]:
        return picture, preset(picture)

    for path, (picture, x) in _read(paths, both, 2, skipped):
        mask, finite, classes = _classes(network, x[None])
        _check_finite(path, finite)
        full = resize_mask(np.asarray(mask)[0], *picture.shape[:2])
        yield Segmentation(path, picture, full, int(classes))


def _check_finite(path: Path, finite: Any) -> None:
    if not finite:
        raise ValueError(
            f"`model` must return finite logits, got inf or NaN for {str(path)!r}; are its weights "
            "damaged, or those of another network?"
        )


# --- Files ----------------------------------------------------------------------------------------


def _read(
    paths: Sequence[FilePath],
    use: Callable[[Picture], Result],
    ahead: int,
    skipped: Skipped | None,
) -> Iterator[tuple[Path, Result]]:
    """Each path whose picture can be used, and what `use` makes of it."""

    def read(path: FilePath) -> tuple[Path, Result] | PictureError:
        try:
            return Path(path), use(decode(path))
        except PictureError as error:
            return error
        except ValueError as error:
            return PictureError(path, str(error))

    for result in _ahead(read, paths, ahead):
        if not isinstance(result, PictureError):
            yield result
        elif skipped is None:
            raise result
        else:
            skipped(result)


def _ahead(
    function: Callable[[Item], Result], items: Sequence[Item], ahead: int
) -> Iterator[Result]:
    """`map(function, items)`, computed by threads, up to `ahead` before they are asked for."""
    pending: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(min(ahead, os.cpu_count() or 1))
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
