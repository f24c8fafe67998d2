"""Stems, which map images to the inputs of the first cell, and the auxiliary head."""

from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from dsrna_jax.errors import InputError
from dsrna_jax.kernels.depthwise import square_taps
from dsrna_jax.kernels.mixed_precision import wide
from dsrna_jax.kernels.pointwise import pointwise
from dsrna_jax.networks.layers import BatchNorm, Images, Map, Statistics, shifted, torch_uniform
from dsrna_jax.networks.shifts import shift


def _convolved(module, name, x, channels, stride):
    """3×3 convolution as one matrix product, whose derivatives and bounds are fast too."""
    kernel = module.param(name, torch_uniform(9 * len(x)), (3, 3, len(x), channels))
    return pointwise(shifted(x, square_taps(3), (stride, stride)), kernel.reshape(-1, channels).T)


class CifarStem(nn.Module):
    """3×3 convolution to three times the channels and batch norm, at full size; the first cell reads the map twice (DARTS).

    scales: how many times the sides of the two maps go into the image's.
    """

    channels: int
    scales: ClassVar[tuple[int, int]] = (1, 1)

    @nn.compact
    def __call__(self, x: Images, statistics: Statistics) -> tuple[Map, Map]:
        """The two maps that the first cell reads."""
        x = _convolved(self, "kernel", jnp.moveaxis(x, -1, 0), 3 * self.channels, self.scales[0])
        x = BatchNorm(affine=True, name="norm")(x, statistics)
        return x, x

    @staticmethod
    def widths(channels: int) -> tuple[int, int]:
        """Channels of the two maps."""
        return 3 * channels, 3 * channels

    @classmethod
    def multiply_adds(cls, colours: int, width: int, pixels: Callable[[int], int]) -> int:
        """Multiply-adds for one image, from the channels of the maps, and the pixels at each scale."""
        return 9 * colours * width * pixels(cls.scales[0])


class HalvedCifarStem(CifarStem):
    """The stem for CIFAR-10 with a convolution of stride 2, for networks that cost a quarter."""

    scales: ClassVar[tuple[int, int]] = (2, 2)


class ImagenetStem(nn.Module):
    """Three 3×3 convolutions of stride 2: the first map has a quarter of the image's side, the second an eighth (DARTS)."""

    channels: int
    scales: ClassVar[tuple[int, int]] = (4, 8)

    @nn.compact
    def __call__(self, x: Images, statistics: Statistics) -> tuple[Map, Map]:
        """The two maps that the first cell reads."""
        width, _ = self.widths(self.channels)
        x = _convolved(self, "kernel_0", jnp.moveaxis(x, -1, 0), width // 2, 2)
        x = nn.relu(BatchNorm(affine=True, name="norm_0")(x, statistics))
        before = _convolved(self, "kernel_1", x, width, 2)
        before = BatchNorm(affine=True, name="norm_1")(before, statistics)
        last = _convolved(self, "kernel_2", nn.relu(before), width, 2)
        return before, BatchNorm(affine=True, name="norm_2")(last, statistics)

    @staticmethod
    def widths(channels: int) -> tuple[int, int]:
        """Channels of the two maps."""
        return channels, channels

    @classmethod
    def multiply_adds(cls, colours: int, width: int, pixels: Callable[[int], int]) -> int:
        """Multiply-adds for one image, as for `CifarStem`."""
        between = width // 2
        return 9 * (colours * between * pixels(2) + between * width * pixels(4) + width * width * pixels(8))


class WideImagenetStem(ImagenetStem):
    """The stem of PC-DARTS's search on ImageNet, with three times the channels of the first cell (arXiv:1907.05737)."""

    @staticmethod
    def widths(channels: int) -> tuple[int, int]:
        """Channels of the two maps."""
        return 3 * channels, 3 * channels


STEMS = {"cifar": CifarStem, "cifar_halved": HalvedCifarStem, "imagenet": ImagenetStem, "imagenet_wide": WideImagenetStem}
LEAST_SIDE = {name: 4 * stem.scales[1] for name, stem in STEMS.items()}  # pixels of images, which two reductions halve after it


class AuxiliaryHead(nn.Module):
    """Average pool to 2×2, 1×1 convolution to 128, 2×2 convolution to 768, dense layer; each after a ReLU, batch norms between.

    The pool's windows have 5 pixels a side and end at the border, as in DARTS for maps of 8×8 (stride 3) and 7×7 (stride 2);
    other sizes are allowed. DARTS's code omits the second batch norm for ImageNet, and calls that a typo; here it is in place.
    It computes in float32 or wider.
    """

    classes: int

    @nn.compact
    def __call__(self, x: Map, statistics: Statistics) -> Float[Array, "batch class"]:
        """Logits of the auxiliary head. Raises: InputError if the map is of less than 2x2 pixels."""
        if min(x.shape[-2:]) < 2:
            raise InputError(
                f"the auxiliary head needs a map of at least 2x2 pixels after the second reduction, got {x.shape[-2:]}: "
                "give auxiliary_weight=0 or larger images"
            )
        x = wide(x)
        x = jnp.einsum("cbhw,hi,wj->cbij", nn.relu(x), _ends(x.shape[-2], x.dtype), _ends(x.shape[-1], x.dtype))
        kernel = self.param("kernel_0", torch_uniform(x.shape[0]), (128, x.shape[0]))
        x = nn.relu(BatchNorm(affine=True, name="norm_0")(jnp.einsum("dc,cbij->dbij", kernel, x), statistics))
        kernel = self.param("kernel_1", torch_uniform(4 * 128), (768, 128, 2, 2))
        x = jnp.einsum("dcij,cbij->db", kernel, x)[..., None, None]
        x = nn.relu(BatchNorm(affine=True, name="norm_1")(x, statistics))[..., 0, 0]
        kernel = self.param("kernel_2", torch_uniform(768), (self.classes, 768))
        return jnp.einsum("db,kd->bk", x, kernel) + jnp.expand_dims(shift(self, torch_uniform(768), (self.classes,)), 0)


def _ends(size: int, dtype):
    """[size, 2]: averages the first and the last pixels of a line: 5 or, if that is more, half of them, but not all."""
    window = min(max(5, -(-size // 2)), size - 1)
    position = jnp.arange(size)
    return jnp.stack([position < window, position >= size - window], axis=1).astype(dtype) / window
