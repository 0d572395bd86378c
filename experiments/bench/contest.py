"""What the benchmarks share: contenders that take turns, their medians and ratios, and the report.

All contenders compute in one process, in turn and in rotating order, so that what disturbs the
machine disturbs all. Compilation and a first call are apart. In each turn a fast contender first
computes once unmeasured, because the threads of the one before it may still be spinning.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Beside PyTorch on one GPU, JAX must not take most of its memory at the start.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import numpy as np

try:
    import torch
except ImportError:
    torch = None

CUDA = torch is not None and torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
if torch is not None and not CUDA:
    jax.config.update("jax_platforms", "cpu")  # where this PyTorch computes
if CUDA:  # as JAX computes float32 by default
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True

# On a GPU many computations are queued at a time: what counts is not the time to queue one.
CALLS = 20 if CUDA else 1
FAST = 0.1  # seconds
TF32 = ", TF32 allowed" if CUDA else ""
TOLERANCE = 1e-2 if CUDA else 1e-4  # of results, relative to the largest element

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito's
MARKERS = ("o", "s", "^", "D")


class Contender(NamedTuple):
    """One way to compute a case."""

    start: Callable[[], Any]  # computes once, on a GPU without waiting for it
    wait: Callable[[Any], Any]  # for the results
    arrays: Callable[[Any], list[Any]] = jax.tree.leaves  # the results in jconv's layout
    compile_s: float | None = None
    bytes: int | None = None  # of results and temporaries; None is "not measured"

    def seconds(self) -> float:
        """Of one computation."""
        begin = time.perf_counter()
        for _ in range(CALLS):
            results = self.start()
        self.wait(results)
        return (time.perf_counter() - begin) / CALLS


class Result(NamedTuple):
    """What was measured of one case: medians in milliseconds, seconds and bytes by contender."""

    case: str
    detail: str
    what: str
    ms: dict[str, float]
    compile_s: dict[str, float]
    bytes: dict[str, int]

    def ratio(self, ours: str, *theirs: str) -> float:
        """Our time by the fastest of theirs; NaN where one side did not take part."""
        rivals = [self.ms[name] for name in theirs if name in self.ms]
        return self.ms[ours] / min(rivals) if rivals and ours in self.ms else math.nan


class Ratio(NamedTuple):
    """A column of the report: `ours` by the fastest of `theirs`."""

    title: str
    ours: str
    theirs: tuple[str, ...]

    def of(self, result: Result) -> float:
        return result.ratio(self.ours, *self.theirs)


# --- Contenders -----------------------------------------------------------------------------------


def jax_contender(fun: Callable[..., Any], *arrays: Any) -> Contender:
    """`fun(*arrays)` as one compiled program."""
    compiled, seconds, size = compile_jax(fun, *arrays)
    return Contender(
        lambda: compiled(*arrays), jax.block_until_ready, compile_s=seconds, bytes=size
    )


def compile_jax(
    fun: Callable[..., Any], *arrays: Any, **options: Any
) -> tuple[Callable[..., Any], float, int | None]:
    """`fun` compiled for `arrays` by `jax.jit` with `options`, in how many seconds, and the bytes
    of its results and temporaries."""
    begin = time.perf_counter()
    compiled = jax.jit(fun, **options).lower(*arrays).compile()
    seconds = time.perf_counter() - begin
    memory = compiled.memory_analysis()
    size = memory and memory.temp_size_in_bytes + memory.output_size_in_bytes
    return compiled, seconds, size


def torch_contender(
    fun: Callable[[], Any], arrays: Callable[[Any], list[Any]] = lambda _: []
) -> Contender:
    """`fun()` of PyTorch, its results by `arrays` in jconv's layout. Memory is known on GPUs."""
    if not CUDA:
        return Contender(fun, lambda _: None, arrays)
    fun()  # cuDNN picks its algorithms
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    fun()
    size = torch.cuda.max_memory_allocated() - before
    return Contender(fun, lambda _: torch.cuda.synchronize(), arrays, bytes=size)


def measure(
    case: str,
    detail: str,
    what: str,
    contenders: dict[str, Contender],
    rounds: int,
    tolerance: float = TOLERANCE,
    budget: float = 1.5,
) -> Result:
    """Medians over `rounds` turns, or as many as `budget` seconds of each contender allow, once all
    results are seen to agree."""
    expected = None
    for name, contender in contenders.items():
        results = contender.start()
        contender.wait(results)
        if arrays := contender.arrays(results):
            expected = expected or arrays
            check_equal(f"{case}, {what}, {name}", arrays, expected, tolerance)
        del results
    times = {name: [contender.seconds()] for name, contender in contenders.items()}
    spent = dict.fromkeys(contenders, 0.0)
    for turn in range(rounds):
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if spent[name] + times[name][0] > budget:
                continue
            begin = time.perf_counter()
            if times[name][0] < FAST:
                contenders[name].seconds()
            times[name].append(contenders[name].seconds())
            spent[name] += time.perf_counter() - begin
    return Result(
        case,
        detail,
        what,
        {name: 1e3 * statistics.median(values[1:] or values) for name, values in times.items()},
        {name: each.compile_s for name, each in contenders.items() if each.compile_s is not None},
        {name: each.bytes for name, each in contenders.items() if each.bytes is not None},
    )


def check_equal(
    where: str, actual: Sequence[Any], expected: Sequence[Any], tolerance: float
) -> None:
    """Stops the benchmark where two contenders do not compute the same: what is wrong is not fast.
    `tolerance` is relative to the largest element."""
    for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if a.shape != b.shape:
            raise SystemExit(f"{where}: result {i} has shape {a.shape}, not {b.shape}")
        error = np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-30)
        if not error <= tolerance:
            raise SystemExit(f"{where}: result {i} is off by {error:.1e} of the largest element")


# --- PyTorch's layouts ---------------------------------------------------------------------------


def to_torch(array: np.ndarray, layout: str, dtype: str, *, kernel: bool = False) -> Any:
    """An array of jconv's as PyTorch's (batch, channels, *spatial), or (out, in, *window)."""
    moved = np.moveaxis(array, (-1, -2), (0, 1)) if kernel else np.moveaxis(array, -1, 1)
    tensor = torch.tensor(np.ascontiguousarray(moved), dtype=getattr(torch, dtype), device=DEVICE)
    if layout == "channels first":
        return tensor
    last = torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d
    return tensor.to(memory_format=last)


def from_torch(tensor: Any, *, kernel: bool = False) -> np.ndarray:
    array = tensor.detach().float().cpu().numpy()
    return np.moveaxis(array, (0, 1), (-1, -2)) if kernel else np.moveaxis(array, 1, -1)


# --- Options and report ---------------------------------------------------------------------------


def parser(doc: str | None, rounds: int = 15) -> argparse.ArgumentParser:
    """The options of all benchmarks."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0], allow_abbrev=False)
    made.add_argument("--rounds", type=int, default=rounds, help="how often each is timed, at most")
    made.add_argument("--tiny", action="store_true", help="small cases, to try the script")
    made.add_argument("--only", default="", metavar="WORDS", help="cases whose name contains WORDS")
    made.add_argument("--json", action="store_true", help="print one JSON document instead")
    made.add_argument(
        "--out", type=Path, metavar="FILE", help="write the table there, and a plot beside it"
    )
    return made


def run(cases: Iterable[tuple[str, Callable[[], Result]]], ratios: Sequence[Ratio]) -> list[Result]:
    """The results of all cases, or of those before Ctrl-C, each told on stderr when it is done."""
    busy = os.getloadavg()[0]
    if busy > 0.5:
        print(f"other programs are computing (load {busy:.1f}): no fair times", file=sys.stderr)
    results: list[Result] = []
    try:
        for name, start in cases:
            results.append(start())
            found = {ratio.title: ratio.of(results[-1]) for ratio in ratios}
            said = (f"{key} {value:.2f}" for key, value in found.items() if not math.isnan(value))
            print(f"{name}: {', '.join(said)}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"interrupted: {len(results)} are done", file=sys.stderr)
    return results


def machine() -> str:
    """What computed, in words."""
    device = jax.devices()[0].device_kind
    threads = "" if CUDA or torch is None else f", {torch.get_num_threads()} threads"
    versions = f"jax {jax.__version__}" + (f", PyTorch {torch.__version__}" if torch else "")
    return f"{device}{threads}, {platform.system()} {platform.machine()}; {versions}"


def geomean(values: Iterable[float]) -> float:
    """The geometric mean of those that are numbers."""
    logs = [math.log(value) for value in values if not math.isnan(value)]
    return math.exp(statistics.fmean(logs)) if logs else math.nan


def short(value: float) -> str:
    """Three digits, or nothing for what was not measured."""
    if math.isnan(value):
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(
    words: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[Sequence[str]]
) -> str:
    """A table in Markdown: columns of words, row by row, then those of numbers with their heads."""
    heads = [[*words, *(head for head, *_ in columns)], ["---"] * len(words)]
    heads[1] += ["---:"] * len(columns)
    body = [[*row, *(column[1 + i] for column in columns)] for i, row in enumerate(rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [*heads, *body])


def summary(results: Sequence[Result], ratios: Sequence[Ratio]) -> str:
    """The geometric mean and the worst of each ratio, by what was computed."""
    lines = []
    for what in dict.fromkeys(result.what for result in results):
        for ratio in ratios:
            found = [(ratio.of(r), r.case) for r in results if r.what == what]
            found = [pair for pair in found if not math.isnan(pair[0])]
            if found:
                worst, case = max(found)
                mean = geomean(value for value, _ in found)
                lines.append(
                    f"- {what}, {ratio.title}: geometric mean {mean:.2f}, worst {worst:.2f} "
                    f"({case}), of {len(found)}"
                )
    return "\n".join(lines)


def report(
    results: Sequence[Result],
    ratios: Sequence[Ratio],
    options: argparse.Namespace,
    *,
    title: str,
    notes: str,
) -> None:
    """Prints all results, as a table or as JSON, and writes them where `--out` says."""
    ratios = [each for each in ratios if not all(math.isnan(each.of(r)) for r in results)]
    names = list(dict.fromkeys(name for result in results for name in result.ms))
    cases = [(result.case, result.detail, result.what) for result in results]

    def columns(measured: Sequence[dict[str, float]], unit: str, scale: float = 1.0) -> list[Any]:
        """A column for each contender of which something was measured."""
        return [
            [f"{name}, {unit}", *(short(scale * each.get(name, math.nan)) for each in measured)]
            for name in names
            if any(name in each for each in measured)
        ]

    times = columns([result.ms for result in results], "ms")
    times += [[ratio.title, *(short(ratio.of(result)) for result in results)] for ratio in ratios]
    sizes = columns([result.bytes for result in results], "MB", 1e-6)
    sizes += columns([result.compile_s for result in results], "compilation s")
    command = " ".join(["python experiments/bench/" + Path(sys.argv[0]).name, *sys.argv[1:]])
    parts = [
        f"# {title}",
        f"`{command}` on {machine()}. {notes}",
        summary(results, ratios),
        table(("case", "geometry", ""), cases, times),
    ]
    if sizes:
        parts += [
            "Memory of results and temporaries, where it is known, and seconds of compilation:",
            table(("case", "geometry", ""), cases, sizes),
        ]
    document = [
        result._asdict()
        | {"ratios": {r.title: None if math.isnan(r.of(result)) else r.of(result) for r in ratios}}
        for result in results
    ]
    deliver("\n\n".join(parts) + "\n", document, options)
    if options.out:
        plot(results, ratios, options.out.with_suffix(".png"), title)


def deliver(text: str, document: Any, options: argparse.Namespace) -> None:
    """The table or the JSON on stdout, the table also in the file of `--out`."""
    print(json.dumps(document, indent=2, allow_nan=False) if options.json else text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)


def plot(results: Sequence[Result], ratios: Sequence[Ratio], file: Path, title: str) -> None:
    """Every ratio of every case on a logarithmic axis; left of 1, ours is faster."""
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys(result.what for result in results))
    by_case = list(dict.fromkeys(result.case for result in results))
    figure = Figure(figsize=(3 + 4 * len(groups), 1.5 + 0.25 * len(by_case)), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for panel, what in zip(panels, groups, strict=True):
        for ratio, colour, marker in zip(ratios, COLOURS, MARKERS, strict=False):
            points = [(ratio.of(r), by_case.index(r.case)) for r in results if r.what == what]
            points = [point for point in points if not math.isnan(point[0])]
            if points:
                panel.scatter(
                    *zip(*points, strict=True), c=colour, marker=marker, label=ratio.title
                )
        panel.axvline(1, color="black", linewidth=1)
        panel.set(xscale="log", xlabel="ratio of times, less is better", title=what)
        panel.grid(axis="x", which="both", linewidth=0.3)
    panels[0].set_yticks(range(len(by_case)), by_case)
    panels[0].invert_yaxis()
    panels[0].legend(loc="best")
    figure.suptitle(title)
    figure.savefig(file, dpi=120)
