"""Complex numbers on the way, as of Fourier layers: sound, tight where f is affine, and f itself at radius 0."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from quick import quick

from dsrna_jax import bounds

RNG = np.random.default_rng(0)
C = RNG.normal(size=(4, 4)) + 1j * RNG.normal(size=(4, 4))
X = RNG.normal(size=(2, 4))
MASK = np.array([[True, False, True, True]])
fft = jnp.fft.fft


def spectral(x):
    """A layer of a Fourier neural operator (Li et al. 2021, arXiv:2010.08895)."""
    modes = jnp.einsum("bi,ij->bj", jnp.fft.rfft(x)[:, :2], C[:2, :2])
    return jnp.fft.irfft(jnp.zeros((len(x), 3), C.dtype).at[:, :2].set(modes), 4)


AFFINE = {
    "spectral": spectral,
    "dot": lambda x: -(fft(x) @ C),
    "concatenate": lambda x: jnp.concatenate([fft(x), C[:1] * jnp.ones((len(x), 1))], 1),
    "stack": lambda x: jnp.stack([fft(x), -x * C[:1]], 1).reshape(len(x), -1),
    "select_n": lambda x: jnp.where(MASK, fft(x), C[:1]),
    "div by n": lambda x: fft(x).mean(1, keepdims=True),
    "div": lambda x: -fft(x) / C[:1],
    "complex": lambda x: lax.complex(x, jnp.broadcast_to(jnp.asarray(C[:1].real), x.shape)) * (1 + 2j),
    "shift": lambda x: jnp.fft.fftshift(fft(x), axes=1)[:, ::2],
}
OTHERS = {
    "select_n by x": lambda x: jnp.where(x > 0, fft(x), -C[:1]),
    "select_n of constants": lambda x: jnp.where(x > 0, C[:1], 1j),
    "square": lambda x: jnp.square(fft(x)) - fft(-x) ** 2 / 2,
    "div by a real": lambda x: fft(x) / (1 + x * x),
    "div by a complex": lambda x: C[:1] / (fft(-x) + (20 + 5j)),
    "log": lambda x: jnp.log(fft(x) - (20 + 5j)),
    "sqrt": lambda x: jnp.sqrt(fft(x) + (20 + 5j)) + jnp.sqrt(fft(x) - (20 + 5j)),
    "dot of two": lambda x: jnp.einsum("bi,bi->b", fft(x), fft(-x))[:, None],
}


def everything(x):
    """The real and imaginary parts of all functions, the affine ones first."""
    values = [f(x) for f in (AFFINE | OTHERS).values()]
    return jnp.concatenate([part for v in values for part in (v.real, v.imag)], 1)


def test_complex_numbers_are_bounded_by_their_parts():
    with jax.enable_x64(True):
        corners = X + 0.1 * np.array(list(itertools.product([-1, 1], repeat=4)))[:, None]
        values = np.asarray(quick(everything)(corners.reshape(-1, 4))).reshape(16, 2, -1)
        compute = quick(lambda x, r: (*bounds.bound(everything, x, radius=r, method="ibp"), everything(x)))
        lower, upper, _ = map(np.asarray, compute(X, 0.1))
        at_point = list(map(np.asarray, compute(X, 0.0)))
        affine = 2 * sum(jax.eval_shape(f, X).shape[1] for f in AFFINE.values())
    assert (lower <= values.min(0) + 1e-12).all() and (values.max(0) - 1e-12 <= upper).all()
    assert np.isfinite([lower, upper]).all()
    assert (upper - lower)[:, :affine].sum() < 3 * np.ptp(values, 0)[:, :affine].sum()
    np.testing.assert_array_equal(at_point[0], at_point[1])
    np.testing.assert_allclose(at_point[0], at_point[2], rtol=1e-14, atol=1e-14)
