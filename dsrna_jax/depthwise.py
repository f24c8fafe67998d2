"""Depthwise convolution of one image by many kernels, as a primitive whose derivatives stay fast on every platform.

XLA's own depthwise convolution is some twenty times slower on a CPU than a sum of shifted products, and autodiff of the
shifted sum is as slow again. The three arrays of a depthwise convolution are tied by one trilinear form

    sum  output[g, m, c] * kernel[g, m, c, tap] * image[g, c, shifted by tap]

and each of convolution, gradient by the image and gradient by the kernel contracts two of them to give the third. One
bilinear primitive with a `solve` parameter is thus closed under differentiation of any order and mode.

Shapes: image [group, channel, batch, height, width]; kernel [tap row, tap column, group, multiple, channel];
output [group, multiple, channel, batch, height', width'], where height' = ceil(height / stride).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def depthwise(image, kernel, *, stride: int = 1, dilation: int = 1):
    """Every channel of `image` convolved with its own kernels, zero padded by `dilation * (taps // 2)` on all sides.

    Equals `lax.conv_general_dilated` with `feature_group_count=channels` and symmetric padding (torch's convention).

    Args:
      image: [group, channel, batch, height, width].
      kernel: [taps, taps, group, multiple, channel], an odd number of taps; each image meets `multiple` kernels.
      stride: step of the output grid. dilation: distance between taps, in pixels.
    Returns: [group, multiple, channel, batch, ceil(height / stride), ceil(width / stride)].
    """
    if kernel.shape[0] % 2 == 0 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"kernel must be square with an odd number of taps, got {kernel.shape[:2]}")
    return depthwise_p.bind(
        image, kernel, solve="output", stride=stride, dilation=dilation, taps=kernel.shape[0], size=image.shape[-2:]
    )


def _shifted_sum(padded, kernel, dilation, size, stride=1):
    """sum over taps of kernel[tap] * padded shifted by tap: [..., *size]."""
    total = 0.0
    for row, column in np.ndindex(*kernel.shape[:2]):
        start = (row * dilation, column * dilation)
        window = padded[
            ...,
            start[0] : start[0] + size[0] : stride,
            start[1] : start[1] + size[1] : stride,
        ]
        total = total + window * kernel[row, column][..., None, None, None]
    return total


def _output(image, kernel, *, stride, dilation, taps, size):
    margin = dilation * (taps // 2)
    padded = jnp.pad(image[:, None], [(0, 0)] * 4 + [(margin, margin)] * 2)
    return _shifted_sum(padded, kernel, dilation, size, stride)


def _image(output, kernel, *, stride, dilation, taps, size):
    margin = dilation * (taps // 2)
    spread = [
        (margin, n + margin - 1 - stride * (m - 1), stride - 1) for n, m in zip(size, output.shape[-2:], strict=True)
    ]
    padded = lax.pad(output, jnp.zeros((), output.dtype), [(0, 0, 0)] * 4 + spread)
    flipped = kernel[::-1, ::-1]
    multiples = output.shape[1]
    if multiples == 1:
        return _shifted_sum(padded[:, 0], flipped[..., 0, :], dilation, size)

    # A loop, because XLA would otherwise fuse this sum into the shifts and leave vector code.
    def add(multiple, total):
        one, taps_of_one = (
            lax.dynamic_index_in_dim(a, multiple, axis, False) for a, axis in ((padded, 1), (flipped, 3))
        )
        return total + _shifted_sum(one, taps_of_one, dilation, size)

    zeros = jnp.zeros(output.shape[:1] + output.shape[2:4] + tuple(size), output.dtype)
    return lax.fori_loop(0, multiples, add, zeros)


def _kernel(image, output, *, stride, dilation, taps, size):
    """Correlates whole rows by one matrix product for all tap rows, then picks the diagonal of each tap column."""
    groups, channels, batch = image.shape[:3]
    multiples, height, width = output.shape[1], *output.shape[-2:]
    margin = dilation * (taps // 2)
    padded = jnp.pad(image, [(0, 0)] * 3 + [(margin, margin)] * 2)
    wide = padded.shape[-1]
    last = stride * (height - 1) + 1
    rows = jnp.stack([padded[..., i * dilation : i * dilation + last : stride, :] for i in range(taps)], axis=-2)
    products = jnp.einsum(
        "gcnp,gcnq->gcpq",
        rows.reshape(groups, channels, batch * height, taps * wide),
        jnp.moveaxis(output, 1, 4).reshape(groups, channels, batch * height, multiples * width),
    )
    column, position = np.ogrid[:taps, :width]
    diagonal = np.zeros((taps, wide, width))
    diagonal[column, position * stride + column * dilation, position] = 1
    products = products.reshape(groups, channels, taps, wide, multiples, width)
    return jnp.einsum("gcipmq,jpq->ijgmc", products, jnp.asarray(diagonal, image.dtype))


def _library_output(image, kernel, *, stride, dilation, taps, size):
    """The same by XLA's convolution, which is the quicker one on an accelerator."""
    groups, channels, batch = image.shape[:3]
    multiples, margin = kernel.shape[3], dilation * (taps // 2)
    flat = jnp.moveaxis(image, 2, 0).reshape(batch, groups * channels, *size)
    filters = jnp.transpose(kernel, (2, 4, 3, 0, 1)).reshape(groups * channels * multiples, 1, taps, taps)
    result = lax.conv_general_dilated(
        flat, filters, (stride, stride), [(margin, margin)] * 2,
        rhs_dilation=(dilation, dilation), feature_group_count=groups * channels,
    )  # fmt: skip
    result = result.reshape(batch, groups, channels, multiples, *result.shape[-2:])
    return jnp.transpose(result, (1, 3, 2, 0, 4, 5))


def _library_image(output, kernel, *, size, **grid):
    groups, _, channels, batch = output.shape[:4]
    image = jax.ShapeDtypeStruct((groups, channels, batch, *size), output.dtype)
    return jax.linear_transpose(lambda x: _library_output(x, kernel, size=size, **grid), image)(output)[0]


def _library_kernel(image, output, *, taps, **grid):
    kernel = jax.ShapeDtypeStruct((taps, taps, image.shape[0], output.shape[1], image.shape[1]), image.dtype)
    return jax.linear_transpose(lambda k: _library_output(image, k, taps=taps, **grid), kernel)(output)[0]


_SHIFTS = {"output": _output, "image": _image, "kernel": _kernel}
_LIBRARY = {"output": _library_output, "image": _library_image, "kernel": _library_kernel}


def _solved(first, second, *, solve, rules=_SHIFTS, **grid):
    return rules[solve](first, second, **grid)


def _abstract(first, second, **params):
    shapes = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (first, second))
    result = jax.eval_shape(functools.partial(_solved, rules=_LIBRARY, **params), *shapes)
    return jax.core.ShapedArray(result.shape, result.dtype)


# solve=       takes               transposed by the first        transposed by the second
# "output"     image, kernel       image(ct, kernel)              kernel(image, ct)
# "image"      output, kernel      output(ct, kernel)             kernel(ct, output)
# "kernel"     image, output       image(output, ct)              output(image, ct)
def _transpose_first(ct, _, second, *, solve, **grid):
    if solve == "kernel":
        return depthwise_p.bind(second, ct, solve="image", **grid)
    return depthwise_p.bind(ct, second, solve={"output": "image", "image": "output"}[solve], **grid)


def _transpose_second(ct, first, _, *, solve, **grid):
    if solve == "image":
        return depthwise_p.bind(ct, first, solve="kernel", **grid)
    return depthwise_p.bind(first, ct, solve={"output": "kernel", "kernel": "output"}[solve], **grid)


_CHANNEL_AXIS = {"image": 1, "output": 2, "kernel": 4}
_OPERANDS = {"output": ("image", "kernel"), "image": ("output", "kernel"), "kernel": ("image", "output")}
_BATCH_AXIS = {"image": 2, "output": 3}


def _batched(operands, axes, *, solve, **grid):
    """vmap: a mapped axis joins the batch where the kernel has none, and the channels where it has."""
    names, count = _OPERANDS[solve], next(o.shape[a] for o, a in zip(operands, axes, strict=True) if a is not None)
    by_batch = "kernel" in names and axes[1] is None
    into = _BATCH_AXIS if by_batch else _CHANNEL_AXIS

    def folded(name, operand, axis):
        if axis is None and by_batch:
            return operand
        operand = jnp.broadcast_to(operand, (count, *operand.shape)) if axis is None else jnp.moveaxis(operand, axis, 0)
        target = into[name]
        shape = list(operand.shape[1:])
        shape[target] *= count
        return jnp.moveaxis(operand, 0, target).reshape(shape)

    result = depthwise_p.bind(*map(folded, names, operands, axes), solve=solve, **grid)
    axis = into[solve]
    return result.reshape(*result.shape[:axis], count, -1, *result.shape[axis + 1 :]), axis


depthwise_p = Primitive("depthwise")
depthwise_p.def_impl(jax.jit(_solved, static_argnames=("solve", "stride", "dilation", "taps", "size")))
depthwise_p.def_abstract_eval(_abstract)
ad.defbilinear(depthwise_p, _transpose_first, _transpose_second)
batching.primitive_batchers[depthwise_p] = _batched
mlir.register_lowering(depthwise_p, mlir.lower_fun(_solved, multiple_results=False))
for _platform in ("cuda", "rocm"):
    mlir.register_lowering(
        depthwise_p,
        mlir.lower_fun(functools.partial(_solved, rules=_LIBRARY), multiple_results=False),
        platform=_platform,
    )
