"""Rows of the experiment on R, as its networks leave them."""

from experiments.studies.question.protocol import protocol

SMOKE = protocol("smoke")


def network(method, cell, attacked, training="standard", seed=0, **values):
    row = {"weights": 1000, "clean": 0.9, "attack": "AutoAttack", "radius": attacked / 10, "bound": "crown"} | values
    return {"training": training, "method": method, "cell": cell, "seed": seed, "attacked": attacked} | row


MATCHES = {f"random-{i}": {"draw": i, "weights": 1000, "to": f"dsrna_jacobian-{i}", "weights_of_it": 1001} for i in range(2)}
