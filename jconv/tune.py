"""Which algorithm is the fastest here: measured once, and followed from then on."""

import dataclasses
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from jconv import cache, measured, select
from jconv.arguments import flag, integer
from jconv.explain import as_weighed, operations, platform_of
from jconv.geometry import Windows
from jconv.workloads import Workload

PATIENCE = 0.5  # seconds of one algorithm's turns in one step
HOPELESS = 3.0  # times as slow as another: not timed again


@dataclasses.dataclass(frozen=True)
class Timing:
    """One step: the milliseconds of every algorithm that computes it, the fastest first."""

    form: str
    geometry: Windows
    dtypes: tuple[Any, ...]
    times: measured.Times

    @property
    def fastest(self) -> str:
        return next(iter(self.times))

    @property
    def key(self) -> str:
        return measured.key(self.form, self.geometry, self.dtypes)

    def __str__(self) -> str:
        times = ", ".join(f"{name} {ms:.3g} ms" for name, ms in self.times.items())
        return f"{times}: {self.key}"


@dataclasses.dataclass(frozen=True)
class Tuning:
    """The steps of which several algorithms were timed, and the files that keep their times."""

    device: str
    timings: tuple[Timing, ...]
    files: tuple[Path, ...]

    def __str__(self) -> str:
        """A table of milliseconds, a line for each step."""
        names = sorted({name for each in self.timings for name in each.times})
        rows = [["fastest", *names, "step"]]
        for each in self.timings:
            times = (f"{each.times[name]:.3g}" if name in each.times else "" for name in names)
            rows.append([each.fastest, *times, each.key])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i in (0, len(row) - 1) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([f"{len(self.timings)} steps on {self.device}, in milliseconds", *lines])


def tune(
    fun: Callable[..., Any] | Workload | Iterable[Workload],
    *args: Any,
    platform: str | None = None,
    rounds: int = 10,
    progress: bool = True,
    store: bool = True,
    out: str | os.PathLike[str] | None = None,
    **kwargs: Any,
) -> Tuning:
    """Times all algorithms of every convolution and pool in `fun(*args, **kwargs)`, so that
    `algorithm="auto"` picks the fastest from then on.

    `fun` is traced, not called, so it may be a gradient or a whole training step, and the arrays
    may be `jax.ShapeDtypeStruct`. Each step is then computed by itself, with random numbers. What
    was compiled before keeps its algorithms: tune first, or call `jax.clear_caches()` afterwards.
    Inside `jconv.portable()` only portable algorithms are timed.

    Args:
      fun: any function of JAX arrays, a workload of `jconv.workloads`, or several; a workload
        stands for itself and its gradients.
      *args, **kwargs: the arguments of a function. Keyword arguments are taken as they are
        (static).
      platform: "cpu", "gpu" or "tpu"; None is where JAX runs by default.
      rounds: how often each algorithm is timed, at most.
      progress: whether a line on stderr tells of each step.
      store: whether the times are kept in the user's cache directory (`JCONV_CACHE_DIR`), for this
        kind of device and these versions of jax and jaxlib.
      out: a folder; the times are added to its file for this kind of device. The folder
        `jconv/tables` comes with jconv.

    Returns:
      A `Tuning`: `print` it, or read its `timings`. Steps that only one algorithm computes are left
      out.

    Raises:
      What `fun` raises while it is traced; ValueError or TypeError for a wrong argument; OSError if
      `out` cannot be written to.

    >>> import jax.numpy as jnp, jconv
    >>> x, kernel = jnp.ones((8, 8, 3)), jnp.ones((3, 3, 3, 4))
    >>> tuning = tune(jconv.conv, x, kernel, rounds=1, progress=False, store=False)
    >>> [(each.form, each.fastest in jconv.algorithms()) for each in tuning.timings]
    [('forward', True)]
    """
    platform = platform_of(platform)
    kind = measured.device(platform)
    if kind is None:
        raise ValueError(
            f"`platform` must be one on which this process has devices, got {platform!r}; use "
            f"{jax.default_backend()!r}"
        )
    rounds = integer("rounds", rounds)
    if out is not None and not isinstance(out, str | os.PathLike):
        raise TypeError(f"`out` must be the path of a folder, or None, got {out!r}")
    progress, store = flag("progress", progress), flag("store", store)
    steps = {}
    for eqn in _operations(fun, args, kwargs):
        form, geometry, dtypes = as_weighed(eqn, platform)
        weighed = select.candidates(form, geometry, dtypes, platform, select.is_portable())
        usable = [each.algorithm for each in weighed if each.cost is not None]
        if len(usable) > 1:
            steps[measured.key(form, geometry, dtypes)] = (eqn, form, geometry, dtypes, usable)

    folder = None if out is None else Path(out)
    if folder is not None:
        measured.write(folder, kind, {})  # rather fail now than when all is measured
    timings: list[Timing] = []
    files: tuple[Path, ...] = ()
    try:
        with jax.default_device(jax.local_devices(backend=platform)[0]):
            for eqn, form, geometry, dtypes, usable in steps.values():
                times = _times(eqn, geometry, usable, rounds)
                timings.append(Timing(form, geometry, dtypes, times))
                if progress:
                    done = f"tune {len(timings)}/{len(steps)}: {timings[-1]}"
                    print(done, file=sys.stderr, flush=True)
    finally:  # Ctrl-C keeps what was measured
        files = _keep(kind, {each.key: each.times for each in timings}, store, folder)
    return Tuning(kind, tuple(timings), files)


def _keep(
    kind: str, entries: dict[str, measured.Times], store: bool, folder: Path | None
) -> tuple[Path, ...]:
    """The files that hold `entries` now."""
    files = [] if folder is None else [measured.write(folder, kind, entries)]
    if store and entries:
        file = measured.remember(kind, entries)
        if file is not None:
            return (*files, file)
        warnings.warn(
            f"jconv: the times could not be kept in {str(cache.directory())!r}; set "
            "JCONV_CACHE_DIR to a folder that can be written to",
            stacklevel=3,
        )
    return tuple(files)


def _operations(fun: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[JaxprEqn]:
    if callable(fun) and not isinstance(fun, Workload):
        yield from operations(fun, *args, **kwargs)
        return
    workloads = [fun] if isinstance(fun, Workload) else fun
    if not isinstance(workloads, Iterable):
        raise TypeError(f"`fun` must be a function, a workload or several workloads, got {fun!r}")
    if args or kwargs:
        raise TypeError(
            "`fun` must be a function where arguments are given; a workload has its own"
        )
    for workload in workloads:
        if not isinstance(workload, Workload):
            raise TypeError(f"`fun` must be a function or hold workloads alone, got {workload!r}")
        specs = workload.specs()
        ct = jax.eval_shape(workload, *specs)
        yield from operations(partial(_with_gradients, workload), *specs, ct)


def _with_gradients(fun: Callable[..., jax.Array], *operands: jax.Array) -> Any:
    *primals, ct = operands
    y, vjp = jax.vjp(fun, *primals)
    return y, vjp(ct)


def _times(eqn: JaxprEqn, geometry: Windows, usable: list[str], rounds: int) -> measured.Times:
    """Medians in milliseconds of the algorithms in turn, without those that fail."""
    avals: list[Any] = [var.aval for var in eqn.invars]
    single = geometry != eqn.params["geometry"]  # one of a stack
    operands = [
        _numbers((1, *aval.shape[1:]) if single else aval.shape, aval.dtype) for aval in avals
    ]
    runs: dict[str, Callable[..., Any]] = {}
    seconds: dict[str, list[float]] = {}
    failure: Exception | None = None
    for name in usable:
        params = eqn.params | {"geometry": geometry, "algorithm": name}
        try:
            run = jax.jit(partial(eqn.primitive.bind, **params)).lower(*operands).compile()
            jax.block_until_ready(run(*operands))
        except jax.errors.JaxRuntimeError as error:  # out of memory, most likely
            failure = error
            continue
        runs[name], seconds[name] = run, [_seconds(run, operands)]
    if failure is not None and not runs:
        raise failure
    for turn in range(1, rounds):
        best = min(values[0] for values in seconds.values())
        for name in _rotated(list(runs), turn):
            if seconds[name][0] < HOPELESS * best and sum(seconds[name]) < PATIENCE:
                seconds[name].append(_seconds(runs[name], operands))
    medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    return dict(sorted(medians.items(), key=lambda item: item[1]))


def _rotated(names: list[str], turn: int) -> list[str]:
    start = turn % len(names)
    return names[start:] + names[:start]


def _seconds(run: Callable[..., Any], operands: list[jax.Array]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run(*operands))
    return time.perf_counter() - start


def _numbers(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Random whole numbers, which every dtype holds."""
    return jnp.asarray(np.random.default_rng(0).integers(0, 9, shape)).astype(dtype)
