"""How long do jconv's networks take, beside torchvision's with the same weights?

    pip install torch==2.13.0 && pip install --no-deps torchvision==0.28.0
    python experiments/bench/networks.py

Expected: two minutes on 2 cores. Result: networks.md beside this file, written by `--out`.

Both compute in one process, in turn, so that what disturbs the machine disturbs both; each time is
the median of the rounds, compilation and a warm-up apart. jconv computes channels last; PyTorch
both ways, of which the faster counts.
"""

import argparse
import json
import platform
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx

from jconv.models import from_torchvision, network

jax.config.update("jax_platforms", "cpu")  # where this PyTorch computes

# torchvision's compiled operators need the PyTorch that they were built with; its networks do not.
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("stub"))
import torchvision  # noqa: E402


class Case(NamedTuple):
    name: str
    shape: tuple[int, ...]
    training: bool = False


CASES = (
    Case("alexnet", (8, 224, 224, 3)),
    Case("resnet18", (8, 224, 224, 3)),
    Case("resnet50", (8, 224, 224, 3)),
    Case("fcn_resnet50", (1, 224, 224, 3)),
    Case("r3d_18", (1, 16, 112, 112, 3)),
    Case("resnet18", (8, 224, 224, 3), training=True),
    Case("resnet50", (8, 224, 224, 3), training=True),
)
TINY = (
    Case("resnet18", (2, 32, 32, 3)),
    Case("r3d_18", (1, 4, 16, 16, 3)),
    Case("resnet18", (2, 32, 32, 3), training=True),
)
# One step of each side's stochastic gradient descent.
RATE, MOMENTUM = 0.1, 0.9


def theirs(case: Case, memory_format: str) -> tuple[Any, Callable[[], Any]]:
    """torchvision's network, and what is timed."""
    models: Any = torchvision.models
    if case.name.startswith("fcn"):
        models = models.segmentation
    elif case.name.startswith("r3d"):
        models = models.video
    options = {"weights_backbone": None, "aux_loss": False} if case.name.startswith("fcn") else {}
    torch.manual_seed(0)
    model = getattr(models, case.name)(weights=None, **options).train(case.training)
    x = torch.randn(case.shape[0], case.shape[-1], *case.shape[1:-1])
    if memory_format == "channels last":
        last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        model, x = model.to(memory_format=last), x.to(memory_format=last)
    labels = torch.arange(case.shape[0])
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM)

    def infer() -> Any:
        with torch.inference_mode():
            return model(x)

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return model, step if case.training else infer


def ours(case: Case, twin: Any) -> tuple[float, Callable[[], Any]]:
    """Seconds of compilation, and what is timed."""
    options = {"aux": False} if case.name.startswith("fcn") else {}
    model = nnx.eval_shape(lambda: network(case.name)(rngs=nnx.Rngs(0), **options))
    nnx.reseed(model, default=0)
    from_torchvision(model, twin.state_dict())
    x = jnp.asarray(np.random.default_rng(0).standard_normal(case.shape), jnp.float32)
    if not case.training:
        model.eval()
        graph, state = nnx.split(model)
        infer = jax.jit(lambda state, x: nnx.merge(graph, state)(x))
        start = time.perf_counter()
        compiled = infer.lower(state, x).compile()
        return time.perf_counter() - start, lambda: jax.block_until_ready(compiled(state, x))

    labels = jnp.arange(case.shape[0])
    optimizer = nnx.Optimizer(model, optax.sgd(RATE, momentum=MOMENTUM), wrt=nnx.Param)
    graph, state = nnx.split((model, optimizer))

    def loss_of(model: nnx.Module) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), labels).mean()

    def step(state: Any) -> tuple[jax.Array, Any]:
        model, optimizer = nnx.merge(graph, state)
        loss, gradient = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, gradient)
        return loss, nnx.state((model, optimizer))

    start = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(state).compile()
    seconds = time.perf_counter() - start

    def run() -> Any:
        nonlocal state
        loss, state = compiled(state)
        return jax.block_until_ready(loss)

    return seconds, run


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Medians of all contenders, in milliseconds."""
    contenders: dict[str, Callable[[], Any]] = {}
    for memory_format in ("channels first", "channels last"):
        twin, contenders[memory_format] = theirs(case, memory_format)
    compilation, contenders["jconv"] = ours(case, twin)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        order = list(contenders)[turn % 3 :] + list(contenders)[: turn % 3]
        for name in order:
            start = time.perf_counter()
            contenders[name]()
            if turn:  # the first warms up
                times[name].append(time.perf_counter() - start)
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    torch_ms = min(medians["channels first"], medians["channels last"])
    return {
        "network": case.name,
        "shape": "x".join(map(str, case.shape)),
        "what": "training step" if case.training else "inference",
        "jconv_ms": medians["jconv"],
        "torch_ms": torch_ms,
        "ratio": medians["jconv"] / torch_ms,
        "compile_s": compilation,
    }


def as_markdown(results: list[dict[str, Any]], rounds: int) -> str:
    device = f"{jax.devices()[0].device_kind}, {torch.get_num_threads()} threads"
    lines = [
        "# Networks: jconv beside torchvision",
        "",
        f"`python experiments/bench/networks.py --rounds {rounds}` on {device}, "
        f"{platform.system()} {platform.machine()}; float32; jax {jax.__version__}, PyTorch "
        f"{torch.__version__}, torchvision {torchvision.__version__}. Medians; PyTorch in the "
        "faster of its two layouts.",
        "",
        "| network | input | | jconv, ms | PyTorch, ms | ratio | compilation, s |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in results:
        lines.append(
            f"| {row['network']} | {row['shape']} | {row['what']} | {row['jconv_ms']:.0f} | "
            f"{row['torch_ms']:.0f} | {row['ratio']:.2f} | {row['compile_s']:.1f} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often each is timed")
    parser.add_argument("--tiny", action="store_true", help="small cases, to try the script")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there too")
    options = parser.parse_args()
    results = []
    for case in TINY if options.tiny else CASES:
        results.append(measure(case, options.rounds))
        print(f"{case.name}: {results[-1]['ratio']:.2f}", file=sys.stderr, flush=True)
    table = as_markdown(results, options.rounds)
    print(json.dumps(results, indent=2) if options.json else table)
    if options.out:
        options.out.write_text(table)


if __name__ == "__main__":
    main()
