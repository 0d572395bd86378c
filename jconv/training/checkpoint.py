"""Checkpoints of training: the last two and the best, each written whole or not at all."""

import os
import warnings
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy as preservation

from jconv.training.step import State


class Checkpoints:
    """Those of one run, in a folder.

    Each holds a `State`, what JSON can hold besides (the position in the data, the history), and
    the score by which the best is kept. Two last ones are kept so that there is one to go back to
    where the last cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        best = preservation.BestN(get_metric_fn=lambda metrics: metrics["score"], n=1)
        policy = preservation.AnyPreservationPolicy([preservation.LatestN(2), best])
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy, enable_async_checkpointing=False
        )
        return ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        return sorted(self.manager.all_steps())

    def save(self, step: int, state: State, notes: dict[str, Any], score: float) -> None:
        if step in self.manager.all_steps():
            return
        noted = ocp.args.JsonSave({**notes, "score": score})
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), notes=noted)
        self.manager.save(step, args=items, metrics={"score": score}, force=True)

    def restore(self, like: State) -> tuple[State, dict[str, Any]] | None:
        """The newest state that can be read, shaped and placed as `like`, and its notes.

        One that cannot be read is set aside, with a warning; None if there is none to be read.
        """
        for step in reversed(self.steps()):
            try:
                return self._read(step, like)
            except Exception as error:  # whatever a damaged file makes of its reader
                aside = self.folder / f"damaged-{step}"
                warnings.warn(
                    f"the checkpoint of step {step} in '{self.folder}' cannot be read "
                    f"({_line(error)}): it is now '{aside.name}', and the one before is used",
                    stacklevel=2,
                )
                if jax.process_index() == 0:
                    os.rename(self.folder / str(step), aside)
                self.manager.close()
                self.manager = self._open()
        return None

    def best(self, like: State) -> tuple[State, dict[str, Any]]:
        """The state with the highest score."""
        scores = {step: self._notes(step)["score"] for step in self.steps()}
        return self._read(max(scores, key=lambda step: (scores[step], step)), like)

    def _notes(self, step: int) -> dict[str, Any]:
        found = self.manager.restore(step, args=ocp.args.Composite(notes=ocp.args.JsonRestore()))
        return dict(found.notes)

    def _read(self, step: int, like: State) -> tuple[State, dict[str, Any]]:
        def shape(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)

        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(jax.tree.map(shape, like)), notes=ocp.args.JsonRestore()
        )
        found = self.manager.restore(step, args=items)
        return found.state, found.notes

    def close(self) -> None:
        self.manager.close()


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
