"""Searches that sample architectures from one supernet: random search, evolution, controllers, RobNet."""

from dataclasses import replace

from dsrna_jax.commands.presets.darts import DARTS_FIRST
from dsrna_jax.commands.presets.dsrna import CIFAR10_DSRNA_JACOBIAN, DIGITS_DSRNA_JACOBIAN
from dsrna_jax.runtime.options import changed

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
CIFAR10_RANDOM = changed(DARTS_FIRST, eigenvalue_every=0, strategy="random", children=1000, epochs=300)
CIFAR10_EVOLUTION = replace(CIFAR10_RANDOM, strategy="evolution", children=20000, population=100, tournament=25)

# ENAS by its published code (scripts/cifar10_micro_search.sh): cells of five nodes, six normal ones and two that reduce, a tenth
# of the images held out. That code restarts its cosine of rates, drops paths, and turns in every epoch to the controller, which
# learns from 45000 children by a batch of 160 each; here it learns after the supernet, from 4500 judged on all held-out images.
CIFAR10_ENAS = replace(
    CIFAR10_RANDOM, strategy="reinforce", nodes=5, channels=20, epochs=150, batch_size=160, weight_lr=0.05,
    weight_lr_min=5e-4, weight_decay=1e-4, train_share=0.9, val_share=0.1, controller_lr=3.5e-3, children=4500, round_size=10,
)  # fmt: skip

# PNAS: cells of five nodes, two of them between reductions, of 24 channels, and 256 children of each size. They were
# trained for 20 epochs each; here they share the supernet of random search, with its rates. Its last 256 children are those of
# five nodes; those of one node are all 136 there, and drawn here. These numbers were not checked against the paper's text.
CIFAR10_PNAS = replace(
    CIFAR10_RANDOM, strategy="pnas", nodes=5, channels=24, train_share=0.9, val_share=0.1, children=1280, round_size=256
)

# NASNet: 20000 children of five nodes, each trained by itself for 20 epochs (of 703 steps); no supernet. Its
# controller learns by proximal policy optimisation and its children's rate falls; here by REINFORCE, and it is that of DARTS.
# These numbers were not checked against the paper's text.
CIFAR10_NASNET = replace(
    CIFAR10_RANDOM, strategy="reinforce", nodes=5, channels=32, epochs=0, train_share=0.9, val_share=0.1, children=20000,
    round_size=20, controller_entropy=1e-5, fine_tune_steps=20 * 703, fine_tune_lr=0.025,
)  # fmt: skip

# RobNet, Guo et al. 2020 (arXiv:1911.10695), sections 3.2 and 3.3; its search was never published. A supernet learns under PGD on
# random codes, a thousand of which are tuned briefly and ranked by their accuracy under PGD; of free codes those are tried that
# have a small FSP distance. The length of the tuning and the share of the free codes are chosen here. The rates are those of the
# published program that trains what is found. It clips no gradients, decays neither the norm of the stem nor the bias of the head
# (other norms have no parameters), and begins its warm-up at 0.02; here the first rate is a twentieth of the last, 0.06.
ROBNET = changed(
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

PRESETS = {
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
}
