"""Searches whose mixtures are drawn, or pruned while a temperature falls: SNAS, GDAS, ASAP, ProxylessNAS."""

from dataclasses import replace

from dsrna_jax.commands.presets.darts import DARTS_FIRST
from dsrna_jax.commands.presets.dsrna import DIGITS_DSRNA_JACOBIAN

# Xie et al. 2019 (arXiv:1812.09926) and the published code: one level, samples of concrete mixtures, every edge in the cell. The
# code learns from all training images; here a tenth is held out for the records. Its drop path of 0.3 is left out. Its penalty
# is 1e-2 times the sum of logarithms over the 112 edges; here it is that of the whole network, in three strengths.
SNAS = replace(
    DARTS_FIRST,
    mixture="gumbel",
    temperature_end=0.03,
    levels=1,
    keep="all",
    resource_weight=1.0,
    epochs=150,
    train_share=0.9,
    val_share=0.1,
)
SNAS_MILD, SNAS_AGGRESSIVE = replace(SNAS, resource_weight=0.1), replace(SNAS, resource_weight=10.0)

# Dong and Yang 2019 (arXiv:1910.04465) and the published code: one operation is drawn on an edge. That code steps with Nesterov's
# momentum and moves the weights before the alphas; here the momentum is plain, and alphas come first, as in DARTS.
GDAS = replace(
    DARTS_FIRST,
    mixture="hard_gumbel",
    temperature_start=10.0,
    temperature_end=0.1,
    epochs=250,
    batch_size=256,
    weight_decay=5e-4,
)

# Noy et al. 2020 (arXiv:1904.04123): operations are pruned while a temperature falls. No code of the search was published: the
# rates are those of DARTS, and the numbers of the two schedules are chosen here.
ASAP = replace(DARTS_FIRST, temperature_start=1.3, temperature_end=0.1, temperature_schedule="exponential", prune_below=0.4)

DIGITS_SNAS = replace(
    DIGITS_DSRNA_JACOBIAN, space="darts", metric="none", gamma=0.0, warmup_epochs=0, alpha_lr=0.02,
    mixture="gumbel", temperature_end=0.03, levels=1, keep="all", resource_weight=0.1,
)  # fmt: skip
DIGITS_GDAS = replace(
    DIGITS_DSRNA_JACOBIAN, space="darts", metric="none", gamma=0.0, alpha_lr=0.02,
    mixture="hard_gumbel", temperature_start=10.0, temperature_end=0.1,
)  # fmt: skip
DIGITS_ASAP = replace(
    DIGITS_DSRNA_JACOBIAN, space="darts", metric="none", gamma=0.0, alpha_lr=0.02,
    temperature_start=1.3, temperature_end=0.1, temperature_schedule="exponential", prune_below=0.4,
)  # fmt: skip

# Cai et al. 2019 (arXiv:1812.00332) and search/imagenet_arch_search.py of the published code: binarised paths in a space of
# inverted bottlenecks. Rates, decay, warm-up, length are those of that code, which searches on ImageNet. Its penalty multiplies
# the loss, and ours is added. Alphas move in every fifth step, by Adam without momentum, weights by Nesterov's momentum.
# The widths double twice, as those of our cells, and not as those of MobileNetV2; its search on CIFAR-10 has yet another space.
# Its code computes two paths in a step; here all are there, and `remat` takes a third of the 80 GB that they would need.
PROXYLESS = replace(
    DARTS_FIRST, space="proxyless", mixture="binary", cells=18, channels=32, epochs=120, warmup_epochs=40, batch_size=256,
    weight_lr=0.025, weight_lr_min=0.0, weight_decay=4e-5, alpha_lr=1e-3, alpha_decay=0.0, resource_weight=0.1,
    remat=True,
)  # fmt: skip
DIGITS_PROXYLESS = replace(
    DIGITS_DSRNA_JACOBIAN, space="proxyless", metric="none", gamma=0.0, mixture="binary", cells=6, channels=8, alpha_lr=0.02,
    resource_weight=0.1, epochs=40, warmup_epochs=10,  # each path learns in one of some six steps
)  # fmt: skip

PRESETS = {
    "cifar10_snas": SNAS,
    "cifar10_snas_mild": SNAS_MILD,
    "cifar10_snas_aggressive": SNAS_AGGRESSIVE,
    "cifar10_gdas": GDAS,
    "cifar10_asap": ASAP,
    "digits_snas": DIGITS_SNAS,
    "digits_gdas": DIGITS_GDAS,
    "digits_asap": DIGITS_ASAP,
    "cifar10_proxyless": PROXYLESS,
    "digits_proxyless": DIGITS_PROXYLESS,
}
