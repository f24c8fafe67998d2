"""Named configurations of a search; flags override their fields.

python -m experiments.search --preset=NAME [--data_dir=...] [--FIELD=VALUE ...]
"""

from dataclasses import replace

from dsrna_jax.search.config import SearchConfig

# The default: the paper's method on 8x8 images, with rates for a search that takes minutes.
DIGITS_DSRNA_JACOBIAN = SearchConfig()

# The same with certified bounds of cells; gamma for an effect within 15 epochs (docs/paper.md has a table).
DIGITS_DSRNA_CB = replace(DIGITS_DSRNA_JACOBIAN, metric="certified", certificate="cell", gamma=0.1)

# DSRNA, section 4.2.2, whose numbers tests/test_recipes.py lists. It leaves open the warm-up (15 epochs, as in PC-DARTS), the
# clipping, and the end of the cosine (DSRNA-Jacobian has the weight rate of DARTS, whose cosine ends at 0.001).
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

# Liu et al. 2019 (arXiv:1806.09055), section 3.1 and the published code: no warm-up, no robustness measure.
DARTS_SECOND = replace(
    CIFAR10_DSRNA_JACOBIAN, space="darts", metric="none", gamma=0.0, order="unrolled_fd", warmup_epochs=0, batch_size=64
)
DARTS_FIRST = replace(DARTS_SECOND, order="first")

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
    eigenvalue_every=0,
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
    stop_eigenvalue_from=5,
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
    eigenvalue_every=4,
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

# Li and Talwalkar 2019 (arXiv:1902.07638) and Real et al. 2019 (arXiv:1802.01548), on one supernet that learns on random
# sub-networks; numbers are chosen here, for minutes on a CPU.
DIGITS_RANDOM = replace(
    DIGITS_DSRNA_JACOBIAN, space="darts", metric="none", gamma=0.0, warmup_epochs=0, eigenvalue_every=0,
    channels=8, strategy="random", children=64, epochs=30,
)  # fmt: skip
DIGITS_EVOLUTION = replace(DIGITS_RANDOM, strategy="evolution")

# ENAS, PNAS and NASNet (Pham et al. 2018, Liu et al. 2018, Zoph et al. 2018), in the space of DARTS, with numbers for minutes on
# a CPU: the controller learns faster, and children of NASNet, each trained by itself, learn for some steps.
DIGITS_ENAS = replace(DIGITS_RANDOM, strategy="reinforce", controller_lr=0.02, children=128)
DIGITS_PNAS = replace(DIGITS_RANDOM, strategy="pnas")
DIGITS_NASNET = replace(DIGITS_ENAS, epochs=0, fine_tune_steps=33, fine_tune_lr=0.1, children=48)

# The same on CIFAR-10: 300 epochs and 1000 children are those of random search with weight sharing; 20000 children, of which 100
# live, and tournaments of 25 those of AmoebaNet, whose children were each trained by itself.
CIFAR10_RANDOM = replace(DARTS_FIRST, eigenvalue_every=0, strategy="random", children=1000, epochs=300)
CIFAR10_EVOLUTION = replace(CIFAR10_RANDOM, strategy="evolution", children=20000, population=100, tournament=25)

# ENAS by its published code (scripts/cifar10_micro_search.sh): cells of five nodes, six normal ones and two that reduce, a tenth
# of the images held out. That code restarts its cosine of rates, drops paths, and turns in every epoch to the controller, which
# learns from 45000 children by a batch of 160 each; here it learns after the supernet, from 4500 judged on all held-out images.
CIFAR10_ENAS = replace(
    CIFAR10_RANDOM, strategy="reinforce", nodes=5, channels=20, epochs=150, batch_size=160, weight_lr=0.05,
    weight_lr_min=5e-4, weight_decay=1e-4, train_share=0.9, val_share=0.1, controller_lr=3.5e-3, children=4500, round_size=10,
)  # fmt: skip

# PNAS, section 5.1: cells of five nodes, two of them between reductions, of 24 channels, and 256 children of each size. They were
# trained for 20 epochs each; here they share the supernet of random search, with its rates. Its last 256 children are those of
# five nodes; those of one node are all 136 there, and drawn here.
CIFAR10_PNAS = replace(
    CIFAR10_RANDOM, strategy="pnas", nodes=5, channels=24, train_share=0.9, val_share=0.1, children=1280, round_size=256
)

# NASNet, appendix A: 20000 children of five nodes, each trained by itself for 20 epochs (of 703 steps); no supernet. Its
# controller learns by proximal policy optimisation and its children's rate falls; here by REINFORCE, and it is that of DARTS.
CIFAR10_NASNET = replace(
    CIFAR10_RANDOM, strategy="reinforce", nodes=5, channels=32, epochs=0, train_share=0.9, val_share=0.1, children=20000,
    round_size=20, controller_entropy=1e-5, fine_tune_steps=20 * 703, fine_tune_lr=0.025,
)  # fmt: skip

# RobNet, Guo et al. 2020 (arXiv:1911.10695), sections 3.2 and 3.3; its search was never published. A supernet learns under PGD on
# random codes, a thousand of which are tuned briefly and ranked by their accuracy under PGD; of free codes those are tried that
# have a small FSP distance. The length of the tuning and the share of the free codes are chosen here.
ROBNET = replace(
    CIFAR10_DSRNA_JACOBIAN, space="robnet", metric="none", gamma=0.0, order="first", eigenvalue_every=0, warmup_epochs=0,
    strategy="random", children=1000, reward="pgd_accuracy", supernet_attack_steps=7, attack_steps=7, cells=20, channels=36,
    epochs=300, batch_size=1536, weight_lr=1.2, weight_lr_warmup_epochs=20, weight_decay=1e-4, fine_tune_steps=16,
)  # fmt: skip
ROBNET_FREE = replace(ROBNET, cell_free=True, candidates=4)
DIGITS_ROBNET = replace(
    DIGITS_RANDOM, space="robnet", reward="pgd_accuracy", supernet_attack_steps=2, attack_steps=5, attack_radius=0.1,
    epochs=15, children=32, fine_tune_steps=2,
)  # fmt: skip
DIGITS_ROBNET_FREE = replace(DIGITS_ROBNET, cell_free=True, candidates=2)

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

# The default with everything as small as possible, for tests and first steps.
SMOKE = SearchConfig(cells=3, channels=8, nodes=1, order="first", epochs=3, warmup_epochs=1, batch_size=128, eigenvalue_every=0)

PRESETS = {
    "digits_dsrna_jacobian": DIGITS_DSRNA_JACOBIAN,
    "digits_dsrna_cb": DIGITS_DSRNA_CB,
    "cifar10_dsrna_jacobian": CIFAR10_DSRNA_JACOBIAN,
    "cifar10_dsrna_cb": CIFAR10_DSRNA_CB,
    "mnist_dsrna_jacobian": MNIST_DSRNA_JACOBIAN,
    "mnist_dsrna_cb": MNIST_DSRNA_CB,
    "darts_first": DARTS_FIRST,
    "darts_second": DARTS_SECOND,
    "pcdarts": PCDARTS,
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
    "digits_random": DIGITS_RANDOM,
    "digits_evolution": DIGITS_EVOLUTION,
    "digits_enas": DIGITS_ENAS,
    "digits_pnas": DIGITS_PNAS,
    "digits_nasnet": DIGITS_NASNET,
    "cifar10_random": CIFAR10_RANDOM,
    "cifar10_evolution": CIFAR10_EVOLUTION,
    "cifar10_enas": CIFAR10_ENAS,
    "cifar10_pnas": CIFAR10_PNAS,
    "cifar10_nasnet": CIFAR10_NASNET,
    "cifar10_robnet": ROBNET,
    "cifar10_robnet_free": ROBNET_FREE,
    "digits_robnet": DIGITS_ROBNET,
    "digits_robnet_free": DIGITS_ROBNET_FREE,
    "imagenet_pcdarts_search": IMAGENET_PCDARTS_SEARCH,
    "smoke": SMOKE,
}
