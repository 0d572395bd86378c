"""How long does a step of `jconv.training.fit` take, beside a loop that does the same in PyTorch?

    pip install torch==2.13.0 && pip install --no-deps torchvision==0.28.0
    python experiments/bench/training.py --out experiments/bench/training.md

Expected: two minutes on 2 cores. Result: training.md and training.png beside this file.

All that a step is: the next batch of pictures in memory, shuffled, in float32; the loss, the
gradients, running statistics and AdamW with weight decay on kernels. PyTorch computes in the faster
of its two layouts. First it is checked that the first step's losses are equal, with the same
weights and the same batch.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import contest
import jax
import numpy as np
import torch
from contest import DEVICE, Contender, Ratio, Result
from flax import nnx
from rivals import torch_network

from jconv.models import from_torchvision, network
from jconv.training.data.examples import Examples
from jconv.training.data.loading import Loader
from jconv.training.optimizer import Optimizer
from jconv.training.sharding import data_mesh, to_devices
from jconv.training.step import setup, train_step
from jconv.training.tasks import Classification

LAYOUTS = ("channels first", "channels last")
RATIOS = (Ratio("jconv / PyTorch", "jconv", tuple(f"PyTorch {layout}" for layout in LAYOUTS)),)
RATE, DECAY, STEPS = 1e-3, 0.01, 10_000
TOLERANCE = 1e-4  # of the first loss
CLASSES = 1000


class Case(NamedTuple):
    name: str
    batch: int
    size: int

    def examples(self) -> Examples:
        """A batch, twice: whatever the order, a step sees pictures that it has seen."""
        numbers = np.random.default_rng(0)
        shape = (self.batch, self.size, self.size, 3)
        pictures = numbers.standard_normal(shape, np.float32)
        return Examples(pictures, np.arange(self.batch) % CLASSES)


CASES = (Case("resnet18", 32, 32), Case("resnet18", 32, 64), Case("resnet18", 8, 224))
TINY = (Case("resnet18", 2, 32),)


def theirs(case: Case, layout: str) -> tuple[torch.nn.Module, Contender]:
    model = torch_network(case.name).train().to(DEVICE)
    if layout == "channels last":
        model = model.to(memory_format=torch.channels_last)
    decaying = [each for each in model.parameters() if each.ndim > 1]
    rest = [each for each in model.parameters() if each.ndim <= 1]
    groups = [{"params": decaying}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, RATE, weight_decay=DECAY)
    examples = case.examples()
    inputs, targets = torch.tensor(examples.inputs), torch.tensor(examples.targets)

    def step() -> Any:
        order = torch.randperm(case.batch)
        x, labels = inputs[order].to(DEVICE).movedim(-1, 1), targets[order].to(DEVICE)
        if layout == "channels first":
            x = x.contiguous()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    def arrays(loss: Any) -> list[np.ndarray]:
        return [loss.detach().cpu().numpy()]

    return model, contest.torch_contender(step, arrays)


def ours(case: Case, weights: dict[str, Any]) -> Contender:
    model = nnx.eval_shape(lambda: network(case.name)(rngs=nnx.Rngs(0)))
    nnx.reseed(model, default=0)
    from_torchvision(model, weights)
    optimizer = Optimizer(learning_rate=RATE, schedule="constant", warmup=0, weight_decay=DECAY)
    static, state = setup(model, Classification(CLASSES), optimizer, STEPS, STEPS)
    batches = iter(Loader(case.examples(), case.batch))
    mesh = data_mesh()

    def step() -> Any:
        nonlocal state
        state, finite = train_step(static, state, *to_devices(next(batches), mesh))
        return state.totals["loss"], finite

    def arrays(result: Any) -> list[np.ndarray]:
        return [np.asarray(result[0].value)]

    return Contender(step, jax.block_until_ready, arrays)


def measure(case: Case, rounds: int) -> Result:
    contenders: dict[str, Contender] = {}
    for layout in LAYOUTS:
        twin, contenders[f"PyTorch {layout}"] = theirs(case, layout)
        if layout == LAYOUTS[0]:  # before it has trained
            weights = {name: tensor.cpu().clone() for name, tensor in twin.state_dict().items()}
        else:
            twin.load_state_dict(weights)
    contenders["jconv"] = ours(case, weights)
    detail = f"{case.batch}x{case.size}x{case.size}x3"
    return contest.measure(
        case.name, detail, "step", contenders, rounds, tolerance=TOLERANCE, budget=math.inf
    )


def main() -> None:
    options = contest.parser(__doc__, rounds=9).parse_args()
    cases = [case for case in (TINY if options.tiny else CASES) if options.only in case.name]
    starts: list[tuple[str, Callable[[], Result]]] = [
        (f"{case.name}, {case.size}", partial(measure, case, options.rounds)) for case in cases
    ]
    notes = f"float32{contest.TF32}. Medians. PyTorch in the faster of its two layouts."
    title = "Training steps: jconv beside PyTorch"
    contest.report(contest.run(starts, RATIOS), RATIOS, options, title=title, notes=notes)


if __name__ == "__main__":
    main()
