"""What every network does: it learns, in bfloat16 and with checkpoints too; named features."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jconv.models import (
    NETWORKS,
    BatchNorm,
    Network,
    ResNet,
    ResNetConfig,
    alexnet,
    fcn8s,
    network,
    plain20,
    resnet18,
    resnet20,
    resnet50,
    unet,
)
from tests.models.random_network import random_network
from tests.quick import quick_jit

# One of each kind, narrow and shallow: the others differ from these in depth or width alone.
THIN_VGG = {"widths": (8, 8, 16, 16, 16), "hidden": 32}
THIN, THINNER = {"width": 16, "depths": (1, 2, 1, 1)}, {"width": 8, "depths": (1, 2, 1, 1)}
PICTURE, CLIP = (4, 32, 32, 3), (4, 4, 16, 16, 3)
KINDS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "alexnet": ((4, 63, 63, 3), {"hidden": 32}),
    "vgg16": (PICTURE, THIN_VGG),
    "vgg16_bn": (PICTURE, THIN_VGG),
    "resnet18": (PICTURE, {"width": 16}),
    "resnet50": (PICTURE, THIN),
    "resnext50_32x4d": (PICTURE, {**THIN, "width_per_group": 16}),
    "wide_resnet50_2": (PICTURE, THINNER),
    "plain18": (PICTURE, THIN),
    "resnet20": (PICTURE, {}),
    "plain20": (PICTURE, {}),
    "fcn_resnet50": (PICTURE, THIN),
    "deeplabv3_resnet50": (PICTURE, THINNER),
    "fcn32s": ((2, 9, 12, 3), THIN_VGG),
    "fcn16s": ((2, 9, 12, 3), THIN_VGG),
    "fcn8s": ((2, 9, 12, 3), THIN_VGG),
    "unet": ((2, 16, 16, 1), {"width": 8, "depth": 2}),
    "tcn": ((4, 20, 1), {"widths": (32, 32, 32), "window": 3}),
    "r3d_18": (CLIP, THINNER),
    "mc3_18": (CLIP, THINNER),
    "r2plus1d_18": (CLIP, THINNER),
}
each_kind = pytest.mark.parametrize("name", KINDS)


def make(name: str, start: Any = random_network, **options: Any) -> tuple[Network, jax.Array]:
    """A network without dropout, and a batch for it; `start` makes it of what builds it."""
    shape, own = KINDS[name]
    settings = {"num_classes": 4, **own, **options}
    model = start(lambda: network(name)(rngs=nnx.Rngs(0), **settings))
    model.set_attributes(deterministic=True, raise_if_not_found=False)
    return model, jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def labels_for(logits_shape: tuple[int, ...]) -> np.ndarray:
    """A class for each example, or for each quarter of each picture, half of each sequence."""
    batch, *size, classes = logits_shape
    labels = np.arange(batch * 2 ** len(size)).reshape(batch, *(2,) * len(size)) % classes
    for axis, length in enumerate(size, 1):
        labels = np.repeat(labels, -(-length // 2), axis).take(range(length), axis)
    return labels


def cross_entropy(logits: jax.Array, labels: np.ndarray) -> jax.Array:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)
    return losses.mean()


def train(model: Network, x: jax.Array, goal: float, steps: int = 1000) -> list[float]:
    """The losses of steps on one batch, until the goal."""
    graph, state = nnx.split((model, nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)))
    labels = labels_for(nnx.eval_shape(lambda model: model(x), model).shape)

    @jax.jit
    def step(state: Any) -> tuple[jax.Array, Any]:
        model, optimizer = nnx.merge(graph, state)
        loss, gradient = nnx.value_and_grad(lambda m: cross_entropy(m(x), labels))(model)
        optimizer.update(model, gradient)
        return loss, nnx.state((model, optimizer))

    losses = []
    for _ in range(steps):
        loss, state = step(state)
        losses.append(float(loss))
        if loss < goal:
            break
    nnx.update(model, nnx.state(nnx.merge(graph, state)[0]))
    return losses


@each_kind
def test_overfits_one_batch(name: str):
    model, x = make(name)
    losses = train(model, x, 0.05)
    assert losses[0] > 0.5
    assert losses[-1] < 0.05, losses[::10]


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "fcn16s", "unet", "tcn"])
def test_bfloat16_trains_from_the_initial_weights(name: str):
    model, x = make(name, start=lambda build: build(), dtype=jnp.bfloat16)
    losses = train(model, x, 0.1)
    assert losses[-1] < 0.1, losses[::10]
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))} == {
        np.dtype(np.float32)
    }
    model.eval()
    assert nnx.eval_shape(lambda model: model(x), model).dtype == jnp.bfloat16


@each_kind
def test_convolutions_compute_in_bfloat16(name: str):
    shape, own = KINDS[name]
    model = nnx.eval_shape(lambda: network(name)(dtype=jnp.bfloat16, **own, rngs=nnx.Rngs(0)))
    model.eval()
    features = nnx.eval_shape(lambda model: model.features(jnp.ones(shape)), model)
    assert {value.dtype for value in features.values()} == {jnp.dtype(jnp.bfloat16)}


def loss_and_statistics(model: Network, x: jax.Array) -> tuple[Any, Any]:
    """The loss as a function of the parameters, and the parameters."""
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)

    def loss(parameters: Any) -> tuple[jax.Array, Any]:
        model = nnx.merge(graph, parameters, rest, copy=True)
        return jnp.square(model(x)).mean(), nnx.state(model, nnx.BatchStat)

    return loss, parameters


def saved_bytes(loss: Any, parameters: Any) -> int:
    """What the forward pass keeps for the backward pass, besides the parameters."""
    saved = jax.eval_shape(lambda p: jax.vjp(loss, p, has_aux=True)[1], parameters)
    sizes = [
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
        for tree in (saved, parameters)
    ]
    return sizes[0] - sizes[1]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "r3d_18", "unet", "tcn", "vgg16"])
def test_checkpoint_halves_what_is_saved(name: str):
    shape, _ = KINDS[name]
    saved = {}
    for checkpoint in (False, True):
        model, _ = make(name, checkpoint=checkpoint)
        x = jnp.ones((16, *shape[1:]))
        saved[checkpoint] = saved_bytes(*loss_and_statistics(model, x))
    assert saved[True] <= saved[False] / 2


@pytest.mark.skipif(jax.__version_info__ < (0, 11), reason="XLA for CPUs merged the second pass")
def test_checkpoint_halves_the_memory_of_the_compiled_gradient():
    bytes_ = []
    for checkpoint in (False, True):
        model, x = make("resnet50", checkpoint=checkpoint)
        loss, parameters = loss_and_statistics(model, jnp.tile(x, (8, 1, 1, 1)))
        compiled = jax.jit(jax.grad(loss, has_aux=True)).lower(parameters).compile()
        bytes_.append(compiled.memory_analysis().temp_size_in_bytes)
    assert bytes_[1] <= bytes_[0] / 2


@pytest.mark.parametrize("name", ["resnet18", "r3d_18", "unet", "tcn"])
def test_checkpoint_leaves_gradients_and_statistics_as_they_are(name: str):
    results = []
    for checkpoint in (False, True):
        model, x = make(name, checkpoint=checkpoint)
        loss, parameters = loss_and_statistics(model, x)
        results.append(jax.jit(jax.grad(loss, has_aux=True))(parameters))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * abs(a).max()), *results
    )


def test_features_are_named_in_order_and_end_with_the_logits():
    model, x = make("resnet18")
    model.eval()
    features = model.features(x)
    assert list(features) == [
        "conv1", "maxpool", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1",
        "layer4.0", "layer4.1", "avgpool", "logits",
    ]  # fmt: skip
    np.testing.assert_array_equal(features["logits"], model(x))
    assert features["layer2.1"].shape == (4, 4, 4, 32)
    assert list(model.features(x, "layer2.1", "conv1")) == ["conv1", "layer2.1"]


def test_features_behind_the_last_name_are_not_computed():
    model, x = make("resnet18")
    model.layer3 = None
    assert model.features(x, "layer2.1")["layer2.1"].shape == (4, 4, 4, 32)


@each_kind
def test_every_network_names_its_features(name: str):
    shape, own = KINDS[name]
    model = nnx.eval_shape(lambda: network(name)(**own, rngs=nnx.Rngs(0)))
    model.eval()
    names: list[str] = []
    nnx.eval_shape(lambda model: names.extend(model.features(jnp.ones(shape))), model)
    assert len(names) == len(set(names)) > 3
    assert names[-1] == "logits"
    with pytest.raises(ValueError, match=r"`names` must be among \[.*'logits'\], got 'layer9'"):
        nnx.eval_shape(lambda model: model.features(jnp.ones(shape), "layer9"), model)


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("name", ["resnet20", "alexnet", "fcn_resnet50", "unet", "tcn", "r3d_18"])
def test_any_number_of_batch_axes(name: str, batch: tuple[int, ...]):
    shape, own = KINDS[name]
    model = nnx.eval_shape(lambda: network(name)(**own, rngs=nnx.Rngs(0)))
    model.eval()
    logits = nnx.eval_shape(lambda model: model(jnp.ones((*batch, *shape[1:]))), model)
    assert logits.shape[: len(batch)] == batch
    classes = model.config.num_classes
    dense = name in ("fcn_resnet50", "unet", "tcn")
    assert logits.shape[len(batch) :] == ((*shape[1:-1], classes) if dense else (classes,))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_residual_networks_of_any_dimension(n: int, block: str):
    config = ResNetConfig(depths=(1, 1), n=n, block=block, width=4, in_channels=2, num_classes=3)
    model = ResNet(config, rngs=nnx.Rngs(0))
    assert model.conv1.conv.kernel.shape == (*(7,) * n, 2, 4)
    model.eval()
    assert model(jnp.ones((2, *(17, 12, 16)[:n], 2))).shape == (2, 3)


def test_one_dimension_is_two_with_a_thin_picture():
    """A picture of one row, with kernels that are zero off their middle row."""
    options: dict[str, Any] = {"width": 4, "num_classes": 3, "stem": "small"}
    line, plane = (
        random_network(lambda n=n: resnet18(n=n, **options, rngs=nnx.Rngs(0))) for n in (1, 2)
    )
    line.eval(), plane.eval()
    thin = dict(nnx.iter_graph(line))
    for path, variable in nnx.iter_graph(plane):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            value = thin[path][...]
            if path[-1] == "kernel" and variable.ndim == 4:
                middle = variable.shape[0] // 2
                value = jnp.zeros(variable.shape).at[middle].set(value)
            variable.set_value(value)
    x = jax.random.normal(jax.random.key(0), (2, 24, 3))
    np.testing.assert_allclose(line(x), plane(x[:, None]), rtol=1e-4, atol=1e-5)


def test_dilation_in_place_of_stride_keeps_the_map():
    shapes = []
    for dilate in ((), (False, True, True)):
        model = nnx.eval_shape(
            lambda dilate=dilate: resnet50(
                width=4, replace_stride_with_dilation=dilate, rngs=nnx.Rngs(0)
            )
        )
        model.eval()
        x = jnp.ones((1, 64, 64, 3))
        features = nnx.eval_shape(lambda model, x=x: model.features(x, "layer4.2"), model)
        shapes.append(features["layer4.2"].shape)
    assert shapes == [(1, 2, 2, 128), (1, 8, 8, 128)]
    dilations = [block.conv2.conv.dilation[0] for block in (*model.layer3, *model.layer4)]
    assert dilations == [1, 2, 2, 2, 2, 2, 2, 4, 4]


def test_zero_init_residual_starts_each_block_as_its_shortcut():
    model = resnet50(width=4, zero_init_residual=True, rngs=nnx.Rngs(0))
    model.eval()
    x = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
    features = model.features(x, "layer1.0", "layer1.2")
    np.testing.assert_array_equal(features["layer1.0"], features["layer1.2"])


def test_plain_networks_have_no_shortcuts():
    options = {"num_classes": 4, "rngs": nnx.Rngs(0)}
    plain, residual = plain20(**options), resnet20(**options)
    counts = [sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
              for model in (plain, residual)]  # fmt: skip
    assert counts[0] == counts[1]  # shortcuts by padding have no parameters
    for model in (plain, residual):
        model.eval()
        for block in model.layer2:
            block.conv2.norm.scale[...] = jnp.zeros_like(block.conv2.norm.scale)
    x = jax.random.normal(jax.random.key(0), (1, 16, 16, 3))
    assert not plain.features(x)["layer2.2"].any()
    assert residual.features(x)["layer2.2"].any()


def test_shortcut_by_padding():
    block = resnet20(rngs=nnx.Rngs(0)).layer2[0]
    block.eval()
    block.conv2.norm.scale[...] = jnp.zeros_like(block.conv2.norm.scale)
    x = jax.random.uniform(jax.random.key(0), (1, 8, 8, 16))
    y = block(x)
    np.testing.assert_array_equal(y[..., :16], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 16:], jnp.zeros((1, 4, 4, 16)))


def test_layers_of_the_small_residual_networks():
    """6 n + 2 layers, and the parameters of the paper's table 6."""
    for name, layers, millions in (("resnet20", 20, 0.27), ("resnet56", 56, 0.85),
                                   ("resnet110", 110, 1.7)):  # fmt: skip
        model = nnx.eval_shape(lambda: network(name)(rngs=nnx.Rngs(0)))  # noqa: B023
        kernels = [v for path, v in nnx.iter_graph(model) if path and path[-1] == "kernel"]
        assert len(kernels) == layers
        count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
        assert count == pytest.approx(millions * 1e6, rel=0.03)


def test_stochastic_depth_drops_whole_blocks_of_examples():
    model = resnet18(width=4, stochastic_depth=0.9, rngs=nnx.Rngs(0))
    rates = [model.layer1[0].drop.rate, model.layer4[1].drop.rate]
    assert rates == pytest.approx([0.9 / 8, 0.9])
    block = model.layer4[1]
    x = jax.random.uniform(jax.random.key(0), (64, 4, 4, 32))
    y = block(x)
    dropped = np.array([bool((a == b).all()) for a, b in zip(x, y, strict=True)])
    assert 0.7 < dropped.mean() < 1
    block.eval()
    assert not (block(x) == x).all(axis=(1, 2, 3)).any()


def test_batch_norm_is_global_over_a_sharded_batch():
    devices = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.NamedSharding(devices, jax.P("batch"))
    x = jax.random.normal(jax.random.key(0), (16, 16, 16, 3))
    results = []
    for batch in (x, jax.device_put(x, sharding)):
        model = resnet20(num_classes=4, rngs=nnx.Rngs(0))
        graph, state = nnx.split(model)

        @quick_jit
        def forward(state: Any, x: jax.Array) -> Any:
            model = nnx.merge(graph, state)  # noqa: B023
            return model(x), nnx.state(model, nnx.BatchStat)

        results.append(forward(state, batch))
    assert results[1][0].sharding.is_equivalent_to(sharding, 2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *results)


def test_lists_are_as_good_as_tuples():
    settings = [
        ResNetConfig(depths=kind((1, 1)), strides=kind((1, kind((2, 1))))) for kind in (list, tuple)
    ]
    assert settings[0] == settings[1]
    assert hash(settings[0]) == hash(settings[1])


def test_groups_of_norms():
    model = unet(width=8, depth=1, norm="group", rngs=nnx.Rngs(0))
    assert not any(isinstance(module, BatchNorm) for _, module in nnx.iter_modules(model))
    assert model(jnp.ones((2, 9, 9, 1))).shape == (2, 9, 9, 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_builders_explain_themselves(name: str):
    build = network(name)
    assert build.__name__ == name
    assert "num_classes" in (build.__doc__ or "")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: network("resnet51"), ValueError, "got 'resnet51'; did you mean .*resnet50"),
        (lambda: resnet18(rngs=nnx.Rngs(0), classes=3), TypeError, "keyword argument 'classes'"),
        (lambda: resnet18(rngs=nnx.Rngs(0), num_classes=-1), ValueError,
         "`num_classes` must be at least 0, got -1"),
        (lambda: resnet18(rngs=nnx.Rngs(0), in_channels=0), ValueError, "`in_channels` must be at"),
        (lambda: resnet18(rngs=nnx.Rngs(0), n=0), ValueError, "`n` must be at least 1, got 0"),
        (lambda: resnet18(rngs=nnx.Rngs(0), stem="tiny"), ValueError, "`stem` must be one of"),
        (lambda: resnet18(rngs=nnx.Rngs(0), block="wide"), ValueError, "`block` must be one of"),
        (lambda: resnet18(rngs=nnx.Rngs(0), shortcut="add"), ValueError, "`shortcut` must be one"),
        (lambda: resnet18(rngs=nnx.Rngs(0), norm="layer"), ValueError, "`norm` must be one of"),
        (lambda: resnet18(rngs=nnx.Rngs(0), windows=(3, 3)), ValueError, "`windows` must fit"),
        (lambda: resnet18(rngs=nnx.Rngs(0), strides=(1,)), ValueError, "`strides` must fit the 4"),
        (lambda: resnet18(rngs=nnx.Rngs(0), replace_stride_with_dilation=(True,)), ValueError,
         "`replace_stride_with_dilation` must fit the 4 stages"),
        (lambda: resnet18(rngs=nnx.Rngs(0), stochastic_depth=1.5), ValueError,
         "`stochastic_depth` must be at least 0 and at most 1, got 1.5"),
        (lambda: alexnet(rngs=nnx.Rngs(0), dropout=-1), ValueError, "`dropout` must be at least 0"),
        (lambda: resnet18(rngs=nnx.Rngs(0), groups=2), ValueError,
         '`groups` needs block "bottleneck", got 2 without'),
        (lambda: plain20(rngs=nnx.Rngs(0), zero_init_residual=True), ValueError,
         "`zero_init_residual` needs a shortcut, got True without"),
        (lambda: plain20(rngs=nnx.Rngs(0), stochastic_depth=0.5), ValueError,
         "`stochastic_depth` needs a shortcut, got 0.5 without"),
        (lambda: resnet18(rngs=nnx.Rngs(0), stem="clip"), ValueError, "`stem` needs n = 3"),
        (lambda: resnet18(rngs=nnx.Rngs(0), windows=(2,)), ValueError, "`windows` must be odd"),
        (lambda: resnet20(rngs=nnx.Rngs(0)).features(jnp.ones((8, 8, 3)), ["conv1"]), TypeError,
         "`names` must be strings, one argument for each"),
        (lambda: fcn8s(rngs=nnx.Rngs(0), stride=4), ValueError,
         r"`stride` must be one of \(32, 16, 8\), got 4"),
        (lambda: fcn8s(rngs=nnx.Rngs(0), num_classes=0), ValueError, "`num_classes` must be at"),
        (lambda: unet(rngs=nnx.Rngs(0), padding="FULL"), ValueError, "`padding` must be one of"),
        (lambda: resnet20(rngs=nnx.Rngs(0))(jnp.ones((2, 8, 8, 1))), ValueError,
         "`x` must have the layer's 3 `in_channels`, got 1"),
        (lambda: resnet20(rngs=nnx.Rngs(0))([1.0]), TypeError, "`x` must be an array, got list"),
    ],
)  # fmt: skip
def test_bad_settings(call: Any, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        call()
