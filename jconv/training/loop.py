"""The training loop: from a network and data to a trained network, its history and checkpoints."""

import dataclasses
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from jconv.training.checkpoint import Checkpoints
from jconv.training.data.examples import Source
from jconv.training.data.loading import Loader
from jconv.training.evaluation import measure
from jconv.training.log import Log, Reporter
from jconv.training.optimizer import Optimizer
from jconv.training.sharding import check_batch_size, data_mesh, to_devices
from jconv.training.step import Augment, model_of, setup, train_step
from jconv.training.tasks import Task

PROFILED_FROM = 10  # steps after the first, which compiles


@dataclasses.dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes:
      epochs: passes over the training examples, without the few that fill no batch.
      batch_size: examples of a step, over all devices and processes.
      optimizer: see `Optimizer`.
      average: decay of a moving average of the parameters, which is what is evaluated and kept
        in the end; 0 is none.
      seed: of the order of examples, augmentation and whatever else is drawn in steps.
      evaluate_every: epochs from one evaluation to the next; there is one after the last too.
      save_every: steps from one checkpoint to the next, besides those after evaluations; 0 is none.
      workers: threads that prepare examples; 0 is this one.
      split: whether parameters and the optimizer's state are split over the devices, each array
        along its longest axis, instead of repeated.
      profile: steps to profile, once ten are done, into the folder `profile` of `out`, for
        TensorBoard or XProf; 0 is none.
    """

    epochs: int = 10
    batch_size: int = 64
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    average: float = 0.0
    seed: int = 0
    evaluate_every: int = 1
    save_every: int = 0
    workers: int = 0
    split: bool = False
    profile: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        for name in ("seed", "save_every", "workers", "profile"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be at least 0, got {getattr(self, name)}")
        if not 0 <= self.average < 1:
            raise ValueError(f"`average` must be at least 0 and below 1, got {self.average}")


class Record(NamedTuple):
    """What is known after an epoch, or after several of them.

    Attributes:
      epoch, step: done.
      training: metrics of the last epoch's steps, as they were taken: augmented, and while the
        network changed.
      held_out: metrics of the held-out examples; empty if there are none.
      seconds: since training began, evaluations included; those of runs before a resumption too.
      waiting: the share of this epoch's time in which the loop waited for data.
    """

    epoch: int
    step: int
    training: dict[str, Any]
    held_out: dict[str, Any]
    seconds: float
    waiting: float


class Interrupted(Exception):
    """SIGTERM or Ctrl-C: what is done is saved."""


class Diverged(ArithmeticError):
    """The loss or a gradient was not finite."""


def fit(
    model: nnx.Module,
    task: Task,
    source: Source,
    *,
    held_out: Source | None = None,
    config: Training = Training(),
    augment: Augment | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> list[Record]:
    """Trains a network, which is left in evaluation mode with its trained weights, as these lie on
    the devices.

    The same arguments give the same weights, bit by bit, on the same devices; also where a run was
    interrupted, or killed, and resumed from its last checkpoint.

    Args:
      model: a Flax NNX network, called with a batch of inputs, uint8 as floats from 0 to 1.
      task: its loss and metrics.
      source: examples for training.
      held_out: examples for evaluation.
      config: see `Training`.
      augment: changes a batch at random, on the device; see `jconv.training.augment`.
      out: a folder for checkpoints, `log.jsonl` and TensorBoard's files; None leaves nothing.
      resume: whether to go on where a run left off in `out`; if it holds none, one begins.
      quiet: without progress on stderr.

    Returns:
      A `Record` for each evaluation.

    Raises:
      ValueError: `out` holds a run and `resume` is False, or the run had another configuration;
        `batch_size` is larger than the source, or not divisible by the number of devices.
      Diverged: a loss or gradient was not finite. The checkpoints are from before.
      Interrupted: SIGTERM or Ctrl-C, after a checkpoint; with `out` only.
    """
    run = _Run(model, task, source, held_out, config, augment)
    with ExitStack() as stack:
        stack.enter_context(run.report(quiet))
        if out is not None:
            run.keep(Path(out), resume, stack)
        run.train()
    nnx.update(model, nnx.state(model_of(run.static, run.state)))
    model.eval()
    return run.history


class _Run:
    """A run: what it is, how far it is, and where it keeps that."""

    def __init__(
        self,
        model: nnx.Module,
        task: Task,
        source: Source,
        held_out: Source | None,
        config: Training,
        augment: Augment | None,
    ) -> None:
        self.task, self.held_out, self.config = task, held_out, config
        self.epoch_steps = len(source) // config.batch_size
        if not self.epoch_steps:
            raise ValueError(
                f"`batch_size` must be at most the number of examples, {len(source)}, got "
                f"{config.batch_size}"
            )
        check_batch_size(config.batch_size, data_mesh())
        self.steps = config.epochs * self.epoch_steps
        self.static, self.state = setup(
            model,
            task,
            config.optimizer,
            self.steps,
            self.epoch_steps,
            augment=augment,
            decay=config.average,
            split=config.split,
            seed=config.seed,
        )
        loader = Loader(
            source,
            config.batch_size // jax.process_count(),
            seed=config.seed,
            workers=config.workers,
            index=jax.process_index(),
            count=jax.process_count(),
        )
        self.batches = iter(loader)
        self.history: list[Record] = []
        self.begun = time.perf_counter()
        self.signal = threading.Event()
        self.out: Path | None = None
        self.profiling = False
        self.checkpoints: Checkpoints | None = None
        self.log: Log | None = None

    def report(self, quiet: bool) -> Reporter:
        self.reporter = Reporter(self.steps, quiet=quiet or jax.process_index() > 0)
        return self.reporter

    def keep(self, out: Path, resume: bool, stack: ExitStack) -> None:
        """Opens the folder, and goes on from what it holds."""
        out.mkdir(parents=True, exist_ok=True)
        self.out = out
        self.checkpoints = Checkpoints(out / "checkpoints")
        stack.callback(self.checkpoints.close)
        if self.checkpoints.steps() and not resume:
            raise ValueError(
                f"`out` must be a folder without a run, but '{out}' holds one, of "
                f"{self.checkpoints.steps()[-1]} steps: give `resume` to go on with it, or another"
            )
        found = self.checkpoints.restore(self.state)
        if found is not None:
            self.state, notes = found
            _check_same(notes["config"], self.config)
            self.batches.set_state(notes["batches"])
            self.history = [Record(*each) for each in notes["history"]]
            self.begun -= notes["seconds"]
        if jax.process_index() == 0:
            self.log = Log(out, int(self.state.step))
            stack.callback(self.log.close)
        stack.enter_context(_noting(self.signal))

    def train(self) -> None:
        self.first = done = int(self.state.step)
        waited, since = 0.0, time.perf_counter()
        pending: list[tuple[int, jax.Array]] = []  # steps, and whether they were finite
        while done < self.steps:
            asked = time.perf_counter()
            batch = to_devices(next(self.batches), self.static.mesh)
            waited += time.perf_counter() - asked
            self.state, finite = train_step(self.static, self.state, *batch)
            pending.append((done, finite))
            done += 1
            self.profile(done)
            self.reporter.step(done)
            epoch, rest = divmod(done, self.epoch_steps)
            every = self.config.save_every
            stop = self.stops(done)
            save = stop or not rest or bool(every and done % every == 0)
            # One step is under way while the next batch is prepared, unless its result is used now.
            while len(pending) > (0 if save else 1):
                self.check(*pending.pop(0))
            if not rest and (epoch % self.config.evaluate_every == 0 or done == self.steps):
                self.measure(epoch, done, waited / (time.perf_counter() - since))
            if not rest:
                waited, since = 0.0, time.perf_counter()
            if save:
                self.save(done)
            if stop and done < self.steps:
                raise Interrupted(
                    f"stopped after step {done} of {self.steps}, which is saved: the same call "
                    "with `resume` goes on from there"
                )

    def profile(self, done: int) -> None:
        """Begins or ends the profile, if it is time."""
        begins = self.first + PROFILED_FROM
        if self.out and self.config.profile and done == begins:
            jax.profiler.start_trace(str(self.out / "profile"))
            self.profiling = True
        if self.profiling and done == min(begins + self.config.profile, self.steps):
            jax.block_until_ready(self.state)
            jax.profiler.stop_trace()
            self.profiling = False

    def check(self, step: int, finite: jax.Array) -> None:
        if finite:
            return
        kept = self.checkpoints.steps() if self.checkpoints else []
        last = f"the last checkpoint is of step {kept[-1]}" if kept else "there is no checkpoint"
        raise Diverged(
            f"the loss or a gradient of step {step} was not finite, {last}: lower the optimizer's "
            "`learning_rate`, or set its `clip`"
        )

    def measure(self, epoch: int, done: int, waiting: float) -> None:
        training = self.task.metrics(jax.device_get(self.state.totals))
        config = self.config
        measured = (
            measure(self.static, self.state, self.held_out, config.batch_size, config.workers)
            if self.held_out is not None
            else {}
        )
        seconds = time.perf_counter() - self.begun
        record = Record(epoch, done, training, measured, seconds, waiting)
        self.history.append(record)
        if self.log is not None:
            self.log.write(done, record._asdict())
        told = {"training": training, "held-out": measured}
        text = ", ".join(
            f"{part} {name} {metrics[name]:.4f}"
            for part, metrics in told.items()
            for name in self.task.told
            if name in metrics
        )
        self.reporter.epoch(f"epoch {epoch}/{config.epochs}: {text}")

    def save(self, done: int) -> None:
        if self.checkpoints is None:
            return
        last = self.history[-1] if self.history else None
        new = last is not None and last.step == done
        score = self.task.score(last.held_out or last.training) if last and new else float("-inf")
        notes = {
            "config": _plain(self.config),
            "batches": self.batches.get_state(),
            "history": _plain(self.history),
            "seconds": time.perf_counter() - self.begun,
        }
        self.checkpoints.save(done, self.state, notes, score)

    def stops(self, done: int) -> bool:
        """Whether to stop here: on a cluster all processes at the same step."""
        if jax.process_count() > 1:
            return bool(multihost_utils.reached_preemption_sync_point(done))
        return self.signal.is_set()


def _plain(value: Any) -> Any:
    """As JSON can hold it."""

    def other(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.asdict(value)
        return np.asarray(value).tolist()

    return json.loads(json.dumps(value, default=other))


def _check_same(before: dict[str, Any], config: Training) -> None:
    """What the weights depend on must be as it was."""
    now = _plain(config)
    for name in ("epochs", "batch_size", "optimizer", "average", "seed"):
        if before[name] != now[name]:
            raise ValueError(
                f"`{name}` must be as in the run that is resumed, {before[name]!r}, got "
                f"{now[name]!r}; or begin a run in another folder"
            )


@contextmanager
def _noting(event: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C set the event, instead of ending the process in the middle of a step."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may
        return
    before = {
        number: signal.signal(number, lambda *_: event.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
