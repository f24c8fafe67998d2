"""Run folders with results that no run computed, for tests of the comparison."""

import dataclasses
import json

import numpy as np
import pytest
from linear_run import TINY, linear_network

from dsrna_jax import genotypes
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.comparison.runs import read
from dsrna_jax.comparison.table import comparison
from dsrna_jax.training import restore

SEARCH = dataclasses.asdict(PRESETS["cifar10_dsrna_jacobian"])
PGD = {"name": "PGD-100", "norm": "linf", "radius": 8 / 255, "budget": "100 steps", "seconds": 1.0}


def share(accuracy):
    return {"accuracy": accuracy, "low": max(accuracy - 0.1, 0), "high": min(accuracy + 0.1, 1)}


class Runs:
    """Run folders, and the networks that lie in them."""

    def __init__(self, root):
        self.root, self.networks = root, {}

    def make(self, name, scale=1.0, architecture=TINY, **config):
        path = self.root / name
        path.mkdir()
        self.networks[path] = linear_network(scale, architecture, **config)
        return path

    def attack(self, path, clean, rows, tier="paper", examples=100, **config):
        content = {
            "experiment": "attack",
            "config": {"tier": tier, "norm": "linf", "split": "test", **config},
            "checkpoint": {"path": str(path), "step": 7, "digest": self.networks[path].digest},
            "examples": examples,
            "clean": share(clean),
            "rows": [row | share(accuracy) for row, accuracy in rows],
            "curve": {
                "points": [{"name": name, "radius": r, "accuracy": clean - r} for name, r in (("clean", 0), ("PGD-20", 0.1))]
            },
        }
        return self.write(path / f"attack_{tier}_linf", "attack.json", content)

    def test(self, path, accuracy, images=360, split="test"):
        """The result with which a training ends."""
        correct = round(accuracy * images)
        test = {"split": split, "images": images, "correct": correct, "accuracy": correct / images, "low": 0.0, "high": 1.0}
        checkpoint = {"step": 7, "digest": self.networks[path].digest, "chosen": "best"}
        (path / "result.json").write_text(json.dumps({"experiment": "training", "checkpoint": checkpoint, "test": test}))

    def search(self, name, architecture=TINY, devices="1 NVIDIA H100 device", cores=None, **config):
        """The folder of a search that found that architecture, of four hours in two parts."""
        folder = self.write(self.root / name, "config.json", {"experiment": "search", "config": SEARCH | config})
        genotypes.save(architecture, folder / "genotype.json")
        parts = ({"setup_s": 3600, "search_s": 7200}, {"setup_s": 0, "search_s": 3600})
        machine = {"devices": devices} | ({"cores": cores} if cores else {})
        (folder / "timing.jsonl").write_text("".join(json.dumps(part | machine) + "\n" for part in parts))
        return folder

    def certify(self, path, clean, radii, norm="linf", method="hz_crown", **config):
        radii = np.asarray(radii)
        content = {
            "experiment": "certify",
            "config": {"clip": True, "split": "test", "sigma": 0.25, "n0": 10, "n": 100, "alpha": 0.001, **config},
            "checkpoint": {"path": str(path), "step": 7, "digest": self.networks[path].digest},
            "examples": len(radii),
            "clean": share(clean),
            "norm": norm,
            "method": method,
            "radius": {"mean": radii.mean()},
        }
        folder = self.write(path / f"certify_{method}_{norm}", "certify.json", content)
        np.savez(folder / "radii.npz", minimum=radii)
        return folder

    def verify(self, path, radius, **counts):
        """The result of a verification; `counts` of verified images and so on."""
        images = sum(counts.values())
        content = {
            "experiment": "verify",
            "config": {"radius": radius, "timeout": 60.0, "split": "test"},
            "checkpoint": {"path": str(path), "step": 7, "digest": self.networks[path].digest},
            "examples": images,
            "clean": share(1 - counts["misclassified"] / images),
            "norm": "linf",
            "verified": share(counts["verified"] / images),
            "counts": counts,
        }
        return self.write(path / f"verify_linf_{radius:g}", "verify.json", content)

    @staticmethod
    def write(folder, name, content):
        folder.mkdir()
        (folder / name).write_text(json.dumps(content))
        return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    folders = Runs(tmp_path)
    load = restore.load

    def loaded(path):
        return folders.networks[path] if path in folders.networks else load(path)

    monkeypatch.setattr(restore, "load", loaded)
    return folders


def table_of(*paths):
    return comparison([read(path) for path in paths])


def cell(row, title):
    cells = [c for column, c in row.cells.items() if column.title == title]
    assert len(set(cells)) == 1, row.cells
    return cells[0]


def cell_on(row, title, images):
    """The cell of that title on those images."""
    (found,) = [c for column, c in row.cells.items() if column.title == title and str(column.images) == images]
    return found
