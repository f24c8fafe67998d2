"""Maps in bfloat16: what stays float32; numbers are those of float32 but for rounding; bounds are those of float32."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_run import TINY
from quick import quick
from smoke_run import FEW

from dsrna_jax import bounds
from dsrna_jax.data import load
from dsrna_jax.kernels import fused_depthwise, mixed_precision
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.function import NetworkFunction
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.setup import searched_network
from dsrna_jax.search.state import SearchBatch
from dsrna_jax.search.step import search_functions
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.setup import trained_network
from dsrna_jax.training.step import training_functions

SHAPE, EPSILON = (8, 8, 1), 2.0**-8
STATISTICS = {"mean": (0.3,), "std": (0.4,)}
TAPS = square_taps(3)
GRID = {"taps": TAPS, "stride": 1, "size": (6, 5), "support": ((tuple(range(9)),) * 2,) * 2}
SEARCH = SearchConfig(
    space="pcdarts", cells=3, channels=8, nodes=1, batch_size=4, jacobian_method="exact", order="unrolled", operations=FEW
)
TRAINING = TrainingConfig(cells=3, channels=8, batch_size=64, epochs=4, lr=0.1, drop_path=0.1)


def functions_of(config):
    """The functions of a search or of a training of that configuration, on digits."""
    if isinstance(config, SearchConfig):
        return search_functions(config, searched_network(config, SHAPE, 10, **STATISTICS), SHAPE, 3)
    return training_functions(config, trained_network(config, TINY, 10, **STATISTICS), SHAPE, 22)


def types(tree):
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)}


# ---- kernels


def normal(seed, *shape):
    return np.asarray(jax.random.normal(jax.random.key(seed), shape))


IMAGE = normal(0, 2, 3, 4, 6, 5).astype(jnp.bfloat16)
CONVOLUTIONS = {  # products of matrices round their kernel to 16 bits: this one has no more
    "pointwise": (pointwise, normal(1, 2, 5, 3).astype(jnp.bfloat16).astype(np.float32)),
    "depthwise": (functools.partial(depthwise, taps=TAPS), normal(1, 9, 2, 2, 3)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_of_16_bits_differs_from_that_of_32_by_its_last_rounding(name):
    f, kernel = CONVOLUTIONS[name]

    def results(image):
        output, pull = jax.vjp(f, image, kernel)
        by_image, by_kernel = pull(jnp.cos(output).astype(jnp.bfloat16).astype(output.dtype))
        return output, by_image, by_kernel

    narrow, exact = (jax.jit(results)(image) for image in (IMAGE, IMAGE.astype(np.float32)))
    assert [array.dtype.name for array in narrow] == ["bfloat16", "bfloat16", "float32"]
    for mine, reference in zip(narrow[:1], exact[:1], strict=True):
        np.testing.assert_allclose(np.float32(mine), reference, rtol=EPSILON, atol=2 * EPSILON)


def test_the_form_for_accelerators_has_the_types_of_that_for_cpus_and_sums_in_float32():
    # Programs that may be more precise than they say would sum in float32 what is to be summed in bfloat16.
    output, image, by_kernel = (
        jax.jit(functools.partial(f, **GRID), compiler_options={"xla_allow_excess_precision": False})
        for f in (fused_depthwise.output, fused_depthwise.image, fused_depthwise.kernel)
    )
    kernel, wide = CONVOLUTIONS["depthwise"][1], IMAGE.astype(np.float32)
    narrow = output(IMAGE, kernel)
    assert narrow.dtype == jax.eval_shape(image, narrow, kernel).dtype == jnp.bfloat16
    np.testing.assert_array_equal(narrow, np.asarray(output(wide, kernel)).astype(jnp.bfloat16))
    np.testing.assert_array_equal(by_kernel(IMAGE, narrow), by_kernel(wide, np.float32(narrow)))


# ---- networks


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr")):
            if hasattr(value, "eqns") or hasattr(value, "jaxpr"):
                yield from equations(getattr(value, "jaxpr", value))


def map_types(program):
    """Types of the maps, not of the kernels, in convolutions and pools."""
    found = set()
    for equation in equations(program):
        name, parameters = equation.primitive.name, equation.params
        if name in ("pointwise", "depthwise"):
            maps = equation.invars if parameters["solve"] == "kernel" else [equation.invars[0], *equation.outvars]
        else:
            maps = equation.outvars if name in ("max_pool_routed", "reduce_window_max") else []
        found |= {variable.aval.dtype.name for variable in maps}
    return found


def stepped(config):
    """Abstract state, metrics and program of the steps of a configuration."""
    functions = functions_of(config)
    state = jax.eval_shape(functions.init, jax.random.key(0))
    labels = jax.ShapeDtypeStruct((config.batch_size,), jnp.int32)
    if isinstance(config, TrainingConfig):
        images = jax.ShapeDtypeStruct((config.batch_size, *SHAPE), jnp.uint8)
        calls = [(functions.train_step, (state, images, labels, jax.random.key(0)))]
    else:
        batch = SearchBatch(jax.ShapeDtypeStruct((config.batch_size, *SHAPE), jnp.float32), labels)
        calls = [(functions.weight_step, (state, batch)), (functions.alpha_step, (state, batch, batch, jax.random.key(0)))]
    made = [jax.make_jaxpr(f, return_shape=True)(*arguments) for f, arguments in calls]
    return [shapes for _, shapes in made], set().union(*(map_types(program.jaxpr) for program, _ in made))


@pytest.mark.parametrize(
    "config",
    [dataclasses.replace(SEARCH, order="first"), dataclasses.replace(TRAINING, adversarial="trades")],
    ids=lambda config: config.experiment,
)
def test_maps_are_bfloat16_and_weights_statistics_alphas_and_losses_float32(config):
    results, maps = stepped(dataclasses.replace(config, precision="bfloat16"))
    assert types(results) == {"float32"}
    assert maps == {"bfloat16"}
    assert stepped(config)[1] == {"float32"}


@pytest.mark.slow
def test_a_training_in_bfloat16_learns_digits_as_well_as_one_in_float32():
    """Three epochs against FGSM end within 5 % of the held-out images, more than twice the error of their number."""
    digits = load("digits", "train")
    order = np.random.default_rng(0).permutation(len(digits))
    train, held_out, key = order[:1024], order[1024:], jax.random.key(1)

    def accuracies(precision):
        settings = {"channels": 4, "adversarial": "fast", "radius": 0.05, "val_attack_steps": 2, "drop_path": 0.0}
        functions = functions_of(dataclasses.replace(TRAINING, precision=precision, auxiliary_weight=0.0, **settings))
        state, step = functions.init(jax.random.key(0)), quick(functions.train_step)
        for batch in np.tile(train.reshape(-1, 64), (3, 1)):
            state, _ = step(state, digits.images[batch], digits.labels[batch], key)
        _, right, robust = quick(functions.evaluate)(state, digits.images[held_out], digits.labels[held_out], key)
        return np.array([right.mean(), robust.mean()])

    exact, narrow = accuracies("float32"), accuracies("bfloat16")
    assert exact[0] > 0.8
    np.testing.assert_allclose(narrow, exact, atol=0.05)


# ---- bounds


def test_certificates_are_computed_in_float32_whatever_the_precision():
    """R of a supernet whose maps are bfloat16 is the program of one whose maps are float32."""

    def program(precision):
        config = dataclasses.replace(SEARCH, space="darts", channels=2, metric="certified", precision=precision)
        functions, labels = functions_of(config), np.zeros(2, np.int32)
        state = jax.eval_shape(functions.init, jax.random.key(0))

        def values(state, images):
            function = functions.network_function(state)
            measured = functions.measure.apply(function, images, labels, jax.random.key(0), log_radius=state.log_radius)
            return measured, functions.certify(state, SearchBatch(images, labels))

        return str(jax.make_jaxpr(values)(state, jax.ShapeDtypeStruct((2, *SHAPE), jnp.float32)))

    assert program("bfloat16") == program("float32")


def test_bounds_refuse_maps_of_16_bits():
    net = searched_network(dataclasses.replace(SEARCH, precision="bfloat16"), SHAPE, 10, **STATISTICS)
    images = np.full((2, *SHAPE), 0.5, np.float32)
    variables = jax.eval_shape(net.init, jax.random.key(0), images)
    function = NetworkFunction(net, jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), variables))
    with pytest.raises(NotImplementedError, match="no bounds of .* in bfloat16.* compute in float32"):
        jax.eval_shape(lambda x: bounds.bound(function, x, radius=0.1), images)


def test_operands_of_a_convolution_are_of_one_floating_type_unless_maps_have_16_bits():
    maps = jnp.ones(2, jnp.bfloat16)
    for image, kernel, expected in [
        (maps, np.ones(2, np.float32), ["bfloat16", "float32"]),
        (np.arange(2), np.arange(3), ["float32", "float32"]),
        (np.ones(2, np.float32), maps, ["float32", "float32"]),
    ]:
        assert [str(operand.dtype) for operand in mixed_precision.operands(image, kernel)] == expected
