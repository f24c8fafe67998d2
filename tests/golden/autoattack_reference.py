"""Writes what the authors' PyTorch AutoAttack finds on the small network of digits_cnn.npz into that file.

    python tests/golden/autoattack_reference.py          with PyTorch and the package `autoattack` of fra31/auto-attack

The file holds the network (pixels / 255 -> 3x3 convolution, ReLU, 2x2 maximum, 3x3 convolution, ReLU, 2x2 mean, dense) and 96
handwritten digits; tests read both and need neither PyTorch nor this program.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from autoattack import AutoAttack
from autoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from autoattack.fab_pt import FABAttack_PT

FILE = Path(__file__).with_name("digits_cnn.npz")
RADII = {"Linf": 0.1, "L2": 0.5}
INPUTS = ("pixels", "labels", "k0", "c0", "k1", "c1", "w", "b")


def network(w):
    def convolution(x, kernel, bias):
        return F.relu(F.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1))

    def logits(x):
        x = F.max_pool2d(convolution((x - 0.5) / 0.25, w["k0"], w["c0"]), 2)
        x = F.avg_pool2d(convolution(x, w["k1"], w["c1"]), 2)
        return x.permute(0, 2, 3, 1).flatten(1) @ w["w"] + w["b"]

    return logits


def main():
    torch.set_num_threads(1)
    with np.load(FILE) as file:
        saved = {name: file[name] for name in INPUTS}
    f = network({name: torch.tensor(value) for name, value in saved.items()})
    x = torch.tensor(saved["pixels"]).permute(0, 3, 1, 2).contiguous() / 255
    y = torch.tensor(saved["labels"]).long()
    for norm, radius in RADII.items():
        name = norm.lower()
        common = {"norm": norm, "eps": radius, "device": "cpu"}
        for loss in ("ce", "dlr"):
            for steps in (20, 100):
                attack = APGDAttack(f, n_iter=steps, loss=loss, **common)
                attack.init_hyperparam(x)
                _, right, best, _ = attack.attack_single_run(x, y, x_init=x.clone())
                saved[f"apgd_{name}_{loss}_{steps}_right"] = right.numpy().astype(bool)
                saved[f"apgd_{name}_{loss}_{steps}_loss"] = best.numpy()
        for rank in (1, 4):
            attack = APGDAttack_targeted(f, n_iter=100, **common)
            attack.init_hyperparam(x)
            attack.y_target = f(x).sort(dim=1)[1][:, -1 - rank]
            saved[f"apgd_{name}_towards_{rank}_right"] = attack.attack_single_run(x, y, x_init=x.clone())[1].numpy().astype(bool)
            fab = FABAttack_PT(f, n_restarts=1, n_iter=100, seed=0, **common)
            fab.target_class = rank + 1
            delta = (fab.attack_single_run(x, y, is_targeted=True) - x).flatten(1)
            saved[f"fab_{name}_towards_{rank}_distance"] = (delta.abs().amax(1) if norm == "Linf" else delta.norm(dim=1)).numpy()
        attacked = AutoAttack(f, seed=0, verbose=False, **common).run_standard_evaluation(x, y)
        saved[f"autoattack_{name}_right"] = (f(attacked).argmax(1) == y).numpy()
    saved["clean_right"] = (f(x).argmax(1) == y).numpy()
    np.savez_compressed(FILE, **saved)


if __name__ == "__main__":
    main()
