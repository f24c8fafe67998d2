"""`jax.jit` for tiny programs that run once: XLA is to compile fast, not to make fast programs."""

import functools

import jax

OPTIONS = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": 1,
}
quick = functools.partial(jax.jit, compiler_options=OPTIONS)
