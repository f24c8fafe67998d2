"""Named configurations of a training; flags override their fields.

python -m experiments.train --preset=NAME --genotype=... [--data_dir=...] [--FIELD=VALUE ...]
"""

from dataclasses import replace

from dsrna_jax.runtime.options import changed
from dsrna_jax.training.config import TrainingConfig

# The handwritten digits, 8x8 pixels: minutes on two cores, most of them compilation.
DIGITS = TrainingConfig()

# Liu et al. 2019 (arXiv:1806.09055), section 3.2, with the batch and drop path of PC-DARTS and P-DARTS, as DSRNA has them.
CIFAR10 = TrainingConfig(
    dataset="cifar10",
    cells=20,
    channels=36,
    auxiliary_weight=0.4,
    drop_path=0.3,
    epochs=600,
    batch_size=128,
    lr=0.025,
    weight_decay=3e-4,
    crop_padding=4,
    flip=True,
    cutout=16,
    held_out=0.0,
)
# The paper trains on MNIST as on CIFAR-10; here without mirroring and crops, which change digits.
MNIST = replace(CIFAR10, dataset="mnist", crop_padding=0, flip=False, cutout=0)

# Liu et al. 2019, section 3.3, and cnn/train_imagenet.py: crops of 8 % of an image or more, and changes of colour.
IMAGENET = TrainingConfig(
    dataset="imagenet2012",
    image_size=224,
    cells=14,
    channels=48,
    start="imagenet",
    auxiliary_weight=0.4,
    label_smoothing=0.1,
    epochs=250,
    batch_size=128,
    lr=0.1,
    schedule="decay",
    weight_decay=3e-5,
    crop_area=0.08,
    center_crop=0.875,
    flip=True,
    jitter=0.4,
    hue=0.2,
    held_out=0.0,
)

# DSRNA, section 4.2.2: an annealed rate of 0.5. Batch, linear schedule and warm-up are those of PC-DARTS, which has that rate.
IMAGENET_DSRNA = replace(IMAGENET, batch_size=1024, lr=0.5, schedule="linear", lr_warmup_epochs=5)

# Shafahi et al. 2019 (arXiv:1904.12843), on ImageNet: 90 passes, as 23 epochs of 4 replays, within 4/255.
IMAGENET_FREE = replace(
    IMAGENET,
    adversarial="free",
    replays=4,
    radius=4 / 255,
    auxiliary_weight=0.0,
    label_smoothing=0.0,
    epochs=23,
    batch_size=256,
    schedule="thirds",
    weight_decay=1e-4,
    jitter=0.0,
    hue=0.0,
    held_out=0.01,
)
# Wong et al. 2020 (arXiv:2001.03994), on ImageNet: 15 epochs, one step of 5/255 within 4/255. Theirs grow the images from 128
# pixels to 288, by rates for each size; ours keep 224.
IMAGENET_ADVERSARIAL = changed(IMAGENET_FREE, adversarial="fast", epochs=15, lr=0.2, schedule="triangle")

# Mok et al. 2021 (AdvRush, arXiv:2108.01289), the usual recipe in the literature on robust search. PGD-7 within 8/255 in steps of
# 2/255, as in RobNet; the published code of AdvRush has 0.031 and 0.01.
CIFAR10_ADVERSARIAL = replace(
    CIFAR10,
    adversarial="pgd",
    auxiliary_weight=0.0,
    drop_path=0.0,
    cutout=0,
    epochs=200,
    batch_size=64,
    lr=0.1,
    schedule="steps",
    weight_decay=1e-4,
    held_out=0.02,
)
# Wong et al. 2020 (arXiv:2001.03994): one step of 1.25 radius from a random start. They do not clip the gradient.
CIFAR10_FAST = replace(
    CIFAR10_ADVERSARIAL, adversarial="fast", epochs=15, batch_size=128, lr=0.2, schedule="triangle", weight_decay=5e-4
)

# For two cores: small networks and few epochs.
MNIST_SHORT = replace(DIGITS, dataset="mnist", cells=5, channels=8, epochs=1, held_out=0.05, auxiliary_weight=0.0)
CIFAR10_SHORT = replace(
    DIGITS, dataset="cifar10", cells=5, channels=8, epochs=3, held_out=0.05, auxiliary_weight=0.0, crop_padding=4, flip=True
)
# The default with everything as small as possible.
SMOKE = replace(DIGITS, cells=3, channels=4, epochs=3, batch_size=256, auxiliary_weight=0.4, drop_path=0.2)

TRAINING_PRESETS = {
    "digits": DIGITS,
    "mnist_short": MNIST_SHORT,
    "cifar10_short": CIFAR10_SHORT,
    "cifar10": CIFAR10,
    "cifar10_adversarial": CIFAR10_ADVERSARIAL,
    "cifar10_fast": CIFAR10_FAST,
    "mnist": MNIST,
    "imagenet": IMAGENET,
    "imagenet_dsrna": IMAGENET_DSRNA,
    "imagenet_adversarial": IMAGENET_ADVERSARIAL,
    "imagenet_free": IMAGENET_FREE,
    "smoke": SMOKE,
}
