"""The preset `smoke` with few operations: resumed, disturbed at a step, and compared with a run that nobody disturbed."""

import dataclasses
import io

import jax
import numpy as np

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.runtime.checkpoint import Checkpoints
from dsrna_jax.search.loop import SearchLoop
from dsrna_jax.search.run import run

FEW = "04,15;26,37"  # the `operations` of a search that compiles little: two an edge, and each of the space on one of them
SMOKE = dataclasses.replace(PRESETS["smoke"], operations=FEW)


def go_on(path, **options):
    """Resumes the run in `path`; what it said."""
    said = io.StringIO()
    run(SMOKE, path, resume=True, devices=1, file=said, **options)
    return said.getvalue()


def assert_same_end(path, unbroken):
    for name in ("metrics.jsonl", "alphas.jsonl", "genotype.json", "config.json"):
        assert (path / name).read_bytes() == (unbroken / name).read_bytes(), name
    ends = [restore_arrays(folder) for folder in (path, unbroken)]
    assert ends[0].keys() == ends[1].keys()
    for name, array in ends[0].items():
        assert array.tobytes() == ends[1][name].tobytes(), name


def restore_arrays(path, folder="checkpoints"):
    """All arrays of the newest checkpoint, optimisers' too."""
    from orbax.checkpoint import v1 as ocp

    newest = path / folder / str(Checkpoints(path / folder).steps[-1])
    leaves, _ = jax.tree_util.tree_flatten_with_path(ocp.load(newest))
    return {jax.tree_util.keystr(where): np.asarray(leaf) for where, leaf in leaves}


def at_step(monkeypatch, step, action, kind=SearchLoop):
    """Lets `action(loop)` happen just before step number `step` (from 0) is taken by a loop of that kind."""
    take_step = kind.take_step

    def with_action(loop):
        if loop.step == step:
            action(loop)
        return take_step(loop)

    monkeypatch.setattr(kind, "take_step", with_action)
