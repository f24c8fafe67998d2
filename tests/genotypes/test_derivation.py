"""Genotypes derived from alphas: the rule written slowly, ties, masses of none, and what is refused."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_alphas import alphas_of

from dsrna_jax import genotypes as g
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.derivation import edge_mixture, mixture
from dsrna_jax.genotypes.operations import PRIMITIVES


def slowly_derived(logits, edge_logits, nodes):
    """DARTS section 2.4 and PC-DARTS section 3.3 word by word, one number at a time."""
    genes, row = [], 0
    for node in range(2, nodes + 2):
        group = range(row, row + node)
        edge_total = math.fsum(math.exp(edge_logits[edge]) for edge in group)
        candidates = []
        for edge in group:
            total = math.fsum(math.exp(logit) for logit in logits[edge])
            weights = [math.exp(logit) / total for logit in logits[edge]]
            strongest = max((op for op in range(8) if PRIMITIVES[op] != "none"), key=lambda op: weights[op])  # noqa: B023
            strength = weights[strongest] * math.exp(edge_logits[edge]) / edge_total
            candidates.append((strength, PRIMITIVES[strongest], edge - row))
        candidates.sort(key=lambda candidate: candidate[0], reverse=True)
        genes += [(name, source) for _, name, source in candidates[:2]]
        row += node
    return tuple(genes)


@settings(deadline=None)
@given(nodes=st.integers(1, 5), seed=st.integers(0, 2**32 - 1), edge_logits=st.booleans())
def test_derive_equals_the_rule_written_slowly(nodes, seed, edge_logits):
    alphas = alphas_of(nodes, seed, edge_logits)
    genotype = g.derive(alphas)
    for name in g.CELL_TYPES:
        edge_weights = alphas.get(f"{name}_edges", np.zeros(g.edge_count(nodes)))
        assert getattr(genotype, name) == slowly_derived(alphas[name].tolist(), edge_weights.tolist(), nodes)
    assert genotype.normal_concat == genotype.reduction_concat == tuple(range(2, nodes + 2))


def test_jax_arrays_give_the_same_genotype():
    alphas = alphas_of(4, seed=0, edge_logits=True)
    assert g.derive({name: jnp.asarray(value) for name, value in alphas.items()}) == g.derive(alphas)


@pytest.mark.parametrize("nodes", [3, 4])
def test_one_hot_alphas_give_their_genotype(nodes):
    wanted = g.derive(alphas_of(nodes, seed=5))
    alphas = {name: np.zeros((g.edge_count(nodes), 8)) for name in g.CELL_TYPES}
    for name in g.CELL_TYPES:
        alphas[name][:, 0] = 5.0
        for index, (primitive, source) in enumerate(getattr(wanted, name)):
            edge = g.edges(nodes).index((source, index // 2 + 2))
            # The second gene a little weaker, so that the order of the genes is told too.
            alphas[name][edge, PRIMITIVES.index(primitive)] = 20.0 - index % 2
    assert g.derive(alphas) == wanted


def test_ties_go_to_the_lower_index():
    even = {name: np.zeros((14, 8), np.float32) for name in g.CELL_TYPES}
    assert g.derive(even).normal == (("max_pool_3x3", 0), ("max_pool_3x3", 1)) * 4
    # Edges 1 to 4 into node 5 are equally strong by different operations, edge 0 is weaker.
    even["normal"][9:] = -1.0
    for edge, op in zip(range(10, 14), (7, 3, 5, 1), strict=True):
        even["normal"][edge, op] = 0.3
    assert g.derive(even).normal[6:] == (("dil_conv_5x5", 1), ("skip_connect", 2))


@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float32, np.float64]))
def test_edges_tie_whatever_the_order_of_their_operations(seed, dtype):
    random = np.random.default_rng(seed)
    row = random.standard_normal(8).astype(dtype)
    alphas = {name: np.stack([random.permutation(row[1:]) for _ in range(14)]) for name in g.CELL_TYPES}
    alphas = {name: np.concatenate([np.full((14, 1), row[0]), value], axis=1) for name, value in alphas.items()}
    assert [source for _, source in g.derive(alphas).normal] == [0, 1] * 4


def test_the_softmax_is_taken_with_none_in_it():
    alphas = {name: np.zeros((5, 8)) for name in g.CELL_TYPES}
    # Into node 3, edge 0 has the largest logit, but `none` takes most of its mixture.
    alphas["normal"][2, [0, 4]] = 9.0, 3.0
    alphas["normal"][3, 5] = 1.0
    alphas["normal"][4, 6] = 2.0
    assert g.derive(alphas).normal[2:] == (("dil_conv_3x3", 2), ("sep_conv_5x5", 1))
    without = {name: np.delete(value, 0, axis=1) for name, value in alphas.items()}
    assert g.derive(without, PRIMITIVES[1:]).normal[2:] == (("sep_conv_3x3", 0), ("dil_conv_3x3", 2))


def test_none_is_never_kept():
    alphas = {name: np.zeros((14, 8)) for name in g.CELL_TYPES}
    for value in alphas.values():
        value[:, 0], value[:, 5] = 2000.0, 1.0
    assert {name for name, _ in g.derive(alphas).normal} == {"sep_conv_5x5"}


def test_mixture_is_a_softmax_that_does_not_overflow():
    np.testing.assert_allclose(mixture(np.log([[1.0, 3.0], [2.0, 2.0]])), [[0.25, 0.75], [0.5, 0.5]])
    np.testing.assert_array_equal(mixture(np.array([2000.0, 0.0, -np.inf], np.float32)), [1, 0, 0])


def test_edge_weights_decide_between_equal_edges():
    alphas = {name: np.zeros((14, 8)) for name in g.CELL_TYPES}
    alphas |= {f"{name}_edges": np.arange(14.0) for name in g.CELL_TYPES}
    assert [source for _, source in g.derive(alphas).normal] == [1, 0, 2, 1, 3, 2, 4, 3]
    weights = edge_mixture(np.arange(14.0))
    np.testing.assert_allclose([weights[group].sum() for group in (np.s_[:2], np.s_[2:5], np.s_[5:9], np.s_[9:])], 1)


def test_alphas_of_another_shape_or_not_finite_are_refused():
    alphas = alphas_of(4, seed=0, edge_logits=True)
    for bad in (np.nan, np.inf):
        for name in ("reduction", "normal_edges"):
            broken = {**alphas, name: alphas[name].copy()}
            broken[name][3] = bad
            with pytest.raises(FloatingPointError, match="not finite"):
                g.derive(broken)


@pytest.mark.parametrize(
    ("change", "primitives", "kept", "message"),
    [
        ({"normal": np.zeros((13, 8))}, PRIMITIVES, None, "got 13"),
        ({}, PRIMITIVES[1:], None, "7 primitives"),
        ({"normal_edges": np.zeros(3)}, PRIMITIVES, None, "normal_edges"),
        ({"reduction": None}, PRIMITIVES, None, "expected alphas of the cells normal and reduction; got normal"),
        ({}, PRIMITIVES, {"reduction": np.ones((14, 8))}, "expected kept of the cells normal and reduction; got reduction"),
        ({}, PRIMITIVES, {"normal": np.ones((14, 7)), "reduction": np.ones((14, 8))}, r"shape \(14, 8\); got \(14, 7\)"),
    ],
)
def test_alphas_and_kept_operations_that_do_not_fit_are_refused_in_one_line(change, primitives, kept, message):
    alphas = {name: value for name, value in {**alphas_of(4, seed=0), **change}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        g.derive(alphas, primitives, kept)


def test_an_operation_is_ruled_out_by_minus_infinity():
    alphas = alphas_of(4, seed=1)
    for value in alphas.values():
        value[:, [0, 4, 5]] = -np.inf
    assert not {"none", "sep_conv_3x3", "sep_conv_5x5"} & {name for name, _ in g.derive(alphas).normal}


@pytest.mark.parametrize("by", ["kept", "alphas"])
@pytest.mark.parametrize("left", [[0], []])
def test_an_edge_without_an_operation_to_choose_comes_after_all_others(left, by):
    """Its mixture is the strongest of all; on the other edges into its node even underflow is stronger."""
    alphas = {name: np.zeros((5, 8)) for name in g.CELL_TYPES}
    alphas["normal"][2, 1], alphas["normal"][3:, 0] = 5.0, 2000.0
    may = np.ones((5, 8), bool)
    may[2] = np.isin(np.arange(8), [*left, 0] if by == "alphas" else left)
    kept = {"normal": may, "reduction": np.ones((5, 8), bool)}
    if by == "alphas":
        alphas["normal"], kept = np.where(may, alphas["normal"], -np.inf), None
    assert g.derive(alphas, PRIMITIVES, kept).normal[2:] == (("max_pool_3x3", 1), ("max_pool_3x3", 2))
    assert g.derive_dense(alphas, PRIMITIVES, kept).normal[2] == "none"


@pytest.mark.parametrize(("derived", "edges", "expected"), [(g.derive, [2, 4], (2, 1)), (g.derive_dense, [2, 3, 4], (1, 0))])
def test_a_node_without_enough_edges_to_choose_is_refused(derived, edges, expected):
    alphas = {name: np.zeros((5, 8)) for name in g.CELL_TYPES}
    alphas["reduction"][edges, 1:] = -np.inf
    least, count = expected
    with pytest.raises(InputError, match=f"^expected {least} or more edges .* into node 3 of the reduction cell; got {count}$"):
        derived(alphas)


@pytest.mark.parametrize("weakest", [2, 3, 4])
def test_edges_with_one_operation_left_rank_by_its_softmax_among_all(weakest):
    """The shares of the supernet, after ASAP, are all 1: the edge with the least in the softmax goes, at any index."""
    alphas = {cell: np.zeros((5, 8)) for cell in ("normal", "reduction")}
    alphas["normal"][:, 5] = 1.0
    alphas["normal"][weakest, 6] = 2.0  # of an operation that was pruned
    kept = {cell: np.arange(8)[None] == np.full((5, 1), 5) for cell in alphas}
    genes = g.derive(alphas, PRIMITIVES, kept).normal[2:]
    assert genes == tuple((PRIMITIVES[5], source) for source in range(3) if source + 2 != weakest)
