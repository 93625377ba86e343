#!/usr/bin/env bash
# From the data folder to the model folder `latin`: recipes/latin.sh DATA OUT
#
# Can be stopped at any moment and started again. LINES (synthetic ones), EPOCHS, BATCH, RATE and FROM,
# a model to start from, can be set from outside. 160 epochs are 25 minutes on one H100 (the included
# model saw 151); on two CPU cores an epoch should take 25 minutes, so 40 are two nights (not run).
set -euo pipefail
data=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if command -v nvidia-smi > /dev/null; then
  : "${LINES:=20000}" "${EPOCHS:=160}" "${BATCH:=128}" "${RATE:=0.002}"
else
  : "${LINES:=20000}" "${EPOCHS:=40}" "${BATCH:=32}" "${RATE:=0.001}"
fi
size=(--height 64 --trim sides --max-width 2688 --width-step 64)
lines=("${size[@]}" --alphabet "$(cat "$here/latin/alphabet.txt")")
mkdir -p "$out"
[ -e "$out/words.parquet" ] || {
  python "$here/latin/draw_words.py" "$data/unipen_words_strokes.parquet" "$out/words.part"
  mv "$out/words.part" "$out/words.parquet"
}
[ -e "$out/texts.csv" ] || python "$here/latin/prepare.py" "$data" "$out" "$out/words.parquet"
[ -e "$out/ink/emnist_characters.npz" ] || python "$here/latin/ink.py" "$data" "$out" "$out/ink"
[ -e "$out/synthetic" ] ||
  penname synth --look lines --text "$out/ink/corpus.txt" --data "$out/ink" --lines "$LINES" --seed 1 \
    --out "$out/synthetic" "${size[@]}"
for name in lines places words; do
  [ -e "$out/$name" ] || penname pack "$out/$name-train.parquet" --out "$out/$name" --validation 0 "${lines[@]}"
done
[ -e "$out/validation" ] ||
  penname pack "$out/lines-validation.parquet" "$out/places-validation.parquet" \
    "$out/words-validation.parquet" --out "$out/validation" --validation 1 "${lines[@]}"
penname train --pack "$out/lines" --pack "$out/places" --pack "$out/words" --pack "$out/synthetic" \
  --pack "$out/validation" --mix 1,0.7,0.4,0.3,1 --preset latin --epochs "$EPOCHS" --batch-size "$BATCH" \
  --learning-rate "$RATE" --warmup 0.05 --augment 0.7 --validate-every 5 ${FROM:+--from "$FROM"} \
  --out "$out/run" --resume
penname export --checkpoint "$out/run" --out "$out/latin" --name latin --language "$out/texts.csv"
penname quantise "$out/latin" --pictures "$out/lines-train.parquet" --calibrate "$out/lines-validation.parquet"
for name in lines places words; do
  penname evaluate --model "$out/latin" --data "$out/$name-validation.parquet" --html "$out/$name.html"
done
