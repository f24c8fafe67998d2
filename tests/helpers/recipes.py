"""Published recipes of searches and trainings, and where our presets depart from them, with why."""

from typing import NamedTuple


class Recipe(NamedTuple):
    """A published recipe: its source, its values by the field of a configuration, and where a preset departs: (ours, why)."""

    source: str
    published: dict
    departures: dict = {}


PAPER = "DSRNA (CVPR 2021), section 4.2.2"
DARTS = "Liu et al. 2019 (arXiv:1806.09055) and cnn/train_search.py, cnn/train.py, cnn/train_imagenet.py of quark0/darts"
PC_DARTS = "Xu et al. 2020 (arXiv:1907.05737) and train_search.py, train_imagenet.py of yuhuixu1993/PC-DARTS"
ADVRUSH = "Mok et al. 2021 (arXiv:2108.01289) and advrush/adv_train.py of nutellamok/advrush"
FREE = "Shafahi et al. 2019 (arXiv:1904.12843) and main_free.py, configs.yml of mahyarnajibi/FreeAdversarialTraining"
FAST = "Wong et al. 2020 (arXiv:2001.03994) and CIFAR10/train_fgsm.py of locuslab/fast_adversarial"

CROPS = {"crop_padding": 4, "flip": True}
NO_CROPS = {
    "crop_padding": (0, "mirrored digits are no digits"),
    "flip": (False, "mirrored digits are no digits"),
}
FOUR = {"nodes": (4, "the space is PC-DARTS's and the weights that the paper reports fit four, as docs/paper.md says")}
SEARCH_OF_PAPER = {"cells": 8, "channels": 16, "epochs": 50, "nodes": 3, "momentum": 0.9, "weight_decay": 3e-4, "gamma": 0.01}
CB = SEARCH_OF_PAPER | {
    "space": "pcdarts", "metric": "certified", "order": "unrolled", "weight_lr": 0.1, "batch_size": 256, "alpha_lr": 6e-4,
    "alpha_decay": 3e-4, "radius": 0.03, "radius_schedule": "controller",
}  # fmt: skip
JACOBIAN = SEARCH_OF_PAPER | {
    "space": "pcdarts", "metric": "jacobian", "order": "unrolled", "weight_lr": 0.025, "batch_size": 128, "alpha_lr": 3e-4,
    "alpha_decay": 1e-3,
}  # fmt: skip
DARTS_SEARCH = {
    "space": "darts", "metric": "none", "cells": 8, "channels": 16, "nodes": 4, "epochs": 50, "warmup_epochs": 0,
    "batch_size": 64, "weight_lr": 0.025, "weight_lr_min": 0.001, "momentum": 0.9, "weight_decay": 3e-4, "clip": 5.0,
    "alpha_lr": 3e-4, "alpha_decay": 1e-3, "cutout": 0, **CROPS,
}  # fmt: skip

PC = {
    "dataset": "cifar10", "space": "pcdarts", "metric": "none", "order": "first", "cells": 8, "channels": 16, "nodes": 4,
    "epochs": 50, "warmup_epochs": 15, "batch_size": 256, "weight_lr": 0.1, "weight_lr_min": 0.0, "momentum": 0.9,
    "weight_decay": 3e-4, "clip": 5.0, "alpha_lr": 6e-4, "alpha_decay": 1e-3, "cutout": 0, **CROPS,
}  # fmt: skip
SMOOTH = "Chen and Hsieh 2020 (arXiv:2002.05283) and sota/cnn/train_search.py, attacker/perturb.py of xiangning-chen/SmoothDARTS"
PERTURBED = {"perturbation_start": 0.03, "perturbation_radius": 0.3, "perturbation_steps": 7}
SDARTS = DARTS_SEARCH | PERTURBED | {"dataset": "cifar10", "space": "s5", "order": "first"}

SNAS = DARTS_SEARCH | {
    "dataset": "cifar10", "order": "first", "mixture": "gumbel", "temperature_start": 1.0, "temperature_end": 0.03,
    "temperature_schedule": "linear", "levels": 1, "keep": "all", "epochs": 150, "train_share": 1.0, "resource_weight": 1e-2,
}  # fmt: skip
SOURCE_OF_SNAS = (
    "Xie et al. 2019 (arXiv:1812.09926) and SNAS/train_search.py, model_search.py, README.md of SNAS-Series/SNAS-Series"
)
ALL_IMAGES = {"train_share": (0.9, "records of the search need images from which it does not learn")}
STRENGTHS = "the logarithm is of the whole network, not of each of its 112 edges, so 1 stands for 1e-2"

SOURCE_OF_ROBNET = "Guo et al. 2020 (arXiv:1911.10695), section 4.1; the rates are those of main.py of gmh14/RobNets"
ROBNET = {
    "dataset": "cifar10", "space": "robnet", "strategy": "random", "children": 1000, "reward": "pgd_accuracy", "cells": 20,
    "channels": 36, "epochs": 300, "batch_size": 1536, "supernet_attack_steps": 7, "attack_steps": 7, "attack_radius": 8 / 255,
    "weight_lr": 1.2, "weight_lr_min": 0.001, "weight_lr_warmup_epochs": 20, "weight_decay": 1e-4, "momentum": 0.9, "clip": None,
    **CROPS,
}  # fmt: skip
UNCLIPPED = {"clip": (5.0, "that of the other searches")}

SEARCHES = {
    **{
        f"cifar10_snas{name}": Recipe(SOURCE_OF_SNAS, SNAS, ALL_IMAGES | {"resource_weight": (weight, STRENGTHS)})
        for name, weight in (("_mild", 0.1), ("", 1.0), ("_aggressive", 10.0))
    },
    "cifar10_random": Recipe(
        "Li and Talwalkar 2019 (arXiv:1902.07638), sections 3.3 and 4.2",
        {name: value for name, value in DARTS_SEARCH.items() if not name.startswith("alpha_")}
        | {"dataset": "cifar10", "strategy": "random", "children": 1000, "epochs": 300},
    ),
    "cifar10_evolution": Recipe(
        "Real et al. 2019 (arXiv:1802.01548), section 3.2 and Methods",
        {"dataset": "cifar10", "strategy": "evolution", "children": 20000, "population": 100, "tournament": 25},
    ),
    **{
        f"cifar10_robnet{name}": Recipe(SOURCE_OF_ROBNET, ROBNET | {"cell_free": bool(name)}, UNCLIPPED) for name in ("", "_free")
    },
    "cifar10_gdas": Recipe(
        "Dong and Yang 2019 (arXiv:1910.04465) and configs/search-opts/GDAS-NASNet-CIFAR.config of D-X-Y/AutoDL-Projects",
        DARTS_SEARCH | {
            "dataset": "cifar10", "order": "first", "mixture": "hard_gumbel", "temperature_start": 10.0, "temperature_end": 0.1,
            "temperature_schedule": "linear", "epochs": 250, "batch_size": 256, "weight_decay": 5e-4,
        },
    ),
    "cifar10_proxyless": Recipe(
        "Cai et al. 2019 (arXiv:1812.00332), section 3.2, and search/imagenet_arch_search.py of mit-han-lab/proxylessnas",
        {
            "space": "proxyless", "mixture": "binary", "order": "first", "metric": "none", "epochs": 120, "warmup_epochs": 40,
            "batch_size": 256, "weight_lr": 0.025, "weight_lr_min": 0.0, "momentum": 0.9, "weight_decay": 4e-5, "alpha_lr": 1e-3,
            "alpha_decay": 0.0, "dataset": "imagenet2012",
        },
        {"dataset": ("cifar10", "that of the other searches")},
    ),
    "cifar10_enas": Recipe(
        "Pham et al. 2018 (arXiv:1802.03268) and scripts/cifar10_micro_search.sh of melodyguan/enas",
        {
            "dataset": "cifar10", "strategy": "reinforce", "nodes": 5, "cells": 8, "channels": 20, "epochs": 150,
            "batch_size": 160, "weight_lr": 0.05, "weight_lr_min": 5e-4, "weight_decay": 1e-4, "train_share": 0.9,
            "controller_lr": 3.5e-3, "controller_entropy": 1e-4, "round_size": 10, "children": 45000, **CROPS,
        },
        {"children": (4500, "each is judged on all images held out, not on a batch of 160")},
    ),
    "cifar10_pnas": Recipe(
        "Liu et al. 2018 (arXiv:1712.00559); not checked against its text",
        {
            "dataset": "cifar10", "strategy": "pnas", "nodes": 5, "cells": 8, "channels": 24, "train_share": 0.9,
            "round_size": 256, "children": 1160,
        },
        {"children": (1280, "five equal rounds; the 136 cells of one node are drawn, not listed")},
    ),
    "cifar10_nasnet": Recipe(
        "Zoph et al. 2018 (arXiv:1707.07012); not checked against its text",
        {
            "dataset": "cifar10", "strategy": "reinforce", "nodes": 5, "train_share": 0.9, "children": 20000, "epochs": 0,
            "controller_lr": 3.5e-4, "controller_entropy": 1e-5, "fine_tune_steps": 14060,
        },
    ),
    "cifar10_asap": Recipe("Noy et al. 2020 (arXiv:1904.04123); no code of its search", DARTS_SEARCH | {"order": "first"}),
    "cifar10_darts_plus": Recipe(
        "Liang et al. 2019 (arXiv:1909.06035), section 3.2", {"dataset": "cifar10", "stop_skips": 2, "stop_stable": 10}
    ),
    "cifar10_pdarts": Recipe(
        "Chen et al. 2019 (arXiv:1904.12760), section 4.2, and train_search.py, README of chenxin061/pdarts",
        DARTS_SEARCH
        | {"dataset": "cifar10", "order": "first", "stages": "5:8:0,11:5:0.4,17:3:0.7", "most_skips": 2, "epochs": 25}
        | {"warmup_epochs": 10, "batch_size": 96, "weight_lr_min": 0.0, "alpha_lr": 6e-4, "alpha_clip": 5.0},
    ),
    "cifar10_rdarts_l2": Recipe(
        "Zela et al. 2020 (arXiv:1909.09656), section 5.2, and experiments/search_logs of automl/RobustDARTS",
        DARTS_SEARCH | {"dataset": "cifar10", "order": "unrolled_fd", "weight_decays": "3e-4,9e-4,27e-4,81e-4"},
    ),
    "cifar10_darts_es": Recipe(
        "Zela et al. 2020 (arXiv:1909.09656), section 4.3, and src/search/train_search.py, utils.py of automl/RobustDARTS",
        DARTS_SEARCH
        | {"dataset": "cifar10", "order": "unrolled_fd"}
        | {"eigenvalue_every": 2, "stop_eigenvalue": 1.3, "stop_eigenvalue_from": 10},
    ),
    "cifar10_darts_ada": Recipe(
        "Zela et al. 2020 (arXiv:1909.09656), section 5.3, and src/search/train_search.py of automl/RobustDARTS",
        DARTS_SEARCH
        | {"dataset": "cifar10", "order": "unrolled_fd", "eigenvalue_every": 2, "stop_eigenvalue": 1.3}
        | {"adapt_factor": 10.0, "adapt_most": 0.03},
    ),
    "cifar10_sdarts_rs": Recipe(SMOOTH, SDARTS | {"perturbation": "uniform"}),
    "cifar10_sdarts_adv": Recipe(SMOOTH, SDARTS | {"perturbation": "adversarial"}),
    "cifar10_pcdarts_rs": Recipe(f"{PC_DARTS}; {SMOOTH}", PC | PERTURBED | {"perturbation": "uniform"}),
    "cifar10_pcdarts_adv": Recipe(f"{PC_DARTS}; {SMOOTH}", PC | PERTURBED | {"perturbation": "adversarial"}),
    "cifar10_dsrna_cb": Recipe(PAPER, {"dataset": "cifar10", **CB}, FOUR),
    "mnist_dsrna_cb": Recipe(PAPER, {"dataset": "mnist", **CB, **CROPS}, FOUR | NO_CROPS),
    "cifar10_dsrna_jacobian": Recipe(PAPER, {"dataset": "cifar10", **JACOBIAN}, FOUR),
    "mnist_dsrna_jacobian": Recipe(PAPER, {"dataset": "mnist", **JACOBIAN, **CROPS}, FOUR | NO_CROPS),
    "darts_first": Recipe(DARTS, {"dataset": "cifar10", "order": "first", **DARTS_SEARCH}),
    "darts_second": Recipe(DARTS, {"dataset": "cifar10", "order": "unrolled_fd", **DARTS_SEARCH}),
    "pcdarts": Recipe(
        PC_DARTS,
        PC,
    ),
    "imagenet_pcdarts_search": Recipe(
        f"{PC_DARTS}; train_search_imagenet.py and model_search_imagenet.py",
        {
            "dataset": "imagenet2012", "space": "pcdarts_k2", "start": "imagenet_wide", "metric": "none", "order": "first",
            "cells": 8, "channels": 16, "nodes": 4, "epochs": 50, "warmup_epochs": 35, "batch_size": 1024, "weight_lr": 0.5,
            "weight_lr_min": 0.0, "weight_lr_warmup_epochs": 5, "momentum": 0.9, "weight_decay": 3e-4, "clip": 5.0,
            "alpha_lr": 6e-3, "alpha_clip": 5.0, "alpha_decay": 1e-3, "train_share": 0.1, "val_share": 0.025, "cutout": 0,
            "image_size": 224, "crop_area": 0.08, "crop_padding": 0, "flip": True, "jitter": 0.0, "hue": 0.0,
        },
    ),
}  # fmt: skip

PAPER_TRAINING = {
    "cells": 20, "channels": 36, "epochs": 600, "batch_size": 128, "lr": 0.025, "clip": 5.0, "drop_path": 0.3,
    # The paper leaves the rest to DARTS.
    "momentum": 0.9, "weight_decay": 3e-4, "schedule": "cosine", "auxiliary_weight": 0.4, "cutout": 16, "label_smoothing": 0.0,
    "adversarial": "none", "held_out": 0.0, **CROPS,
}  # fmt: skip
DARTS_IMAGENET = {
    "cells": 14, "channels": 48, "epochs": 250, "batch_size": 128, "lr": 0.1, "schedule": "decay", "momentum": 0.9,
    "weight_decay": 3e-5, "clip": 5.0, "label_smoothing": 0.1, "auxiliary_weight": 0.4, "drop_path": 0.0, "image_size": 224,
    "start": "imagenet", "flip": True, "crop_area": 0.08, "crop_padding": 0, "jitter": 0.4, "hue": 0.2, "center_crop": 224 / 256,
}  # fmt: skip
HELD_OUT = {"held_out": (0.02, "the best epoch is chosen on training images: the published code chooses it on the test set")}
TRAININGS = {
    "cifar10": Recipe(f"{PAPER}; {DARTS}", {"dataset": "cifar10", **PAPER_TRAINING}),
    "mnist": Recipe(
        f"{PAPER}; {DARTS}",
        {"dataset": "mnist", **PAPER_TRAINING},
        NO_CROPS | {"cutout": (0, "a square of 16 hides a digit of 28")},
    ),
    "imagenet": Recipe(DARTS, {"dataset": "imagenet2012", **DARTS_IMAGENET}),
    "imagenet_dsrna": Recipe(
        f"{PAPER}; {PC_DARTS}",
        {
            "dataset": "imagenet2012", **DARTS_IMAGENET, "lr": 0.5,
            # The paper's "annealing", its batch and its warm-up are those of PC-DARTS.
            "batch_size": 1024, "schedule": "linear", "lr_warmup_epochs": 5,
        },
    ),
    "imagenet_free": Recipe(
        FREE,
        {
            "dataset": "imagenet2012", "adversarial": "free", "replays": 4, "radius": 4 / 255, "norm": "linf", "epochs": 23,
            "batch_size": 256, "lr": 0.1, "schedule": "thirds", "momentum": 0.9, "weight_decay": 1e-4, "label_smoothing": 0.0,
            "auxiliary_weight": 0.0, "image_size": 224, "center_crop": 224 / 256, "crop_area": 0.08, "flip": True, "jitter": 0.0,
            "hue": 0.0, "clip": None, "held_out": 0.0,
        },
        {"clip": (5.0, "that of DARTS, whose networks are trained"), "held_out": (0.01, HELD_OUT["held_out"][1])},
    ),
    "imagenet_adversarial": Recipe(
        f"{FAST}; ImageNet/run_fast_4px.sh",
        {
            "dataset": "imagenet2012", "adversarial": "fast", "epochs": 15, "radius": 4 / 255, "norm": "linf", "momentum": 0.9,
            "weight_decay": 1e-4, "crop_area": 0.08, "flip": True, "image_size": (128, 224, 288), "clip": None, "held_out": 0.0,
        },
        {
            "image_size": (224, "one size, so that one program trains; theirs have rates for each"),
            "clip": (5.0, "that of DARTS, whose networks are trained"),
            "held_out": (0.01, HELD_OUT["held_out"][1]),
        },
    ),
    "cifar10_adversarial": Recipe(
        ADVRUSH,
        {
            "dataset": "cifar10", "cells": 20, "channels": 36, "adversarial": "pgd", "epochs": 200, "batch_size": 64, "lr": 0.1,
            "schedule": "steps", "momentum": 0.9, "weight_decay": 1e-4, "clip": 5.0, "auxiliary_weight": 0.0, "drop_path": 0.0,
            "cutout": 0, "attack_steps": 7, "radius": 0.031, "attack_step": 0.01 / 0.031, "norm": "linf", "held_out": 0.0,
            **CROPS,
        },
        {"radius": (8 / 255, "that of RobNet and of the paper"), "attack_step": (1 / 4, "2/255, that of RobNet"), **HELD_OUT},
    ),
    "cifar10_fast": Recipe(
        FAST,
        {
            "dataset": "cifar10", "adversarial": "fast", "epochs": 15, "batch_size": 128, "lr": 0.2, "schedule": "triangle",
            "momentum": 0.9, "weight_decay": 5e-4, "radius": 8 / 255, "norm": "linf", "collapse": 0.2, "clip": None,
            "attack_statistics": "batch", "held_out": 0.0, "cutout": 0, **CROPS,
        },
        {
            "clip": (5.0, "that of DARTS, whose networks are trained"),
            "attack_statistics": ("running", "as in all our attacks"),
            **HELD_OUT,
        },
    ),
}  # fmt: skip
