#!/usr/bin/env bash
# From the data folder to the model folder `latin`: recipes/latin.sh DATA OUT
#
# A network, and a fast one made from it that reads first. Can be stopped at any moment and started
# again. SYNTHETIC (synthetic lines), EPOCHS, BATCH, RATE, FAST_EPOCHS, FAST_BATCH, FAST_RATE, FROM, a model
# that the network starts from, and NOVELS, a text that latin/novels.py made, in which pairs of words are
# counted too, can be set from outside. On one H100 an epoch takes 9 s, so all should be 20 minutes (the
# included networks: see their card); on two CPU cores an epoch should take 25 minutes, and the fast network
# took 95 minutes beside other work, so all are a night and a half (not run).
set -euo pipefail
data=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if command -v nvidia-smi > /dev/null; then
  : "${SYNTHETIC:=20000}" "${EPOCHS:=110}" "${BATCH:=128}" "${RATE:=0.002}" "${FAST_EPOCHS:=60}" "${FAST_BATCH:=64}" "${FAST_RATE:=0.0015}"
else
  : "${SYNTHETIC:=20000}" "${EPOCHS:=30}" "${BATCH:=32}" "${RATE:=0.001}" "${FAST_EPOCHS:=2}" "${FAST_BATCH:=16}" "${FAST_RATE:=0.0007}"
fi
mkdir -p "$out"
[ -e "$out/words.parquet" ] || {
  python "$here/latin/draw_words.py" "$data/unipen_words_strokes.parquet" "$out/words.part"
  mv "$out/words.part" "$out/words.parquet"
}
[ -e "$out/texts.csv" ] || python "$here/latin/prepare.py" "$data" "$out" "$out/words.parquet"
[ -e "$out/ink/emnist_characters.npz" ] || python "$here/latin/ink.py" "$data" "$out" "$out/ink"

# 1. Packs, and the network itself.
size=(--height 64 --trim sides --max-width 2688 --width-step 64 --writing 0.22 --slack 1.15 --rulings boxes)
lines=("${size[@]}" --alphabet "$(cat "$here/latin/alphabet.txt")")
[ -e "$out/synthetic" ] ||
  penname synth --look lines --text "$out/ink/corpus.txt" --data "$out/ink" --lines "$SYNTHETIC" --seed 64 \
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
[ -e "$out/one" ] || penname export --checkpoint "$out/run" --out "$out/one" --name latin

# 2. The same with its convolutions in two factors each and 96 of 224 LSTM cells, in two fifths of the time. It reads first and, of
# what is doubtful still, again at last (docs/log.md, "A fast network for lines").
[ -e "$out/factors" ] || {
  rm -rf "$out/factors.part"
  cp -r "$out/one" "$out/factors.part"
  penname factorise "$out/factors.part" --pictures "$out/lines-train.parquet" --share 0.35
  penname prune "$out/factors.part" --pictures "$out/lines-train.parquet" --cells 96
  mv "$out/factors.part" "$out/factors"
}
penname train --pack "$out/lines" --pack "$out/places" --pack "$out/words" --pack "$out/validation" --mix 0.5,0.6,0.12,1 \
  --preset latin --from "$out/factors" --teacher "$out/one" --matching 1 --epochs "$FAST_EPOCHS" --batch-size "$FAST_BATCH" \
  --learning-rate "$FAST_RATE" --warmup 0.05 --dropout 0.1 --augment 0.6 --out "$out/factored" --resume
[ -e "$out/fast" ] || {
  penname export --checkpoint "$out/factored" --out "$out/fast.part" --name latin-fast
  penname quantise "$out/fast.part" --pictures "$out/lines-train.parquet"
  mv "$out/fast.part" "$out/fast"
}

# 3. Both in a model with its language, in integers.
language=(--language "$out/texts.csv" --language-weight 0.5 --word-share 0.4 --length-bonus 1.6)
[ -z "${NOVELS:-}" ] || language+=(--text "$NOVELS")
penname export --checkpoint "$out/run" --out "$out/latin" --name latin "${language[@]}" --fast "$out/fast"
penname quantise "$out/latin" --pictures "$out/lines-train.parquet" --calibrate "$out/lines-validation.parquet"
for name in lines places words; do
  penname evaluate --model "$out/latin" --data "$out/$name-validation.parquet" --html "$out/$name.html"
done
