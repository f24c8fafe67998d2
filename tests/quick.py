"""`jax.jit` for tiny programs that run once: XLA is to compile fast, not to make fast programs."""

import functools

import jax

quick = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)
