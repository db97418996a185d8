#!/usr/bin/env bash
# Backbones at one small equal setting: bash benchmarks/compare.sh /absolute/path/to/photographs
#
# Queues one experiment each, runs them one after the other and prints the table of docs/comparison.md.
# Each sees every training photograph twice: once in each stage. The recipes are compared by references.sh.
set -euo pipefail
photos=$1
setting=(-S sample.source=folder -S "sample.path=$photos" -S sample.train=480 -S sample.valid=60 -S sample.test=120
  -S sample.fit=crop -S sample.min_chroma=2.0 -S base.image_size=64 -S generator.weights=none
  -S pretrain.batch_size=16 -S finetune.batch_size=16 -S 'pretrain.sample_epochs=[1]' -S 'finetune.sample_epochs=[1,2]')

for backbone in resnet18 mobilenetv4_conv_small convnextv2_atto; do
  twotone recipe quickstart
  dvc exp run --queue --name "backbone-${backbone//_/-}" "${setting[@]}" \
    -S "generator.backbone=$backbone" -S pretrain.epochs=1 -S finetune.epochs=1
done
dvc exp run --run-all
dvc exp show --no-pager --md --drop '.*' \
  --keep '^(Experiment|(lightness_table|pretrain|finetune)\.(ab_mae|ciede2000|colorfulness))$'
