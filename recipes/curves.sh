#!/usr/bin/env bash
# What a pre-trained start is worth at few labelled crops: recipes/curves.sh DATA OUT
#
# The same network from nothing and from one trained on synthetic names alone, on the first 100, 286, 1000 ...
# real crops: 286 with people's labels (recipes/names/prepare.py), beyond that with those on which two machine
# readers agree. Scored on VALIDATION_0301-0700, greedily. The included models have seen these crops, so they are no
# honest start. Every run sees CROPS crops in all, so a run on fewer sees them more often. Can be stopped
# at any moment and started again. Can be set from outside: SYNTHETIC (synthetic), BATCH, CROPS, SIZES,
# SEEDS, DEVICES.
set -euo pipefail
trap 'exit 130' INT # for training takes Ctrl-C, saves and returns as if it were through
data=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if command -v nvidia-smi > /dev/null; then
  : "${SYNTHETIC:=200000}" "${BATCH:=512}" "${SIZES:=100 286 1000 3000 9500}" "${SEEDS:=1, 2}" "${DEVICES:=cuda cuda}"
else
  : "${SYNTHETIC:=40000}" "${BATCH:=64}" "${SIZES:=100 286 1000 3000}" "${SEEDS:=1}" "${DEVICES:=cpu}"
fi
: "${CROPS:=40000}"
clean=(--case upper --accents strip --alphabet " '-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
devices=$(printf -- '--device %s ' $DEVICES)
start=$out/start

[ -e "$out/agreed.parquet" ] || python "$here/names/prepare.py" "$data" "$out"
[ -e "$out/validation" ] ||
  penname pack "$out/validation.parquet" --out "$out/validation" --validation 1 "${clean[@]}"
[ -e "$start/model.json" ] || {
  [ -e "$out/synth" ] || penname synth --data "$data" --out "$out/synth" --lines "$SYNTHETIC" --seed 6
  penname train --pack "$out/synth" --pack "$out/validation" --out "$out/start-run" --resume --epochs 4 --batch-size "$BATCH"
  penname export --checkpoint "$out/start-run" --out "$start" --name synthetic
}
for size in $SIZES; do
  [ -e "$out/$size.parquet" ] || python "$here/curves/take.py" "$out" "$size"
  [ -e "$out/$size" ] ||
    penname pack "$out/$size.parquet" --out "$out/$size" --validation 0 "${clean[@]}" > /dev/null
  epochs=$((CROPS / size))
  for from in "$start" nothing; do
    [ "$from" = nothing ] && rate=0.002 name=nothing || rate=0.0005 name=start
    cat > "$out/$name.yaml" << END
seeds: [$SEEDS]
options: {preset: names, epochs: $epochs, validate_every: $((epochs / 4 + 1)), batch_size: 32}
runs: [{learning_rate: $rate}]
END
    [ "$from" = nothing ] && flag=() || flag=(--from "$from")
    penname sweep "$out/$name.yaml" --pack "$out/$size" --pack "$out/validation" \
      --out "$out/$name-$size" "${flag[@]}" $devices
  done
done
python "$here/curves/plot.py" "$out" $SIZES
