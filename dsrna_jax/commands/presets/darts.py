"""DARTS and its descendants: a mixture of all operations on every edge."""

from dataclasses import replace

from dsrna_jax.commands.presets.dsrna import CIFAR10_DSRNA_JACOBIAN, DIGITS_DSRNA_JACOBIAN

# Liu et al. 2019 (arXiv:1806.09055), section 3.1 and the published code: no warm-up, no robustness measure.
DARTS_SECOND = replace(
    CIFAR10_DSRNA_JACOBIAN, space="darts", metric="none", gamma=0.0, order="unrolled_fd", warmup_epochs=0, batch_size=64
)
DARTS_FIRST = replace(DARTS_SECOND, order="first")
DIGITS_DARTS_FIRST = replace(DIGITS_DSRNA_JACOBIAN, space="darts", metric="none", gamma=0.0)
DIGITS_DARTS_SECOND = replace(DIGITS_DARTS_FIRST, order="unrolled")

# Xu et al. 2020 (arXiv:1907.05737), section 4.2 and the published code.
PCDARTS = replace(
    CIFAR10_DSRNA_JACOBIAN,
    metric="none",
    gamma=0.0,
    order="first",
    batch_size=256,
    weight_lr=0.1,
    weight_lr_min=0.0,
    alpha_lr=6e-4,
)
DIGITS_PCDARTS = replace(DIGITS_DARTS_FIRST, space="pcdarts")

# Liang et al. 2019 (arXiv:1909.06035): DARTS of first order with two rules by which it stops; no code was published.
DARTS_PLUS = replace(DARTS_FIRST, stop_skips=2, stop_stable=10)
DIGITS_DARTS_PLUS = replace(DIGITS_DSRNA_JACOBIAN, space="darts", metric="none", gamma=0.0, stop_skips=2, stop_stable=10)

# Chen et al. 2019 (arXiv:1904.12760) and the published code: three searches of deeper supernets with fewer operations.
PDARTS = replace(
    DARTS_FIRST,
    stages="5:8:0,11:5:0.4,17:3:0.7",
    most_skips=2,
    epochs=25,
    warmup_epochs=10,
    batch_size=96,
    weight_lr_min=0.0,
    alpha_lr=6e-4,
    alpha_clip=5.0,
)
DIGITS_PDARTS = replace(
    DIGITS_DSRNA_JACOBIAN,
    space="darts",
    metric="none",
    gamma=0.0,
    channels=4,
    stages="3:8:0,4:5:0.4,5:3:0.7",
    most_skips=2,
    epochs=8,
    eigenvalue_every=4,
)

# Zela et al. 2020 (arXiv:1909.09656), section 4.3 and the published code: DARTS of second order that stops when the dominant
# eigenvalue rises, and returns the cell of an epoch before that.
DARTS_ES = replace(DARTS_SECOND, stop_eigenvalue=1.3)
DIGITS_DARTS_ES = replace(
    DIGITS_DSRNA_JACOBIAN,
    space="darts",
    metric="none",
    gamma=0.0,
    channels=8,
    epochs=25,
    stop_eigenvalue=1.3,
    stop_eigenvalue_from=5,  # of half as many epochs as the paper has, in which it is 10
    eigenvalue_every=1,
)

# Zela et al. 2020, section 5.3 and the published code: where the eigenvalue rises, the search goes on from the epoch before with
# ten times the weight decay, up to 0.03.
DARTS_ADA = replace(DARTS_ES, adapt_factor=10.0)
DIGITS_DARTS_ADA = replace(DIGITS_DARTS_ES, adapt_factor=10.0)

# Zela et al. 2020, section 5.2: a search for each weight decay. The paper trains the cells at full size to choose among them;
# here their networks are smaller, and see the images of the search alone.
RDARTS_L2 = replace(DARTS_SECOND, weight_decays="3e-4,9e-4,27e-4,81e-4", retrain_epochs=100)
DIGITS_RDARTS_L2 = replace(
    DIGITS_PDARTS,
    stages="",
    most_skips=64,
    nodes=2,  # less to compile, in four searches and four trainings
    weight_decays="3e-4,9e-4,27e-4,81e-4",
    retrain_epochs=8,
    retrain_cells=3,
    retrain_channels=8,
)

# Chen and Hsieh 2020 (arXiv:2002.05283) and the published code: DARTS of first order, whose weights learn on perturbed mixtures.
SDARTS_RS = replace(DARTS_FIRST, space="s5", perturbation="uniform")
SDARTS_ADV = replace(SDARTS_RS, perturbation="adversarial")

# The paper names PC-DARTS-ADV; the published code cannot run it. Here: PC-DARTS with the perturbations of SmoothDARTS.
PCDARTS_RS = replace(PCDARTS, perturbation="uniform")
PCDARTS_ADV = replace(PCDARTS, perturbation="adversarial")

# The same on the digits, in minutes on a CPU, from the space and the rates of the default.
DIGITS_SDARTS_RS = replace(DIGITS_DSRNA_JACOBIAN, space="s5", metric="none", gamma=0.0, perturbation="uniform")
DIGITS_SDARTS_ADV = replace(DIGITS_SDARTS_RS, perturbation="adversarial")
DIGITS_PCDARTS_RS = replace(DIGITS_SDARTS_RS, space="pcdarts")
DIGITS_PCDARTS_ADV = replace(DIGITS_SDARTS_ADV, space="pcdarts")

# PC-DARTS on ImageNet, by train_search_imagenet.py of the published code: K = 2, a stem of three convolutions, and 10 % and 2.5 %
# of the training images. No eigenvalue, which takes twice the memory of a step.
IMAGENET_PCDARTS_SEARCH = replace(
    PCDARTS,
    eigenvalue_every=0,
    dataset="imagenet2012",
    image_size=224,
    center_crop=0.875,
    space="pcdarts_k2",
    start="imagenet_wide",
    train_share=0.1,
    val_share=0.025,
    warmup_epochs=35,
    batch_size=1024,
    weight_lr=0.5,
    weight_lr_warmup_epochs=5,
    alpha_lr=6e-3,
    alpha_clip=5.0,
    crop_area=0.08,
    crop_padding=0,
)

PRESETS = {
    "darts_first": DARTS_FIRST,
    "darts_second": DARTS_SECOND,
    "pcdarts": PCDARTS,
    "digits_darts_first": DIGITS_DARTS_FIRST,
    "digits_darts_second": DIGITS_DARTS_SECOND,
    "digits_pcdarts": DIGITS_PCDARTS,
    "cifar10_darts_plus": DARTS_PLUS,
    "digits_darts_plus": DIGITS_DARTS_PLUS,
    "cifar10_pdarts": PDARTS,
    "digits_pdarts": DIGITS_PDARTS,
    "cifar10_darts_es": DARTS_ES,
    "digits_darts_es": DIGITS_DARTS_ES,
    "cifar10_darts_ada": DARTS_ADA,
    "digits_darts_ada": DIGITS_DARTS_ADA,
    "cifar10_rdarts_l2": RDARTS_L2,
    "digits_rdarts_l2": DIGITS_RDARTS_L2,
    "cifar10_sdarts_rs": SDARTS_RS,
    "cifar10_sdarts_adv": SDARTS_ADV,
    "cifar10_pcdarts_rs": PCDARTS_RS,
    "cifar10_pcdarts_adv": PCDARTS_ADV,
    "digits_sdarts_rs": DIGITS_SDARTS_RS,
    "digits_sdarts_adv": DIGITS_SDARTS_ADV,
    "digits_pcdarts_rs": DIGITS_PCDARTS_RS,
    "digits_pcdarts_adv": DIGITS_PCDARTS_ADV,
    "imagenet_pcdarts_search": IMAGENET_PCDARTS_SEARCH,
}
