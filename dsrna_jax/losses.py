"""What training minimises and reports: losses and accuracy of logits."""

import jax.numpy as jnp
import optax


def cross_entropy(logits, labels):
    """[batch] in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def accuracy(logits, labels):
    """Share of right answers, in [0, 1]."""
    return jnp.mean(jnp.argmax(logits, axis=1) == labels)
