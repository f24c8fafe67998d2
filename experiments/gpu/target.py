"""The GPUs that programs are compiled for without having one."""

from importlib import resources

import jax
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from dsrna_jax.errors import InputError

OPTIONS = {"xla_gpu_autotune_level": 0}
"""Compiler options without a GPU: there is none to time candidates on."""


def mesh(count: int = 1) -> Mesh:
    """A mesh as `dsrna_jax.runtime.sharding.mesh` makes it, of H100s that are not there.

    Raises: InputError if JAX has no plugin for CUDA here.
    """
    description = (resources.files("experiments.gpu") / "h100.txtpb").read_text(encoding="utf-8")
    try:
        topology = topologies.get_topology_desc(platform="cuda", target_config=description, topology=f"1x1x{count}")
    except Exception as error:  # of the many types by which plugins say that they are absent
        raise InputError(f'JAX cannot compile for CUDA here ({error}): pip install "jax[cuda13]", or make gpu-compile') from None
    return jax.make_mesh((count,), ("data",), axis_types=(AxisType.Auto,), devices=topology.devices)
