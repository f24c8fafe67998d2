"""A checkpoint is restored bit for bit or not at all, and whatever happens to the newest, the one before is there."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_states import METADATA, abstract, assert_same, search_state
from orbax.checkpoint import v1 as ocp

from dsrna_jax.errors import InputError
from dsrna_jax.runtime import checkpoint
from dsrna_jax.runtime.checkpoint import Checkpoints, restore_for_eval
from dsrna_jax.runtime.processes import Processes


def test_restored_equals_saved_bit_for_bit(saved):
    step, state, metadata, skipped = saved.latest(abstract(search_state()))
    assert (step, metadata, skipped) == (2, METADATA | {"seed": 2}, [])
    assert_same(state, search_state(2))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))


def test_concrete_state_serves_as_abstract_state(saved):
    assert_same(saved.latest(search_state(7)).state, search_state(2))


def test_folder_without_checkpoints_has_no_latest_and_is_not_created(tmp_path):
    assert Checkpoints(tmp_path / "new").latest(abstract(search_state())) is None
    assert not (tmp_path / "new").exists()


def test_every_save_lands_and_newest_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (0, 3, 4, 10):
        checkpoints.save(step, {"w": jnp.float32(step)}, {})
        assert checkpoints.steps[-1] == step
        assert checkpoints.latest({"w": jnp.float32(0)}).state["w"] == step
    assert checkpoints.steps == [4, 10]
    assert {entry.name for entry in tmp_path.iterdir()} == {"4", "10"}


def test_saving_a_step_again_replaces_it(saved):
    saved.save(2, search_state(5), {})
    assert saved.steps == [1, 2]
    assert_same(saved.latest(abstract(search_state())).state, search_state(5))


def test_plain_orbax_opens_it(saved):
    loaded = ocp.load(saved.folder / "2")
    np.testing.assert_array_equal(loaded["alphas"]["normal"], search_state(2).alphas["normal"])
    assert ocp.metadata(saved.folder / "2").custom_metadata == {"step": 2, "metadata": METADATA | {"seed": 2}}


class Second(Processes):
    """Process 1 of 2, where process 0 has found what it looked for."""

    index, count = 1, 2

    def gathered(self, value):
        return ["", value]


def test_a_folder_that_the_processes_of_a_run_do_not_share_is_refused_before_anything_is_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "current", Second)
    with pytest.raises(InputError, match=f"process 1 of 2 on .*: {tmp_path} is not the folder of process 0"):
        Checkpoints(tmp_path / "checkpoints").try_out()
    assert not list(tmp_path.iterdir())


# Damage


def damages(path: Path):
    """Each file of a checkpoint halved, deleted, and with one bit flipped; the sums also cut at every line."""
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        whole = file.read_bytes()
        broken = {"deleted": None}
        if whole:
            middle = len(whole) // 2
            broken["halved"] = whole[:middle]
            broken["flipped"] = whole[:middle] + bytes([whole[middle] ^ 0x80]) + whole[middle + 1 :]
        if file.name == "SHA256SUMS":
            lines = whole.splitlines(keepends=True)
            broken |= {f"cut to {n} lines": b"".join(lines[:n]) for n in range(len(lines))}
        for how, content in broken.items():
            file.unlink()
            if content is not None:
                file.write_bytes(content)
            yield f"{file.relative_to(path)} {how}"
            file.write_bytes(whole)


def test_any_damage_to_the_newest_falls_back_to_the_one_before(saved, capfd):
    wanted, seen = abstract(search_state()), 0
    for damage in damages(saved.folder / "2"):
        step, state, metadata, skipped = saved.latest(wanted)
        assert (step, metadata["seed"], len(skipped)) == (1, 1, 1), damage
        assert skipped[0].startswith("skipped the checkpoint of step 2: ") and "\n" not in skipped[0], damage
        if seen % 10 == 0:
            assert_same(state, search_state(1))
        seen += 1
    assert seen > 30
    assert saved.latest(wanted).step == 2  # the damage is undone
    assert capfd.readouterr() == ("", "")


def test_all_damaged_is_one_line_that_names_each(saved):
    (saved.folder / "1" / "_CHECKPOINT_METADATA").unlink()
    (saved.folder / "2" / "state" / "manifest.ocdbt").write_bytes(b"")
    with pytest.raises(InputError) as error:
        saved.latest(abstract(search_state()))
    message = str(error.value)
    assert "\n" not in message
    assert "step 1: _CHECKPOINT_METADATA: No such file" in message
    assert "step 2: state/manifest.ocdbt is not as it was written" in message


def test_damaged_later_step_does_not_count_among_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(9, {"w": jnp.float32(9)}, {})
    (tmp_path / "9" / "state" / "manifest.ocdbt").unlink()
    for step in (5, 6):
        checkpoints.save(step, {"w": jnp.float32(step)}, {})
    assert checkpoints.latest({"w": jnp.float32(0)}).step == 6
    checkpoints.save(9, {"w": jnp.float32(90)}, {})
    assert checkpoints.latest({"w": jnp.float32(0)}).state["w"] == 90
    assert checkpoints.steps == [9]


@pytest.mark.parametrize("change", ["shape", "dtype", "missing", "extra"])
def test_other_configuration_says_which_array_differs(saved, change):
    state = search_state()
    alphas = {
        "shape": {"normal": jnp.zeros((14, 7))},
        "dtype": {"normal": jnp.zeros((14, 8), jnp.int32)},
        "missing": {},
        "extra": state.alphas | {"reduction": jnp.zeros(3)},
    }[change]
    name = "alphas/reduction" if change == "extra" else "alphas/normal"
    with pytest.raises(InputError, match=rf"another configuration: {name} is .*, expected .*; resume with"):
        saved.latest(state._replace(alphas=alphas))


# Evaluation


def test_evaluation_needs_only_a_path_and_gets_no_optimizer(saved):
    run_folder = saved.folder.parent
    for path in (run_folder, saved.folder, saved.folder / "2", str(run_folder)):
        step, metadata, variables = restore_for_eval(path)
        assert (step, metadata) == checkpoint.metadata(path) == (2, METADATA | {"seed": 2})
        assert set(variables) == {"weights", "batch_stats", "alphas"}
        assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(variables))
        np.testing.assert_array_equal(variables["alphas"]["normal"], search_state(2).alphas["normal"])
    assert restore_for_eval(saved.folder / "1").step == 1


def test_evaluation_takes_a_copy_under_another_name(saved):
    (saved.folder / "1").rename(saved.folder.parent / "best")
    assert restore_for_eval(saved.folder.parent / "best").step == 1


def test_state_without_alphas_has_none(tmp_path):
    Checkpoints(tmp_path).save(4, {"weights": {"w": jnp.ones(2)}, "optimizer": jnp.ones(2)}, {})
    assert set(restore_for_eval(tmp_path).variables) == {"weights"}


def test_evaluation_of_what_is_no_usable_checkpoint_says_why(saved, tmp_path):
    with pytest.raises(InputError, match="no checkpoint in .*nowhere: expected a run folder, its checkpoints"):
        restore_for_eval(tmp_path / "nowhere")
    (saved.folder / "2" / "_CHECKPOINT_METADATA").write_text("")
    with pytest.raises(InputError, match="2 is damaged: _CHECKPOINT_METADATA .* name the folder of another.*1"):
        restore_for_eval(tmp_path)
    assert restore_for_eval(saved.folder / "1").step == 1
    Checkpoints(tmp_path / "other").save(1, {"params": jnp.ones(2)}, {})
    with pytest.raises(InputError, match="holds params: expected weights among them"):
        restore_for_eval(tmp_path / "other")
