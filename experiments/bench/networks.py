"""How long do jconv's networks take, beside torchvision's with the same weights?

    pip install torch==2.13.0 && pip install --no-deps torchvision==0.28.0
    python experiments/bench/networks.py --out experiments/bench/networks.md

Expected: five minutes on 2 cores. Result: networks.md and networks.png beside this file.

Inference, and training steps: loss, gradients, statistics, and stochastic gradient descent with
momentum. jconv computes channels last; PyTorch both ways, of which the faster counts. ResNet-50 is
there as plain Flax too, as it is and through `jconv.accelerate`. FCN-8s and U-Net, which
torchvision has not, are composed in PyTorch. First it is checked that networks with the same
weights give the same logits, or the same loss.
"""

import math
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
from rivals import COMPOSED, FlaxResNet50, torch_network

import jconv
from jconv.models import from_torchvision, network

LAYOUTS = ("channels first", "channels last")
RATIOS = (
    Ratio("jconv / PyTorch", "jconv", tuple(f"PyTorch {layout}" for layout in LAYOUTS)),
    Ratio("jconv / Flax", "jconv", ("Flax",)),
    Ratio("accelerated Flax / jconv", "accelerated Flax", ("jconv",)),
)
RATE, MOMENTUM = 0.1, 0.9
TOLERANCE = 1e-3  # of logits and losses, after dozens of layers


class Case(NamedTuple):
    name: str
    shape: tuple[int, ...]
    training: bool = False
    flax: type[nnx.Module] | None = None

    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Pictures and their labels."""
        x = np.random.default_rng(0).standard_normal(self.shape, np.float32)
        return x, np.arange(self.shape[0])


CASES = (
    Case("alexnet", (8, 224, 224, 3)),
    Case("resnet18", (8, 224, 224, 3)),
    Case("resnet50", (8, 224, 224, 3), flax=FlaxResNet50),
    Case("fcn_resnet50", (1, 224, 224, 3)),
    Case("fcn8s", (1, 224, 224, 3)),
    Case("unet", (1, 256, 256, 1)),
    Case("r3d_18", (1, 16, 112, 112, 3)),
    Case("resnet18", (8, 224, 224, 3), training=True),
    Case("resnet50", (8, 224, 224, 3), training=True, flax=FlaxResNet50),
)
TINY = (
    Case("resnet18", (2, 32, 32, 3)),
    Case("r3d_18", (1, 4, 16, 16, 3)),
    Case("resnet18", (2, 32, 32, 3), training=True),
)


def theirs(case: Case, layout: str) -> tuple[torch.nn.Module, Contender]:
    """PyTorch's network, and its contender."""
    model = torch_network(case.name).train(case.training).to(DEVICE)
    pictures, numbers = case.inputs()
    x, labels = (torch.tensor(each, device=DEVICE) for each in (pictures, numbers))
    x = x.movedim(-1, 1).contiguous()
    if layout == "channels last":
        last = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
        model, x = model.to(memory_format=last), x.to(memory_format=last)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM)

    def infer() -> Any:
        with torch.inference_mode():
            out = model(x)
        return out["out"] if isinstance(out, dict) else out

    def step() -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    def arrays(result: Any) -> list[np.ndarray]:
        return [result.detach().cpu().numpy() if case.training else contest.from_torch(result)]

    # Only what has the same weights is compared.
    compared = arrays if case.name not in COMPOSED else lambda _: []
    return model, contest.torch_contender(step if case.training else infer, compared)


def in_jax(
    case: Case, model: nnx.Module, transform: Callable[[Any], Any] = lambda fun: fun
) -> Contender:
    """A network of NNX; `transform` is applied to what computes its logits."""
    x, labels = map(jnp.asarray, case.inputs())
    model.train() if case.training else model.eval()
    if not case.training:
        graph, state = nnx.split(model)
        infer = transform(lambda state, x: nnx.merge(graph, state)(x))
        return contest.jax_contender(infer, state, x)

    optimizer = nnx.Optimizer(model, optax.sgd(RATE, momentum=MOMENTUM), wrt=nnx.Param)
    graph, state = nnx.split((model, optimizer))

    def loss_of(model: nnx.Module) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(x), labels).mean()

    def step(state: Any) -> tuple[jax.Array, Any]:
        model, optimizer = nnx.merge(graph, state)
        loss, gradient = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, gradient)
        return loss, nnx.state((model, optimizer))

    compiled, seconds, size = contest.compile_jax(transform(step), state, donate_argnums=0)

    def run() -> Any:
        nonlocal state
        loss, state = compiled(state)
        return loss

    return Contender(run, jax.block_until_ready, compile_s=seconds, bytes=size)


def native(case: Case, weights: dict[str, Any]) -> nnx.Module:
    options = {"aux": False} if case.name.startswith("fcn_") else {}
    if case.name in COMPOSED:
        return network(case.name)(rngs=nnx.Rngs(0))
    model = nnx.eval_shape(lambda: network(case.name)(rngs=nnx.Rngs(0), **options))
    nnx.reseed(model, default=0)
    from_torchvision(model, weights)
    return model


def measure(case: Case, rounds: int) -> Result:
    contenders: dict[str, Contender] = {}
    for layout in LAYOUTS:
        twin, contenders[f"PyTorch {layout}"] = theirs(case, layout)
        if layout == LAYOUTS[0]:  # before it has trained
            weights = {name: tensor.cpu().clone() for name, tensor in twin.state_dict().items()}
    contenders["jconv"] = in_jax(case, native(case, weights))
    if case.name in COMPOSED:
        contenders["jconv"] = contenders["jconv"]._replace(arrays=lambda _: [])
    if case.flax:
        for name, transform in (("Flax", lambda fun: fun), ("accelerated Flax", jconv.accelerate)):
            alone = in_jax(case, case.flax(rngs=nnx.Rngs(0)), transform)
            contenders[name] = alone._replace(arrays=lambda _: [])
    shape = "x".join(map(str, case.shape))
    what = "training step" if case.training else "inference"
    return contest.measure(
        case.name, shape, what, contenders, rounds, tolerance=TOLERANCE, budget=math.inf
    )


def main() -> None:
    options = contest.parser(__doc__, rounds=7).parse_args()
    cases = [case for case in (TINY if options.tiny else CASES) if options.only in case.name]
    starts = [(case.name, partial(measure, case, options.rounds)) for case in cases]
    notes = f"float32{contest.TF32}. Medians. PyTorch in the faster of its two layouts."
    title = "Networks: jconv beside others"
    contest.report(contest.run(starts, RATIOS), RATIOS, options, title=title, notes=notes)


if __name__ == "__main__":
    main()
