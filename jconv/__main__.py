"""Networks at the command line: what they compute, and what they see in pictures.

For example:

    python -m jconv summary resnet50 --input 224x224x3
    python -m jconv predict resnet50 cat.jpg --weights resnet50.pth --labels imagenet.json
    python -m jconv segment fcn_resnet50 holiday/ --weights fcn_resnet50.pth --out masks
"""

import argparse
import dataclasses
import io
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from jconv.analysis.summary import summarize
from jconv.inference import MASK, OVERLAY, Skipped, predict, save, segment, stems
from jconv.models.checkpoints import read_state_dict
from jconv.models.segmentation import Segmentation
from jconv.models.weights import KeptHead, from_torchvision
from jconv.models.zoo import network
from jconv.pictures import (
    VOC_CLASSES,
    Preset,
    find_pictures,
    read_labels,
)
from jconv.terminal import (
    Parser,
    Work,
    checked,
    console,
    file,
    human,
    number,
    print_json,
    shown,
    table,
)

PROGRAM = "python -m jconv"
EPILOG = """exit status:
  0    all is done
  1    some pictures, or all, were skipped: stderr names them, and what is wrong with each
  2    the command cannot be carried out
  130  Ctrl-C; what is done until then is printed"""

# --- Options --------------------------------------------------------------------------------------


@checked
def shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"([1-9][0-9]{0,8}x)+[1-9][0-9]{0,8}", text):
        raise ValueError(f"must be sizes and channels, such as 224x224x3, got {text!r}")
    return tuple(map(int, text.split("x")))


@checked
def builder(text: str) -> tuple[str, Callable[..., Any]]:
    return text, network(text)


def parser() -> Parser:
    top = Parser(prog=PROGRAM, description=__doc__, epilog=EPILOG)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> Parser:
        example = re.search(rf"^ *({PROGRAM} {name} .*)$", __doc__ or "", re.MULTILINE)
        shown = f"{text}\n\nfor example:\n  {example[1]}" if example else text
        added: Parser = commands.add_parser(name, help=text, description=shown, epilog=EPILOG)
        added.set_defaults(run=run)
        added.add_argument("network", type=builder, metavar="NAME", help="such as resnet50")
        added.add_argument("--json", action="store_true", help="print one JSON document instead")
        added.add_argument(
            "--classes", type=number, metavar="N", help="that the network tells apart"
        )
        return added

    def numbers(command: Parser, **options: tuple[int, str]) -> None:
        for name, (default, text) in options.items():
            text = f"{text} (default: {default})"
            command.add_argument(f"--{name}", type=number, default=default, metavar="N", help=text)

    added = command("summary", run_summary, "list what a network computes, and what it costs")
    added.add_argument(
        "--input",
        type=shape,
        default=(224, 224, 3),
        metavar="SIZES",
        help="height, width and channels of a picture, length and channels of a sequence, or "
        "16x112x112x3 of a clip (default: 224x224x3)",
    )
    numbers(added, batch=(1, "pictures at a time"))

    def pictures(command: Parser) -> None:
        command.add_argument(
            "pictures",
            nargs="+",
            metavar="PICTURE",
            help="picture file, or folder: all picture files directly inside it",
        )
        command.add_argument(
            "--weights",
            type=file,
            required=True,
            metavar="FILE",
            help="torchvision's weights of this network, .pth or .safetensors",
        )
        command.add_argument(
            "--labels",
            type=checked(read_labels),
            metavar="FILE",
            help="names of the classes: one a line or, if it ends in .json, a list or "
            '{"0": name, ...}',
        )

    added = command("predict", run_predict, "tell what is in pictures")
    pictures(added)
    numbers(
        added,
        top=(5, "how many of the likeliest classes to tell"),
        resize=(256, "pixels that the shorter side is resized to"),
        crop=(224, "pixels of each side of the centre, all that the network sees"),
        batch=(16, "pictures at a time"),
    )

    added = command("segment", run_segment, "tell what is where in pictures")
    pictures(added)
    numbers(added, size=(520, "pixels that the shorter side is resized to"))
    added.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"folder for NAME{MASK}, whose values are the classes, and NAME{OVERLAY}, both in the "
        "size of picture NAME; where two have one name, NAME-2",
    )
    return top


# --- Commands -------------------------------------------------------------------------------------


def build(options: argparse.Namespace, **settings: Any) -> Any:
    """The network in evaluation mode, its weights described but not drawn, which takes seconds."""
    if options.classes is not None:
        settings["num_classes"] = options.classes
    model = nnx.eval_shape(lambda: options.network[1](rngs=nnx.Rngs(0), **settings))
    model.eval()
    return model


def load(options: argparse.Namespace) -> Any:
    """The network with its weights."""
    if options.labels:
        if options.classes not in (None, len(options.labels)):
            raise ValueError(
                f"--labels has {len(options.labels)} names, but --classes is {options.classes}; "
                "leave --classes out"
            )
        options.classes = len(options.labels)
    model = build(options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", KeptHead)
        try:
            state = read_state_dict(options.weights)
            if isinstance(model, Segmentation) and not any(key.startswith("aux_") for key in state):
                model = build(options, aux=False)  # trained without the auxiliary head
            from_torchvision(model, state)
        except KeptHead as kept:
            raise ValueError(
                f"--weights has another number of classes than the network: {kept}; give that of "
                "the weights by --classes, or all their names by --labels"
            ) from None
        except ValueError as error:
            raise ValueError(f"--weights {str(options.weights)!r}: {error}") from error
    nnx.reseed(model, default=0)  # of dropout, which is all that is left to draw
    return model


def run_summary(options: argparse.Namespace) -> int:
    model = build(options, in_channels=options.input[-1])
    if len(options.input) != model.n + 1:
        raise ValueError(
            f"--input must be {model.n} sizes and channels for {options.network[0]}, such as "
            f"{by((16, 112, 112)[-model.n :])}x{options.input[-1]}, got {by(options.input)}"
        )
    shape = (options.batch, *options.input)
    found = summarize(model, shape)
    if options.json:
        print_json({"network": options.network[0], "input": shape, **dataclasses.asdict(found)})
        return 0
    rows = table("layer", "kind", "output", ">parameters", ">FLOPs", ">receptive field")
    for row in found.rows:
        sizes = (by(row.output_shape), f"{row.parameters:,}", human(row.flops))
        rows.add_row(row.name, row.kind, *sizes, by(row.receptive_field))
    console().print(rows)
    console().print(
        f"{options.network[0]} on {by(shape)}: {found.parameters:,} parameters, "
        f"{human(found.flops, 'FLOPs')}, two for each multiplication with addition"
    )
    return 0


def by(sizes: Sequence[int | str] | None) -> str:
    """A shape or size in words; one word where it is the same one on all axes."""
    words = [] if sizes is None else [str(size) for size in sizes]
    return words[0] if set(words) == {"all"} else "x".join(words)


def run_predict(options: argparse.Namespace) -> int:
    preset = Preset(resize=options.resize, crop=options.crop)
    paths = find_pictures(options.pictures)
    model = load(options)

    def start(skip: Skipped) -> Iterator[dict[str, Any]]:
        predictions = predict(
            model, paths, preset, top=options.top, batch=options.batch, skipped=skip
        )
        for each in predictions:
            values = zip(each.classes, each.probabilities, strict=True)
            yield {
                "file": str(each.path),
                "classes": classes(options.labels, "probability", values),
            }

    return report(options, paths, start)


def run_segment(options: argparse.Namespace) -> int:
    preset = Preset(resize=options.size)
    paths = find_pictures(options.pictures)
    names = dict(zip(paths, stems(paths, options.out, (MASK, OVERLAY)), strict=True))
    model = load(options)
    options.out.mkdir(parents=True, exist_ok=True)

    def start(skip: Skipped) -> Iterator[dict[str, Any]]:
        for each in segment(model, paths, preset, skipped=skip):
            mask, overlay = save(each, options.out, names[each.path])
            voc = VOC_CLASSES if each.classes == len(VOC_CLASSES) else None
            yield {
                "file": str(each.path),
                "mask": str(mask),
                "overlay": str(overlay),
                "classes": classes(options.labels or voc, "share", each.shares().items()),
            }

    return report(options, paths, start)


def classes(
    labels: Sequence[str] | None, title: str, values: Iterable[tuple[int, float]]
) -> list[dict[str, Any]]:
    """Each class with its value, which is called `title`."""
    return [
        {"index": index, "name": labels[index] if labels else None, title: value}
        for index, value in values
    ]


def report(
    options: argparse.Namespace,
    paths: Sequence[Path],
    start: Callable[[Skipped], Iterator[dict[str, Any]]],
) -> int:
    """Lets `start` do the work, prints what came out, and returns the exit status."""
    work = Work(len(paths))
    work.run(start)
    if options.json:
        skipped = [{"file": str(error.path), "reason": error.reason} for error in work.skipped]
        print_json(
            {
                "network": options.network[0],
                "pictures": work.done,
                "skipped": skipped,
                "interrupted": work.interrupted,
            }
        )
    elif work.done:
        *_, title = work.done[0]["classes"][0]
        masks = "mask" in work.done[0]
        rows = table("picture", "class", f">{title}", *(["mask"] if masks else []))
        for each in work.done:
            for found in each["classes"]:
                name = found["name"] or f"class {found['index']}"
                mask = [shown(Path(each["mask"]).name)] if masks else []
                rows.add_row(shown(each["file"]), name, f"{found[title]:.1%}", *mask)
            rows.add_section()
        console().print(rows)
        if masks:
            console().print(f"masks and overlays in {str(options.out)!r}")
    return work.status


def main(arguments: list[str] | None = None) -> int:
    """Carries out the command, and returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # for names in letters that its encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            # Pillow's, of pictures that are odd and yet can be read.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            status: int = options.run(options)
            return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        message = textwrap.shorten(str(error), 1000, placeholder=" ...")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        message = "out of memory; make --batch, or the pictures' size, smaller"
    print(f"{PROGRAM}: error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
