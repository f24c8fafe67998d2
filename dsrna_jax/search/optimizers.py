"""The optimisers of a search: SGD for the weights, Adam for the alphas, as in DARTS."""

import jax.numpy as jnp
import optax

from dsrna_jax.runtime.optimizers import sgd
from dsrna_jax.search.config import SearchConfig


def weight_rate(config: SearchConfig, epoch):
    """The learning rate of the weights in an epoch, counted from 0: a cosine from `weight_lr` to `weight_lr_min`.

    A warm-up multiplies it by (epoch + 1) / warm-up epochs.
    """
    progress = jnp.minimum(epoch, config.epochs) / max(1, config.epochs)
    rate = config.weight_lr_min + (config.weight_lr - config.weight_lr_min) * (1 + jnp.cos(jnp.pi * progress)) / 2
    return rate * jnp.minimum((epoch + 1) / config.weight_lr_warmup_epochs, 1) if config.weight_lr_warmup_epochs else rate


def weight_optimizer(config: SearchConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    """SGD as in DARTS, at a cosine rate that falls once an epoch."""
    rate = lambda count: weight_rate(config, count // steps_per_epoch)  # noqa: E731
    return sgd(rate, clip=config.clip, weight_decay=config.weight_decay, momentum=config.momentum)


def alpha_optimizer(config: SearchConfig) -> optax.GradientTransformation:
    """Adam as in DARTS: betas .5 and .999, coupled L2 decay."""
    return optax.chain(
        *([optax.clip_by_global_norm(config.alpha_clip)] if config.alpha_clip else []),
        optax.add_decayed_weights(config.alpha_decay),
        optax.scale_by_adam(b1=0.5, b2=0.999),
        optax.scale_by_learning_rate(config.alpha_lr),
    )
