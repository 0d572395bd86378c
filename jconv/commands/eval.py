"""`eval`: how well a network does on examples."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconv.commands.learning import add_data, find_data, plain, prepare, tell_skipped
from jconv.commands.networks import load
from jconv.commands.options import integer
from jconv.commands.runs import WEIGHTS, read_config
from jconv.terminal import Parser, console, file, number, print_json, table
from jconv.training.evaluation import evaluate
from jconv.training.metrics import iou, mean, top_k
from jconv.training.tasks import Classification, Sums

FEW = 20  # classes whose confusion fits on a screen
TOP = 5


def add(command: Parser) -> None:
    add_data(command)
    weights = command.add_mutually_exclusive_group(required=True)
    weights.add_argument(
        "--weights",
        type=file,
        metavar="FILE",
        help="of this network, .pth or .safetensors: torchvision's, or what `train` left",
    )
    weights.add_argument(
        "--run",
        dest="folder",
        type=Path,
        metavar="FOLDER",
        help=f"that `train` left: its {WEIGHTS}, and what its options say of network and data",
    )
    command.add_argument(
        "--part",
        choices=("held-out", "training", "all"),
        default="held-out",
        help="of the examples (default: held-out)",
    )
    for name, usual, text in (
        ("seed", None, "of the choice of held-out examples, as in training (default: 0)"),
        ("workers", 0, "threads that prepare examples; 0 is this one (default: 0)"),
    ):
        command.add_argument(f"--{name}", type=integer, default=usual, metavar="N", help=text)
    command.add_argument(
        "--batch-size",
        type=number,
        default=64,
        metavar="N",
        help="examples at a time (default: 64)",
    )


def run(options: argparse.Namespace) -> int:
    config = configure(options)
    data = find_data(options, config)
    source = data.part(options.part)
    model = prepare(options, load(options, in_channels=data.shape[-1]), data)
    task = Examination(options.classes, positions=bool(data.positions))
    found = evaluate(model, task, source, batch_size=options.batch_size, workers=options.workers)
    asked = {"network": options.network[0], "data": options.data, "part": options.part}
    found = {**asked, "examples": len(source), **found}
    unnamed = range(len(data.labels), options.classes)
    names = (*data.labels, *(f"class {index}" for index in unnamed))
    found["classes"] = [
        {"name": name, "targets": int(counts.sum()), "accuracy": right, "iou": overlap}
        for name, counts, right, overlap in zip(
            names,
            found["confusion"],
            found.pop("per_class_accuracy"),
            found.pop("iou"),
            strict=True,
        )
    ]
    if options.json:
        print_json(plain(found))
    else:
        tell(found, names, positions=task.positions)
    return tell_skipped(data)


def configure(options: argparse.Namespace) -> dict[str, Any]:
    """What the options of a run say, if one is given; its settings of the network go before."""
    if options.folder is None:
        return {}
    config = read_config(options.folder)
    name = options.network[0]
    if config.get("network") != name:
        raise ValueError(f"`folder` holds a run of {config.get('network')}, got NAME {name}")
    options.weights = options.folder / WEIGHTS
    if not options.weights.is_file():
        raise ValueError(f"`folder` holds a run without {WEIGHTS}: no checkpoint was saved")
    options.set = [*map(tuple, config.get("set", [])), *options.set]
    return config


@dataclasses.dataclass(frozen=True)
class Examination(Classification):
    """With the confusion, the overlap of each class and, of many classes, how often the target is
    among the five likeliest."""

    @property
    def has_top(self) -> bool:
        return self.classes > TOP and not self.positions

    def zeros(self) -> Sums:
        top = {f"top_{TOP}": mean(jnp.zeros(0))} if self.has_top else {}
        return super().zeros() | top

    def metrics(self, sums: Sums) -> dict[str, Any]:
        counts = sums["confusion"]
        top = {name: float(each.value) for name, each in sums.items() if name == f"top_{TOP}"}
        return super().metrics(sums) | top | {"iou": np.asarray(iou(counts)), "confusion": counts}

    def _sums(self, logits: jax.Array, targets: jax.Array) -> Sums:
        hits = top_k(targets, logits, TOP, ignore=self.ignore) if self.has_top else None
        return super()._sums(logits, targets) | ({f"top_{TOP}": hits} if hits else {})


def tell(found: dict[str, Any], names: Sequence[str], *, positions: bool) -> None:
    """Prints a table of the classes, the confusion of few, and what counts."""
    confusion = np.asarray(found["confusion"])
    rows = table(
        "class", ">targets", ">accuracy", *([">overlap"] if positions else []), "taken for"
    )
    for index, each in enumerate(found["classes"]):
        wrong = np.where(np.arange(len(names)) == index, 0, confusion[index])
        most = (
            f"{names[int(wrong.argmax())]} {wrong.max() / confusion[index].sum():.1%}"
            if wrong.any()
            else ""
        )
        overlap = [share(each["iou"])] if positions else []
        rows.add_row(each["name"], f"{each['targets']:,}", share(each["accuracy"]), *overlap, most)
    console().print(rows)
    if len(names) <= FEW:
        columns = table("target, prediction", *(f">{name}" for name in names))
        for name, counts in zip(names, confusion, strict=True):
            columns.add_row(name, *(f"{count:,}" for count in counts))
        console().print(columns)
    told = {"accuracy": "accuracy", "top_5": "top-5 accuracy"}
    if positions:
        told = {"mean_iou": "mean intersection over union", "accuracy": "accuracy"}
    values = (f"{text} {share(found[name])}" for name, text in told.items() if name in found)
    console().print(
        f"{found['network']} on {found['examples']} examples of {found['data']!r} "
        f"({found['part']}): {', '.join(values)}, loss {found['loss']:.4f}"
    )


def share(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1%}"
