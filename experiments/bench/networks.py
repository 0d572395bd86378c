"""How long do jconv's networks take, beside torchvision's with the same weights?

    pip install torch==2.13.0 && pip install --no-deps torchvision==0.28.0
    python experiments/bench/networks.py

Expected: two minutes on 2 cores. Result: networks.md beside this file, written by `--out`.

They take turns, as in all benchmarks here. jconv computes channels last; PyTorch both ways, of
which the faster counts.
"""

import math
import sys
import time
import types
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import contest
import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from contest import DEVICE, Contender, Ratio, Result
from flax import nnx

from jconv.models import from_torchvision, network

# torchvision's compiled operators need the PyTorch that they were built with; its networks do not.
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("stub"))
import torchvision  # noqa: E402

RATIO = Ratio("jconv / PyTorch", "jconv", ("channels first", "channels last"))


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
    model = getattr(models, case.name)(weights=None, **options).train(case.training).to(DEVICE)
    x = torch.randn(case.shape[0], case.shape[-1], *case.shape[1:-1], device=DEVICE)
    if memory_format == "channels last":
        last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        model, x = model.to(memory_format=last), x.to(memory_format=last)
    labels = torch.arange(case.shape[0], device=DEVICE)
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


def ours(case: Case, weights: dict[str, Any]) -> Contender:
    options = {"aux": False} if case.name.startswith("fcn") else {}
    model = nnx.eval_shape(lambda: network(case.name)(rngs=nnx.Rngs(0), **options))
    nnx.reseed(model, default=0)
    from_torchvision(model, weights)
    x = jnp.asarray(np.random.default_rng(0).standard_normal(case.shape), jnp.float32)
    if not case.training:
        model.eval()
        graph, state = nnx.split(model)
        return contest.jax_contender(lambda state, x: nnx.merge(graph, state)(x), state, x)

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
        return loss

    return Contender(run, jax.block_until_ready, compile_s=seconds)


def measure(case: Case, rounds: int) -> Result:
    contenders: dict[str, Contender] = {}
    for memory_format in ("channels first", "channels last"):
        twin, run = theirs(case, memory_format)
        contenders[memory_format] = contest.torch_contender(run)
    weights = {name: tensor.cpu() for name, tensor in twin.state_dict().items()}
    contenders["jconv"] = ours(case, weights)._replace(arrays=lambda _: [])
    shape = "x".join(map(str, case.shape))
    what = "training step" if case.training else "inference"
    return contest.measure(case.name, shape, what, contenders, rounds, budget=math.inf)


def as_row(result: Result) -> dict[str, Any]:
    ratio = RATIO.of(result)
    return {
        "network": result.case,
        "shape": result.detail,
        "what": result.what,
        "jconv_ms": result.ms["jconv"],
        "torch_ms": result.ms["jconv"] / ratio,
        "ratio": ratio,
        "compile_s": result.compile_s["jconv"],
    }


def as_markdown(rows: list[dict[str, Any]], rounds: int) -> str:
    columns = [
        ["jconv, ms", *(f"{row['jconv_ms']:.0f}" for row in rows)],
        ["PyTorch, ms", *(f"{row['torch_ms']:.0f}" for row in rows)],
        ["ratio", *(f"{row['ratio']:.2f}" for row in rows)],
        ["compilation, s", *(f"{row['compile_s']:.1f}" for row in rows)],
    ]
    cases = [(row["network"], row["shape"], row["what"]) for row in rows]
    return "\n".join(
        [
            "# Networks: jconv beside torchvision",
            "",
            f"`python experiments/bench/networks.py --rounds {rounds}` on {contest.machine()}, "
            f"torchvision {torchvision.__version__}; float32{contest.TF32}. Medians; PyTorch in "
            "the faster of its two layouts.",
            "",
            contest.table(("network", "input", ""), cases, columns),
            "",
        ]
    )


def main() -> None:
    options = contest.parser(__doc__, rounds=7).parse_args()
    cases = [case for case in (TINY if options.tiny else CASES) if options.only in case.name]
    starts = [(case.name, partial(measure, case, options.rounds)) for case in cases]
    rows = [as_row(result) for result in contest.run(starts, [RATIO])]
    contest.deliver(as_markdown(rows, options.rounds), rows, options)


if __name__ == "__main__":
    main()
