"""Saved images at which a saved network is verified to be robust, a timeout each, as tables of verifiers count them.

    python -m experiments.peers.saved_network_verification mnist_cnn_a_adv.npz mnist_200.npz --out=verified.jsonl --radius=0.3

Files as in `saved_network_bounds`. Appends one JSON line for each image to --out: `verified`, `counterexample` or `unknown`
(`misclassified` ones count as not verified), the seconds and sub-problems taken. Images that have a line are not done again, so a
run that is stopped goes on with the same command. Ends with the shares of all lines.
"""

import argparse
import collections
import json
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from dsrna_jax import bounds
from experiments.peers.saved_network_bounds import network, saved_layers


def main():
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--radius", type=float, default=0.3)
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds an image; the first image waits for a compiler too")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    f = network(saved_layers(args.network))
    with np.load(args.images) as saved:
        images, labels = saved["images"].astype(np.float32) / 255, saved["labels"]
    lines = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    known = {line["image"] for line in lines}
    for i in range(args.first, min(args.first + args.count, len(images))):
        if i in known:
            continue
        x, label = jnp.asarray(images[i : i + 1]), jnp.asarray(labels[i : i + 1]).astype(int)
        line = {"image": i, "status": "misclassified", "seconds": 0.0, "cpu_s": 0.0, "branches": 0, "reason": ""}
        logits = f(x)
        if int(logits.argmax()) == int(label[0]):
            began = time.process_time()
            region, property_ = (
                bounds.Box.around(x, args.radius, (0.0, 1.0)),
                bounds.Specification.of_label(label, logits.shape[1]),
            )
            verdict = bounds.verify(f, region, property_, timeout=args.timeout)
            line |= {"status": verdict.status, "seconds": round(verdict.seconds, 2), "branches": verdict.branches}
            line |= {"cpu_s": round(time.process_time() - began, 2), "reason": verdict.reason}
        lines.append(line)
        with args.out.open("a") as file:
            print(json.dumps(line), file=file)
        print(json.dumps(line), flush=True)
    counts = collections.Counter(line["status"] for line in lines)
    print(json.dumps({"images": len(lines), **{status: round(n / len(lines), 4) for status, n in sorted(counts.items())}}))


if __name__ == "__main__":
    main()
