"""Networks at the command line: what they compute and cost, their training, and what they see.

For example:

    python -m jconv summary resnet50 --input 224x224x3
    python -m jconv train resnet20 --data digits --out runs/digits
    python -m jconv eval resnet20 --data digits --run runs/digits
    python -m jconv predict resnet50 cat.jpg --weights resnet50.pth --labels imagenet.json
    python -m jconv segment fcn_resnet50 holiday/ --weights fcn_resnet50.pth --out masks
    python -m jconv explain resnet50 --input 224x224x3 --gradient
    python -m jconv tune resnet50 --input 224x224x3 --batch 8
    python -m jconv sweep --input 32x32x16 --window 3,5,7 --dilation 1,2 --depth 1,3
    python -m jconv bench resnet18 --input 64x64x3 --batch 8
    python -m jconv report results --out report.html
"""

import importlib
import io
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import jax

from jconv.commands.options import PROGRAM, in_flags
from jconv.terminal import Parser

EPILOG = """exit status:
  0    all is done
  1    some files, or all, were skipped: stderr names them, and what is wrong with each
  2    the command cannot be carried out
  3    training was stopped, since its loss or gradient was not finite
  130  Ctrl-C; what is done until then is printed, or saved
  143  SIGTERM while training; what is done until then is saved"""

# Each is a module of `jconv.commands`, with `add` for its options, and `run`.
COMMANDS = {
    "summary": "list what a network computes, and what it costs",
    "train": "train a network on pictures or other arrays",
    "eval": "measure how well a network does on examples",
    "predict": "tell what is in pictures",
    "segment": "tell what is where in pictures",
    "explain": "tell which algorithm computes each convolution of a network, and why",
    "tune": "time all algorithms for a network here, and use the fastest from then on",
    "sweep": "compare windows, strides, dilations and depths: output, receptive field, cost, time",
    "bench": "time networks and operations by jconv beside plain jax.lax",
    "report": "gather the results of experiments in one HTML page",
}


def parser(name: str) -> Parser:
    """The parser of all commands, of which that of `name` has its options: modules that no one
    asks for take time to load, and may need packages that are not installed."""
    top = Parser(prog=PROGRAM, description=__doc__, epilog=EPILOG)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for each, text in COMMANDS.items():
        example = re.search(rf"^ *({PROGRAM} {each} .*)$", __doc__ or "", re.MULTILINE)
        assert example
        description = f"{text}\n\nfor example:\n  {example[1]}"
        command = commands.add_parser(each, help=text, description=description, epilog=EPILOG)
        if each == name:
            module = importlib.import_module(f"jconv.commands.{name}")
            module.add(command)
            actions = [action for action in command._actions if action.option_strings]
            flags = {action.dest: action.option_strings[-1] for action in actions}
            command.set_defaults(run=module.run, flags=flags)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Carries out the command, and returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # for names in letters that its encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    name, flags = words[0] if words else "", {}
    try:
        options = parser(name).parse_args(words)
        options.words, flags = words, options.flags
        with warnings.catch_warnings():
            # Pillow's, of pictures that are odd and yet can be read.
            warnings.filterwarnings("ignore", module=r"PIL\.")
            warnings.showwarning = warn
            status: int = options.run(options)
            return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("jconv"):
            raise
        message = f"{name} needs {error.name}: pip install 'jconv[all]'"
    except (ValueError, OSError) as error:
        message = textwrap.shorten(in_flags(str(error), flags), 1000, placeholder=" ...")
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        batch = flags.get("batch_size", "--batch")
        message = f"out of memory; make {batch}, or the pictures' size, smaller"
    print(f"{PROGRAM}: error: {message}", file=sys.stderr)
    return 2


def warn(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"{PROGRAM}: warning: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
