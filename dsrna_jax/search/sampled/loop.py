"""A sampled search between two steps: what it does in a step, records of an epoch or a round, and leaves at its end."""

from typing import Any, NamedTuple

import jax
import numpy as np

from dsrna_jax import genotypes
from dsrna_jax.genotypes import Genotype, RobNet
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.compilation import initial_state
from dsrna_jax.runtime.loop import RunLoop
from dsrna_jax.search.optimizers import weight_rate
from dsrna_jax.search.options.sampled import front_objectives, objectives_of
from dsrna_jax.search.sampled.folder import SampledFolder
from dsrna_jax.search.sampled.programs import MOVED, SampledPrograms, arguments, sampled_programs
from dsrna_jax.search.sampled.setup import SampledSetup


class Best(NamedTuple):
    """The child with the highest reward so far, the first of several."""

    reward: float
    child: int
    code: list[int]


class SampledLoop(RunLoop):
    """The state of a sampled search between two steps: of the supernet, then one step for each child."""

    setup: SampledSetup
    folder: SampledFolder
    programs: SampledPrograms
    best: Best | None
    remedy = "start anew with a smaller weight_lr"

    def uncompiled(self) -> tuple[SampledPrograms, dict[str, tuple]]:
        return sampled_programs(self.setup.functions), arguments(self.setup, self.mesh)

    def begin(self) -> None:
        functions = self.setup.functions.given((0.0,), (1.0,), {})  # initial weights do not depend on them
        self.state, self.best = initial_state(functions.init, self.config.seed, self.mesh), None

    def resume(self, metadata: dict[str, Any]) -> None:
        self.best = Best(*metadata["best"]) if "best" in metadata else None
        if self.best is not None:
            self.folder.write_genotype(self.genotype)

    @property
    def genotype(self) -> Genotype | RobNet:
        """The architecture of the best child."""
        assert self.best is not None, "no child has been tried yet"
        return self.setup.functions.coding.architecture(self.best.code)

    def child(self, step: int) -> int:
        """The number, from 0, of the child that is tried in step `step` (from 0); negative in the epochs of the supernet."""
        return step - self.config.epochs * self.setup.steps_per_epoch

    def needed(self, step: int) -> dict[str, Any]:
        programs = self.programs
        if self.child(step) < 0:
            return {"weight step": programs.weight_step}
        needed = {"proposal": programs.propose_step, "judgement": programs.judge, "record": programs.record_step}
        return needed | ({"step of a child": programs.tune} if self.config.fine_tune_steps else {})

    def take_step(self) -> dict[str, Any]:
        if (child := self.child(self.step)) < 0:
            weight_step, train = self.programs.weight_step.result(), self.feed.batch("search_train", self.step)
            self.state, metrics = weight_step(self.state, self.data, train, self.key)
            return metrics
        row = child % self.config.round_size
        if row == 0:
            first = self.feed.batch("search_val", 0, cycle=1)
            (self.state,) = self.programs.propose_step.result()(self.state, self.data, first, self.key)
        number, kept = self._everywhere(np.int32(row)), self.state
        try:
            self.state = self._tuned(number)
            sums = self.sums_over("search_val", self.programs.judge.result(), number, self.key, again=True)
        finally:
            self.state = kept
        values = np.array(sums, np.float32) / np.float32(len(self.setup.parts["search_val"]))
        (self.state,) = self.programs.record_step.result()(self.state, number, self._everywhere(values))
        return dict(zip(objectives_of(self.config), values, strict=True))

    def _tuned(self, number: jax.Array) -> Any:
        """The state in which child `number` of the round has learnt by itself; every child meets the same batches."""
        state, steps = self.state, self.config.fine_tune_steps
        for count in range(steps):
            train, counted = self.feed.batch("search_train", count, cycle=steps), self._everywhere(np.int32(count))
            moved = self.programs.tune.result()(state, self.data, train, number, counted, self.key)
            parts = {name: jax.tree.unflatten(jax.tree.structure(getattr(state, name)), moved[name]) for name in MOVED}
            state = state.replace(**parts)
        return state

    def end_epoch(self, epoch: int, means: dict[str, float]) -> dict[str, Any]:
        if epoch <= self.config.epochs:
            names = ("train_loss", "train_accuracy", "weight_gradient")
            return {"learning_rate": float(weight_rate(self.config, epoch - 1))} | {name: means[name] for name in names}
        weights, first = objectives_of(self.config), self.child(self.step) - self.config.round_size
        codes, values = jax.device_get((self.state.codes, self.state.values))
        rewards = []
        for number, (code, of_child) in enumerate(zip(codes.tolist(), values.tolist(), strict=True), first + 1):
            objectives = dict(zip(weights, of_child, strict=True))
            rewards.append(sum(weights[name] * value for name, value in objectives.items()))
            row = {"child": number, "epoch": epoch, "step": self.step, "code": code, **objectives, "reward": rewards[-1]}
            self.folder.children.write(row)
            is_whole = min(code) >= 0  # cells that grow are no architecture before
            if is_whole and (self.best is None or rewards[-1] > self.best.reward):
                self.best = Best(rewards[-1], number, code)
        row = {**means, "mean_reward": sum(rewards) / len(rewards)}
        if self.best is None:
            return row
        self.folder.write_genotype(self.genotype)
        return row | {"best_reward": self.best.reward, "best_child": self.best.child}

    def draw(self) -> None:
        """Nothing: the pictures of children are drawn when all are known."""

    def conclude(self) -> None:
        """Draws the pictures and writes the front and the page of the search that has ended."""
        assert self.best is not None
        self.folder.draw(self.genotype, self.config, self.best.child)
        if self.config.objectives:
            self.folder.write_front(front_objectives(self.config.objectives), self.setup.functions.coding)
        self.folder.write_page(f"ended; child {self.best.child} has the highest reward, {self.best.reward:.4g}")

    def metadata(self) -> dict[str, Any]:
        if self.best is None:
            return {}
        return {"genotype": genotypes.to_json(self.genotype), "best": list(self.best)}

    def columns(self, means: dict[str, float]) -> dict[str, Any]:
        return {
            "loss": means.get("train_loss"),
            "train_acc": means.get("train_accuracy"),
            "children": f"{max(0, self.child(self.step))}/{self.config.children}",
            "best_reward": None if self.best is None else self.best.reward,
            **{f"mean_{name}": means[name] for name in objectives_of(self.config) if name in means},
        }

    def _everywhere(self, value: np.ndarray | np.int32) -> jax.Array:
        return sharding.placed(np.asarray(value), sharding.replicated(self.mesh))
