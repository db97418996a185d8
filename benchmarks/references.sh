#!/usr/bin/env bash
# The recipes of docs/reference/references.md at one small equal setting: bash benchmarks/references.sh /absolute/path/to/photographs
#
# 600 photographs of 64 px for training, 120 for test, no pretrained weights, 15 epochs each (two_stage_resnet18: 10 and
# 5). Each run is a DVC experiment; the rows of the table are printed at the end.
set -euo pipefail
photos=$1
rows=$(mktemp)
for recipe in pix2pix_scratch long_lab rgb_stl10 lab_arrays_mse compact_lsgan two_stage_resnet18; do
  twotone recipe "$recipe" > /dev/null
  epochs=(-S finetune.epochs=15)
  if [ "$recipe" = two_stage_resnet18 ]; then epochs=(-S pretrain.epochs=10 -S finetune.epochs=5); fi
  dvc exp run --force --name "small-${recipe//_/-}" "${epochs[@]}" -S base.image_size=64 -S base.precision=auto \
    -S sample.source=folder -S "sample.path=$photos" -S sample.fit=crop -S sample.train=600 -S sample.valid=60 \
    -S sample.test=120 -S sample.group=none -S generator.weights=none -S 'finetune.keep_epochs=[]' \
    -S finetune.batch_size=16
  python benchmarks/references.py "$recipe" >> "$rows"
done
python benchmarks/references.py
cat "$rows"
