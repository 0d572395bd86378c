"""Optimizers against PyTorch's."""

from typing import Any

import numpy as np
import optax
import pytest

from jconv.training.optimizer import Optimizer, make
from tests.quick import quick_jit
from tests.strategies import normal
from tests.torch_twin import torch

STEPS = 6
KINDS: dict[Any, Any] = {
    "sgd": lambda parameters: torch.optim.SGD(
        parameters, 0.05, momentum=0.9, weight_decay=0.02, nesterov=True
    ),
    "adamw": lambda parameters: torch.optim.AdamW(
        parameters, 0.05, betas=(0.9, 0.99), weight_decay=0.02
    ),
}


@pytest.mark.parametrize("clip", [None, 1.5])
@pytest.mark.parametrize("name", KINDS)
def test_the_path_is_that_of_pytorch(name: Any, clip: float | None):
    start, target = normal(4, 3), normal(3, 4).T
    kernel = torch.nn.Parameter(torch.tensor(start))
    theirs = KINDS[name]([kernel])
    halving = torch.optim.lr_scheduler.LinearLR(theirs, 1.0, 0.0, total_iters=STEPS)
    options = {"weight_decay": 0.02, "b2": 0.99, "clip": clip, "warmup": 0}
    ours = make(Optimizer(name, 0.05, "linear", **options), STEPS)
    update = quick_jit(ours.update)
    parameter, state = start, ours.init(start)
    for _ in range(STEPS):
        theirs.zero_grad()
        ((kernel - torch.tensor(target)) ** 2).sum().backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([kernel], clip)
        theirs.step()
        halving.step()
        step, state = update(2 * (parameter - target), state, parameter)
        parameter = optax.apply_updates(parameter, step)
        np.testing.assert_allclose(parameter, kernel.detach().numpy(), rtol=1e-5, atol=1e-5)
