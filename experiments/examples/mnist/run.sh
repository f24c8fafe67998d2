#!/bin/sh
# What made the comparison in this folder: two searches on MNIST, six cells trained twice each, attacked, certified, compared.
# Small enough for two cores and an evening hour: images of 14x14, 3 cells, 8 channels, one epoch of training, one seed.
#
#     DATA=path/of/tensorflow_datasets sh experiments/examples/mnist/run.sh
set -eu
runs=${RUNS:-runs/mnist}
data=--data_dir=${DATA:?the folder that holds the prepared mnist}
size="--image_size=14 --cells=3 --channels=8 --batch_size=128"

searched="$size --epochs=3 --order=first --alpha_lr=0.003 $data"
python -m experiments.search --preset=mnist_dsrna_jacobian $searched --warmup_epochs=1 --run_dir="$runs/search_jacobian"
python -m experiments.search --preset=mnist_dsrna_cb --gamma=0.1 --weight_lr=0.025 --weight_lr_min=0.001 --alpha_decay=0.001 \
    $searched --warmup_epochs=2 --run_dir="$runs/search_cb"

compare() {
    trained="--preset=mnist_short --genotype=$2 $size --epochs=1 $data"
    python -m experiments.train $trained --run_dir="$runs/$1"
    python -m experiments.train $trained --adversarial=fast --radius=0.1 --run_dir="$runs/$1_adversarial"
    for run in "$runs/$1" "$runs/$1_adversarial"; do
        python -m experiments.attack --checkpoint="$run" --tier=smoke --radius=0.1 --examples=128 --probe_examples=32 --batch_size=128
        python -m experiments.certify --checkpoint="$run" --method=ibp --examples=32 --batch_size=32 --attack=none
    done
}
compare DSRNA_CB "$runs/search_cb"
compare PC_DARTS_cifar PC_DARTS_cifar
compare DSRNA_Jacobian "$runs/search_jacobian"
compare random_0 random:0
compare DARTS_V2 DARTS_V2
compare RobNet_large RobNet_large

for name in DSRNA_Jacobian DSRNA_CB PC_DARTS_cifar DARTS_V2 RobNet_large random_0; do
    set -- "$@" "$runs/$name" "$runs/${name}_adversarial"
done
python -m experiments.compare "$@" --out="$runs"
