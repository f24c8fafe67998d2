"""Every sampled search with every robustness measure: R of a child has a value for each image, or one line refuses the pair."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.errors import InputError
from dsrna_jax.measures import MEASURES, MeasureModule
from dsrna_jax.search.sampled.setup import sampled_network
from dsrna_jax.search.sampled.step import sampled_functions
from dsrna_jax.search.setup import draws_paths
from dsrna_jax.search.state import SearchBatch

SHAPE, COUNT = (8, 8, 1), 3
CHANGES = {"reward": "accuracy+robustness", "channels": 8, "nodes": 1}
METHODS = sorted(name for name, config in PRESETS.items() if config.strategy != "gradient")
MEASURED = sorted({*MEASURES} - {"none"})
# Children of the same space and kind of codes are judged by the same program, whoever proposes them.
JUDGED = {
    (config.space, config.cell_free): name for name, config in PRESETS.items() if name in METHODS and config.dataset == "digits"
}


def is_refused(name, metric):
    return metric == "certified" and PRESETS[name].cell_free


@pytest.mark.parametrize("metric", MEASURED)
def test_every_method_takes_every_measure_but_for_free_codes_which_have_no_bounds(metric):
    for name in METHODS:
        if is_refused(name, metric):
            with pytest.raises(InputError, match="needs a code that all cells share and no FSP distance") as error:
                dataclasses.replace(PRESETS[name], **CHANGES, metric=metric)
            assert "\n" not in str(error.value)
        else:
            dataclasses.replace(PRESETS[name], **CHANGES, metric=metric)


def test_a_measure_of_ones_own_is_taken_by_its_record_not_by_its_name(monkeypatch):
    monkeypatch.setitem(MEASURES, "mine", MeasureModule("mine", bounds_stages=True))
    monkeypatch.setitem(MEASURES, "nothing", MeasureModule("nothing", is_zero=True))
    with pytest.raises(InputError, match="^metric=mine needs a code that all cells share"):
        dataclasses.replace(PRESETS["digits_robnet_free"], **CHANGES, metric="mine")
    with pytest.raises(InputError, match="^metric_unit='margin' changes no radius"):
        dataclasses.replace(PRESETS["digits_dsrna_cb"], metric="mine", certificate="radius", metric_unit="margin")
    with pytest.raises(InputError, match="^robustness needs a measure R"):
        dataclasses.replace(PRESETS["digits_random"], **CHANGES, metric="nothing")
    drawn = [
        draws_paths(dataclasses.replace(PRESETS["digits_gdas"], metric=metric)) for metric in ("mine", "certified", "nothing")
    ]
    assert drawn == [False, False, True]


@pytest.mark.parametrize(
    ("name", "metric"), [(name, metric) for name in JUDGED.values() for metric in MEASURED if not is_refused(name, metric)]
)
def test_children_of_every_kind_are_judged_by_every_measure(name, metric):
    """Traced, not run; whole searches are in the slow tests."""
    config = dataclasses.replace(PRESETS[name], **CHANGES, metric=metric)
    functions = sampled_functions(config, sampled_network(config, SHAPE, 10, (0.5,), (0.25,)), SHAPE, 3)
    key, batch = jax.random.key(0), SearchBatch(jnp.zeros((COUNT, *SHAPE)), jnp.zeros(COUNT, int))
    values = jax.eval_shape(lambda: functions.judge(functions.init(key), jnp.int32(0), batch, key))
    assert [value.shape for value in values] == [(COUNT,)] * 2
