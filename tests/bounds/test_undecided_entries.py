"""Backward bounds of the operands of hinges: only entries whose side is open are bounded again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax import bounds
from dsrna_jax.bounds import refinement

SIZE = 12
MOVES = {
    "nothing": lambda y, c: y,
    "an added constant": lambda y, c: y + c,
    "a subtracted constant": lambda y, c: y - c,
    "another shape": lambda y, c: (y + c).reshape(len(y), 3, 4),
    "another order": lambda y, c: (y + c).reshape(len(y), 3, 4).transpose(0, 2, 1),
    "reversal": lambda y, c: jnp.flip(y + c, 1),
    "copies": lambda y, c: jnp.tile(y + c, (1, 2)) + jnp.tile(c, (1, 2)),
    "a part": lambda y, c: (y + c)[:, 2:9],
    "indexing": lambda y, c: (y + c)[:, jnp.array([0, 0, *range(4, 12)])],
    "padding": lambda y, c: jnp.pad(y + c, ((0, 0), (1, 2))),
}


@pytest.fixture
def wanted(monkeypatch) -> list[np.ndarray]:
    """The masks of entries that are bounded backwards, those of each layer in turn, and none for the output."""
    masks = []

    def recorded(node, bound, *, wanted=None, **options):
        masks.append(wanted)
        return sides_of(node, bound, wanted=wanted, **options)

    sides_of = refinement.sides_of
    monkeypatch.setattr(refinement, "sides_of", recorded)
    return masks


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize(("hinge", "kink"), [(jax.nn.relu, 0.0), (lambda y: jnp.maximum(y, 0.5), 0.5), (jnp.abs, 0.0)])
def test_entries_are_bounded_again_if_an_operand_made_of_them_spans_the_kink(wanted, hinge, kink, name):
    keys = jax.random.split(jax.random.key(0), 3)
    weights, c = jax.random.normal(keys[0], (5, SIZE)), 2 * jax.random.normal(keys[1], (1, SIZE))
    x, radius = jax.random.normal(keys[2], (3, 5)), 0.2

    def operand(y):
        return MOVES[name](y, c)

    bounds.bound(lambda x: hinge(operand(x @ weights)).reshape(len(x), -1).sum(1), x, radius=radius, method="crown")

    y, reach = x @ weights, radius * jnp.abs(weights).sum(0, keepdims=True)
    spans = (operand(y - reach) < kink) & (operand(y + reach) > kink)
    is_made_of = [operand(y + jnp.eye(SIZE)[entry : entry + 1]) != operand(y) for entry in range(SIZE)]
    expected = jnp.stack([(spans & made).reshape(len(x), -1).any(1) for made in is_made_of], 1)
    (mask,) = wanted
    np.testing.assert_array_equal(mask, expected)
    assert 0 < expected.sum() < expected.size
