"""Searches of DSRNA, and the smallest of all."""

from dataclasses import replace

from dsrna_jax.search.config import SearchConfig

# The default: the paper's method on 8x8 images, with rates for a search that takes minutes.
DIGITS_DSRNA_JACOBIAN = SearchConfig()

# The same with certified bounds of cells; gamma for an effect within 15 epochs (docs/paper.md has a table).
DIGITS_DSRNA_CB = replace(DIGITS_DSRNA_JACOBIAN, metric="certified", certificate="cell", gamma=0.1)

# DSRNA, section 4.2.2, whose numbers tests/commands/test_recipes.py lists. It leaves open the warm-up (15 epochs, as PC-DARTS),
# the clipping, and the end of the cosine (DSRNA-Jacobian has the weight rate of DARTS, whose cosine ends at 0.001).
CIFAR10_DSRNA_JACOBIAN = SearchConfig(
    dataset="cifar10",
    space="pcdarts",
    cells=8,
    channels=16,
    metric="jacobian",
    gamma=0.01,
    order="unrolled",
    eigenvalue_every=2,  # as often as Zela et al. 2020 measure it
    epochs=50,
    warmup_epochs=15,
    batch_size=128,
    weight_lr=0.025,
    weight_lr_min=0.001,
    weight_decay=3e-4,
    alpha_lr=3e-4,
    alpha_decay=1e-3,
    crop_padding=4,
    flip=True,
)
MNIST_DSRNA_JACOBIAN = replace(CIFAR10_DSRNA_JACOBIAN, dataset="mnist", crop_padding=0, flip=False)

# The paper's settings of DSRNA-CB are those of PC-DARTS (cosine to 0), except for the decay of the alphas. Gamma is the paper's
# 0.01; R is a logarithm here, and docs/paper.md says how gamma then weighs it.
CIFAR10_DSRNA_CB = replace(
    CIFAR10_DSRNA_JACOBIAN,
    metric="certified",
    certificate="cell",
    radius=0.03,
    radius_schedule="controller",
    batch_size=256,
    weight_lr=0.1,
    weight_lr_min=0.0,
    alpha_lr=6e-4,
    alpha_decay=3e-4,
)
MNIST_DSRNA_CB = replace(CIFAR10_DSRNA_CB, dataset="mnist", crop_padding=0, flip=False)

# The default with everything as small as possible, for tests and first steps.
SMOKE = SearchConfig(cells=3, channels=8, nodes=1, order="first", epochs=3, warmup_epochs=1, batch_size=128, eigenvalue_every=0)

PRESETS = {
    "digits_dsrna_jacobian": DIGITS_DSRNA_JACOBIAN,
    "digits_dsrna_cb": DIGITS_DSRNA_CB,
    "cifar10_dsrna_jacobian": CIFAR10_DSRNA_JACOBIAN,
    "cifar10_dsrna_cb": CIFAR10_DSRNA_CB,
    "mnist_dsrna_jacobian": MNIST_DSRNA_JACOBIAN,
    "mnist_dsrna_cb": MNIST_DSRNA_CB,
    "smoke": SMOKE,
}
