#!/usr/bin/env bash
# The 2021 project's experiments again: recipes/origin.sh DATA OUT
#
# Its network, image (256 x 64, cut or padded), batch sizes, learning rates and activations, without
# augmentation, weight decay or averaged weights, and with its loss mended. On real crops with the
# labels on which two machine readers agree (recipes/names/prepare.py: not ground truth) and on
# synthetic names; scored on VALIDATION_0301-0700, labels as they are. Ends with the deck's figures
# beside ours. Can be stopped at any moment and started again. What depends on the hardware can be
# set from outside: SYNTHETIC (synthetic), EPOCHS, SEEDS, DEVICES (one run at a time on each; a GPU has
# room for several), MIX (passes an epoch makes over synthetic, real and validation lines; below 1
# it takes a part).
set -euo pipefail
trap 'exit 130' INT # for training takes Ctrl-C, saves and returns as if it were through
data=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if command -v nvidia-smi > /dev/null; then
  : "${SYNTHETIC:=10000}" "${EPOCHS:=6}" "${SEEDS:=1, 2}" "${DEVICES:=cuda cuda cuda cuda cuda}" "${MIX:=1,1,1}"
else # two cores: some three hours
  : "${SYNTHETIC:=10000}" "${EPOCHS:=4}" "${SEEDS:=1}" "${DEVICES:=cpu}" "${MIX:=1,1,1}"
fi
lines=(--height 64 --max-width 256 --fit crop --trim none)
clean=(--case upper --accents strip --alphabet " '-ABCDEFGHIJKLMNOPQRSTUVWXYZ")

[ -e "$out/agreed.parquet" ] || python "$here/names/prepare.py" "$data" "$out"
[ -e "$out/synth" ] || penname synth --data "$data" --out "$out/synth" --lines "$SYNTHETIC" --seed 4 "${lines[@]}"
[ -e "$out/real" ] ||
  penname pack "$out/labelled.parquet" "$out/agreed.parquet" --out "$out/real" --validation 0 "${lines[@]}" "${clean[@]}"
[ -e "$out/validation" ] ||
  penname pack "$out/validation.parquet" --out "$out/validation" --validation 1 "${lines[@]}" "${clean[@]}"

cat > "$out/origin.yaml" << END
seeds: [$SEEDS]
options: {preset: origin, epochs: $EPOCHS, batch_size: 32, learning_rate: 0.001, schedule: constant,
  augment: 0, weight_decay: 0, ema: 0, mix: "$MIX"}
runs:
  - {batch_size: 32}
  - {batch_size: 64}
  - {learning_rate: 0.01}
  - {schedule: onecycle, warmup: 0}
  - {preset: origin-mish}
END
penname sweep "$out/origin.yaml" --pack "$out/synth" --pack "$out/real" --pack "$out/validation" \
  --out "$out/sweep" $(printf -- '--device %s ' $DEVICES)
python "$here/origin/beside.py" "$out/sweep/sweep.json"
