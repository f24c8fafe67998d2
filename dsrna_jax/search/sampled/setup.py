"""The setup of a sampled search: data, supernet and functions, from its configuration."""

from dsrna_jax.data import Dataset
from dsrna_jax.runtime.setup import RunSetup
from dsrna_jax.runtime.timetable import Timetable
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.sampled.step import SampledFunctions, sampled_functions
from dsrna_jax.search.setup import search_setup


class SampledSetup(RunSetup):
    """A sampled search that is ready to run: the supernet learns from "search_train", "search_val" judges the children."""

    config: SearchConfig
    functions: SampledFunctions

    @property
    def timetable(self) -> Timetable:
        """The epochs of the supernet, then the rounds of the strategy, whose steps are children."""
        config = self.config
        return Timetable(((config.epochs, self.steps_per_epoch), (config.children // config.round_size, config.round_size)))

    @property
    def summary(self) -> str:
        """The data, and the number of images in each part, in a line."""
        train, val = (len(self.parts[name]) for name in ("search_train", "search_val"))
        return f"{self.config.dataset}: {len(self.dataset)} images, {train} for the supernet, {val} to judge children"


def sampled_setup(config: SearchConfig, published: Dataset | None = None) -> SampledSetup:
    """The setup of a sampled search; arguments and errors are those of `search_setup`."""
    return search_setup(config, published, sampled_functions, SampledSetup)
