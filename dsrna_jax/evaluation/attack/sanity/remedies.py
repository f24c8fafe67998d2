"""Advice for each sanity check that warns."""

_STRONGER = "attack longer and without gradients: --tier=standard (AutoAttack), --restarts=5"

REMEDIES = {
    "unseen images": "measure on images that training has not seen: --split=test",
    "PGD not above FGSM": f"gradients mislead PGD; {_STRONGER}",
    "convergence": f"20 steps are too few; believe PGD-100, and {_STRONGER}",
    "scale of the logits": "believe attacks on the margin (PGD by margin, APGD-DLR, AutoAttack): --tier=standard",
    "random noise": f"gradients hide what noise finds; {_STRONGER}",
    "black box": f"gradients are masked; {_STRONGER}, and believe Square",
    "black box in the series": "gradients are masked; believe the accuracy after Square, the lowest of the row",
    "unbounded": "an attack of any size must succeed: look for what blocks gradients (rounding, saturated outputs)",
    "growing radius": f"a larger radius must not help the network; {_STRONGER}",
    "transfer": f"gradients of another network do better; {_STRONGER}, and give stronger surrogates by --surrogate",
    "zero gradients": "look for saturated outputs or rounding in the network; believe attacks on the margin and Square",
    "finite differences": "look for operations without a true gradient (rounding, noise) in the network; believe Square",
    "normalisation inside": "give images in [0, 1] and normalise inside the network, so that radii are in the units of pixels",
    "batch neighbours": "evaluate with batch norm by running statistics and without dropout",
    "logits": "return logits, without a softmax or a clip at the end",
    "perturbations": "do not use this result; it is a defect, so report it with the command and its attack.json",
}


def advice(name: str) -> str:
    """Advice about a warning of the check of that name, as the end of a line."""
    return f"; {REMEDIES[name]}"
