"""Options of images, which searches and trainings share: where they come from, and how they are augmented."""

import dataclasses
from typing import Any, ClassVar

from dsrna_jax.runtime.options import option

# How images enter a network, for the searches' and the trainings' option `start`.
STARTS = ("cifar", "cifar_halved", "imagenet", "imagenet_wide")
STARTS_SAY = "images enter at full size (cifar), half (cifar_halved) or an eighth of the side (imagenet, imagenet_wide)"
_LOADING = ("auto", "memory", "stream")


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """The data set of a configuration, and the augmentation of its training images."""

    section: ClassVar[str] = "images"

    dataset: str = option(
        "digits",
        "digits, a tfds name such as mnist or cifar10[:10%], folder:PATH with one folder a class, or shards:PATH with tar files",
        in_programs="none",
    )
    data_dir: str = option("", "prepared tfds folder", in_programs="none")
    examples: int = option(0, "most training images that are used; 0 for all", "[0, 1e9]", before=0, in_programs="none")
    image_size: int = option(0, "side to which images are resized; 0 keeps theirs", "[0, 65536]")
    center_crop: float = option(
        0.0,
        "share of the shorter side that evaluated images keep, as a square (0.875: of 256 pixels, 224); 0 squeezes all of them",
        "[0, 1]",
        before=0.0,
        in_programs="none",
    )
    loading: str = option(
        "auto", "images in memory, or streamed; auto streams what exceeds 8 GiB", _LOADING, before="auto", in_programs="none"
    )
    workers: int = option(0, "processes that decode a stream; 0 for threads", "[0, 1024]", before=0, in_programs="none")
    crop_area: float = option(
        1.0,
        "least share of the area that a random crop at random scale has; 1 for no such crop",
        "(0, 1]",
        before=1.0,
        in_programs="none",
    )
    crop_padding: int = option(0, "pixels of the random crop's padding", "[0, 1024]")
    flip: bool = option(False, "mirror images at random")
    jitter: float = option(0.0, "largest relative change of brightness, contrast and saturation", "[0, 1]", before=0.0)
    hue: float = option(0.0, "largest turn of the hue, as a share of the circle", "[0, 0.5]", before=0.0)
    lighting: float = option(0.0, "standard deviation of noise along the colours of ImageNet (0.1)", "[0, 10]", before=0.0)
    cutout: int = option(0, "side of the cutout square in pixels; 0 for none", "[0, 65536]")

    @property
    def augmentation(self) -> dict[str, Any]:
        """The options of `data.augment.augmented`; random crops at random scale are cut where images are decoded."""
        names = ("crop_padding", "flip", "jitter", "hue", "lighting", "cutout")
        return {name: getattr(self, name) for name in names}
