"""The complete verifier against exact answers by enumeration, and against points of the region."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact_programs import Program
from verifier_problems import apply, problem

from dsrna_jax import bounds
from dsrna_jax.bounds.verifier import neuron_splits
from dsrna_jax.bounds.verifier.bounding import bounded
from dsrna_jax.bounds.verifier.compiled import Traceable
from dsrna_jax.bounds.verifier.verdict import AT_A_POINT
from dsrna_jax.errors import InputError


@pytest.mark.parametrize(
    ("split", "seeds"),
    [
        ("inputs", range(6)),
        ("hinges", range(6)),
        pytest.param("inputs", range(6, 253), marks=pytest.mark.slow),
        pytest.param("hinges", range(253, 500), marks=pytest.mark.slow),
    ],
)
def test_the_answer_is_the_exact_one(split, seeds):
    for seed in seeds:
        f, box, specification, least = problem(seed)
        found = bounds.verify(f, box, specification, split=split, batch=16, method="crown", timeout=600)
        assert found.status == ("verified" if least > 0 else "counterexample"), (seed, least, found)
        if least <= 0:
            x = found.counterexample
            assert np.all(box.lower[0] <= x) and np.all(x <= box.upper[0])
            with jax.enable_x64(True):
                y = np.asarray(f(jnp.asarray(x, jnp.float64)[None])[0])
            assert np.asarray(specification.rows[0]) @ y + float(specification.offsets[0]) <= 0


@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 80), marks=pytest.mark.slow)])
def test_integer_programs_find_the_least_values_of_the_enumeration(seeds):
    """The truth that answers are compared with, found in another way."""
    for seed in seeds:
        f, box, specification, least = problem(seed)
        program = Program(*(np.asarray(side, float) for side in (box.lower, box.upper)))
        values = program.inputs
        for i, (w, b) in enumerate(f.args[0]):
            values = program.affine(w.astype(float), b.astype(float), program.relu(values) if i else values)
        row = program.affine(np.asarray(specification.rows, float), np.asarray(specification.offsets, float), values)[0]
        assert abs(program.least(row) - least) < 1e-5, seed


def test_inputs_without_a_coefficient_are_split_as_well():
    """Network 234: the lower planes of a box had one input alone, and halving that helped no more."""
    f, box, specification, least = problem(234)
    assert least > 0 and bounds.verify(f, box, specification, split="inputs", batch=16).status == "verified"


def test_a_closure_whose_weights_have_changed_is_another_function():
    box, specification = bounds.Box(-np.ones((1, 2)), np.ones((1, 2))), bounds.Specification(np.ones((1, 1)), np.array([2.5]))
    weights = np.ones(2, np.float32)

    def f(x):
        return (jax.nn.relu(x) * weights[None]).sum(1, keepdims=True)

    assert bounds.verify(f, box, specification, batch=16).status == "verified"
    weights = np.array([-4, 1], np.float32)
    assert bounds.verify(f, box, specification, batch=16).status == "counterexample"
    same, other = (
        Traceable.of(lambda x, w=w: (jax.nn.relu(x) * w[None]).sum(1), box.lower).static for w in (weights, 2 * weights)
    )
    assert Traceable.of(lambda x: (jax.nn.relu(x) * weights[None]).sum(1), box.lower).static == same != other


def test_inputs_that_float32_would_round_out_of_the_box_are_moved_into_it():
    """f takes float32 alone, so that a counterexample is one of the inputs that it was evaluated at."""
    kernel = np.ones((1, 1, 1, 1), np.float32)
    f = lambda x: jax.lax.conv(x, kernel, (1, 1), "VALID").reshape(len(x), 1)  # noqa: E731
    low, high = np.full((1, 1, 1, 1), 0.1), np.full((1, 1, 1, 1), 0.1 + 1e-8)
    found = bounds.verify(f, bounds.Box(low, high), bounds.Specification(np.ones((1, 1)), np.array([-0.5])))
    x = np.asarray(found.counterexample)
    assert found.status == "counterexample" and low[0] <= x <= high[0] and x == np.float32(x)


def test_whole_numbers_rows_of_the_example_and_a_point_are_taken():
    f, box = problem(0)[0], bounds.Box(np.zeros((1, 3), int), np.zeros((1, 3), int))
    above = bounds.Specification(np.eye(2)[None], np.full(2, 10.0))
    assert bounds.verify(f, box, above).status == "verified"
    with pytest.raises(InputError, match=r"outputs \(1, 2\) has rows \(1, 2\) or"):
        bounds.verify(f, box, bounds.Specification(np.ones((1, 3)), np.zeros(1)))
    with pytest.raises(InputError, match="at least one row and one clause"):
        bounds.verify(f, box, bounds.Specification(np.ones((1, 2)), np.zeros(1), ()))


def test_outputs_that_are_nan_somewhere_are_neither_verified_nor_hide_counterexamples():
    """nan at x > 0.9, where no bound holds; below 0 at x = -1."""
    f = lambda x: jnp.sqrt(0.9 - x) - jnp.where(x < -0.99, 5.0, 0.0)  # noqa: E731
    row, box = bounds.Specification(np.ones((1, 1)), np.array([3.0])), bounds.Box(-np.ones((1, 1)), np.ones((1, 1)))
    assert bounds.verify(f, box, row).status == "counterexample"
    assert bounds.verify(lambda x: jnp.sqrt(0.9 - x), box, row, timeout=0.1).status == "unknown"


def test_one_program_serves_all_weights_of_one_shape_and_any_number_of_steps():
    solve = functools.partial(bounds.verify, split="hinges", batch=16, method="crown", timeout=600)
    solve(*problem(1)[:3])
    compiled = bounded._cache_size  # pyright: ignore[reportAttributeAccessIssue]
    before = compiled()
    for seed, iterations in ((5, 10), (8, 20)):  # all three are verified by sub-problems, where attacks find nothing
        assert solve(*problem(seed)[:3], iterations=iterations).branches > 1
    assert compiled() == before


@pytest.mark.parametrize(("offset", "asked"), [(2.0, []), (0.1, [[1]])])
def test_only_clauses_that_bounds_of_the_box_leave_open_are_branched_on(monkeypatch, offset, asked):
    """y = (x + 3, relu(x) - relu(2 x) / 2), of which the second is 0, and its bound by CROWN at most -0.25."""
    clauses, program = [], neuron_splits.bounded

    def bounded(arrays, static, specification, box, ends, problems, **steps):
        clauses.append(np.unique(problems.clause).tolist())
        return program(arrays, static, specification, box, ends, problems, **steps)

    monkeypatch.setattr(neuron_splits, "bounded", bounded)
    f = lambda x: jnp.concatenate([x + 3, jax.nn.relu(x) - jax.nn.relu(2 * x) / 2], 1)  # noqa: E731
    box, specification = bounds.Box(-np.ones((1, 1)), np.ones((1, 1))), bounds.Specification(np.eye(2), np.array([0, offset]))
    found = bounds.verify(f, box, specification, split="hinges", method="crown", batch=4, timeout=600)
    assert (found.status, clauses[:1], found.branches > 1) == ("verified", asked, bool(asked))


def test_alternatives_are_verified_where_none_holds_everywhere():
    """y0 > 0 or y1 > 0 for y = (x, 0.1 - x): each fails somewhere, and one always holds."""
    f = lambda x: jnp.concatenate([x[:, :1], 0.1 - x[:, :1]], 1) + jax.nn.relu(x).sum(1, keepdims=True)  # noqa: E731
    box = bounds.Box(-np.ones((1, 2), np.float32), np.ones((1, 2), np.float32))
    either = bounds.Specification(np.eye(2), np.zeros(2), clauses=((0, 1),))
    for split in ("inputs", "hinges"):
        assert bounds.verify(f, box, either, split=split, method="crown", batch=16).status == "verified"
        both = bounds.Specification(np.eye(2), np.zeros(2))
        assert bounds.verify(f, box, both, split=split, method="crown", batch=16).status == "counterexample"


def test_smooth_functions_are_decided_by_splits_of_inputs():
    f = lambda x: jnp.sin(3 * x).sum(1, keepdims=True) * jnp.tanh(x)  # noqa: E731
    box = bounds.Box(np.full((1, 2), -1.0, np.float32), np.full((1, 2), 1.0, np.float32))
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 400)] * 2), -1).reshape(-1, 2)
    least = (np.sin(3 * grid).sum(1) * np.tanh(grid[:, 0])).min()
    above, below = (bounds.Specification(np.eye(2)[:1], np.array([-least + d])) for d in (0.02, -0.02))
    assert bounds.verify(f, box, above).status == "verified"
    assert bounds.verify(f, box, below).status == "counterexample"
    waves = lambda x: jnp.sin(3 * x)  # noqa: E731
    found = bounds.verify(waves, box, bounds.Specification(np.eye(2)[:1], np.array([1.1])), split="hinges")
    assert (found.status, found.reason) == ("unknown", "f has no hinges, nor 1 to 6 smooth functions, to split")


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.silu, jnp.square], ids=lambda activation: activation.__name__)
@pytest.mark.parametrize("seed", range(2))
def test_smooth_functions_are_decided_by_splits_of_their_operands(activation, seed):
    """The least value is that of a grid of 10^6 inputs, which leaves at most 0.005 out."""
    f, box = jax.tree_util.Partial(functools.partial(apply, activation=activation), problem(seed)[0].args[0]), problem(seed)[1]
    ends = zip(np.asarray(box.lower[0]), np.asarray(box.upper[0]), strict=True)
    grid = np.stack(np.meshgrid(*[np.linspace(*pair, 100) for pair in ends]), -1).reshape(-1, 3).astype(np.float32)
    row = np.array([1.0, -0.5], np.float32)
    least = (f(grid) @ row).min()
    solve = functools.partial(bounds.verify, f, box, split="hinges", method="crown", batch=64, timeout=600)
    bound = float(bounds.specification_margins(f, box.middle, bounds.Specification(row[None], np.zeros(1)), box=box)[0, 0])
    assert bound < least - 0.05
    found = solve(bounds.Specification(row[None], np.array([0.01 - least])))
    assert found.status == "verified" and found.branches > 2
    assert solve(bounds.Specification(row[None], np.array([-0.01 - least]))).status == "counterexample"


@pytest.mark.parametrize("is_tree", [True, False])
def test_counterexamples_of_convolutions_in_float32_are_confirmed(is_tree):
    kernel = np.ones((3, 3, 1, 1), np.float32)
    convolve = functools.partial(jax.lax.conv, window_strides=(1, 1), padding="SAME")
    tree = jax.tree_util.Partial(lambda k, x: convolve(x, k.transpose(3, 2, 0, 1)).reshape(len(x), -1), kernel)
    f = tree if is_tree else lambda x: tree(x)
    box = bounds.Box(np.zeros((1, 1, 4, 4), np.float32), np.ones((1, 1, 4, 4), np.float32))
    below = bounds.Specification(-np.ones((1, 16)), np.array([50.0]))
    found = bounds.verify(f, box, below)
    assert found.status == "counterexample" and np.asarray(found.counterexample).shape == (1, 4, 4)


def test_what_is_not_decided_in_time_is_unknown():
    f, box, specification, least = problem(next(seed for seed in range(12) if problem(seed)[3] > 0))
    assert least > 0
    found = bounds.verify(f, box, specification, timeout=1e-9)
    assert (found.status, found.reason) == ("unknown", "the time was over")


ONE = bounds.Specification(np.ones((1, 2)), np.zeros(1))


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize(
    ("f", "specification", "said"),
    [
        (lambda x: {"logits": x}, ONE, r"f\(x\) must be one array .* got {'logits': "),
        (lambda x: x.sum(), ONE, r"f\(x\) must be one array"),
        (lambda x: x[:, :2], None, "must be a bounds.Specification, got NoneType"),
        (lambda x: x[:, :2] * np.nan, ONE, "finite at no point of the region"),
    ],
)
def test_functions_and_properties_that_are_none_are_refused_in_one_line(f, specification, said):
    with pytest.raises(InputError, match=said):
        bounds.verify(f, bounds.Box(np.zeros((1, 3)), np.ones((1, 3))), specification)


@pytest.mark.parametrize("split", ["inputs", "hinges"])
def test_a_property_that_rounding_hides_at_a_point_is_decided_in_float64_alone(split):
    """f rises to within 1e-6 of 100: float32, whose numbers are 8e-6 apart there, can tell neither answer."""

    def f(x):
        return 100 + jax.nn.relu(x).sum(1, keepdims=True)

    specification = bounds.Specification(-np.ones((1, 1)), np.array([102 + 1e-6]))
    verdict = bounds.verify(f, bounds.Box(np.zeros((1, 2)), np.ones((1, 2))), specification, split=split)
    assert (verdict.status, verdict.reason) == ("unknown", AT_A_POINT)
    with jax.enable_x64(True):
        assert bounds.verify(f, bounds.Box(np.zeros((1, 2)), np.ones((1, 2))), specification, split=split).status == "verified"


@pytest.mark.parametrize(
    ("lower", "upper", "options", "said"),
    [
        (np.zeros((1, 3)), np.ones((1, 3)), {"timeout": 0}, "timeout must be more than 0"),
        (np.zeros((1, 3)), np.ones((1, 3)), {"timeout": "1"}, "timeout must be a number"),
        (np.zeros((1, 3)), np.ones((1, 3)), {"batch": 0}, "batch=0: expected at least 1, a whole number"),
        (np.zeros((1, 3)), np.ones((1, 3)), {"batch": 10**15}, "its boxes alone would take"),
        (np.zeros((1, 3)), np.ones((1, 3)), {"key": 3}, r"expected a random key.* jax.random.key\(3\)"),
        (np.zeros((1, 3)) * 1j, np.ones((1, 3)), {}, "must be real numbers, got complex128 and float64"),
        (np.zeros((0, 3)), np.ones((0, 3)), {}, r"must be a box, \[1, ...\], or several, got \(0, 3\)"),
        (np.ones((1, 3)), np.zeros((1, 3)), {}, r"lower end lies above its upper end at \(0, 0\)"),
        (np.zeros((1, 3)), np.full((1, 3), np.inf), {}, "must be finite"),
        ([np.zeros((1, 3))] * 2, [np.ones((1, 3))] * 2, {}, "a box of one array, got a list"),
        ([[0, 0, 0]], [[1, 1, 1]], {}, "give numbers as numpy.array"),
        (np.zeros((1, 4)), np.ones((1, 4)), {}, r"f\(x\) cannot be traced for x \[1, 4\]: "),
        (np.zeros((1, 3)), np.ones((1, 3)), {"split": "relu"}, "unknown split 'relu'"),
        (np.zeros((1, 3)), np.ones((1, 3)), {"method": "exact"}, "unknown method 'exact'"),
    ],
)
@pytest.mark.usefixtures("unchecked_signatures")
def test_bad_regions_and_options_are_refused_in_one_line(lower, upper, options, said):
    with pytest.raises(InputError, match=said):
        bounds.verify(problem(0)[0], bounds.Box(lower, upper), ONE, **options)
