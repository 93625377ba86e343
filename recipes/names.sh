#!/usr/bin/env bash
# From the data folder to the model folder: recipes/names.sh DATA OUT
#
# Every stage is skipped when its result is there and training resumes from its last checkpoint,
# so the script can be stopped at any moment and started again. The numbers that depend on the
# hardware can be set from outside: SYNTHETIC, JOINED (synthetic and recombined names), FIRST (network of
# the first stage), FIRST_EPOCHS, EPOCHS, FACTOR_EPOCHS, SECOND_EPOCHS, BATCH, RATE, FROM, a model that the fourth
# stage starts from, and TEACHER, one whose frames it learns beside the labels. The included model: see its card.
set -euo pipefail
trap 'exit 130' INT # for training takes Ctrl-C, saves and returns as if it were through
data=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
if command -v nvidia-smi > /dev/null; then
  : "${SYNTHETIC:=100000}" "${JOINED:=150000}" "${FIRST:=teacher}" "${FIRST_EPOCHS:=3}"
  : "${EPOCHS:=25}" "${FACTOR_EPOCHS:=12}" "${SECOND_EPOCHS:=12}" "${BATCH:=1024}" "${RATE:=0.0025}"
else # two cores with 16-bit arithmetic of their own: two and a half hours (docs/log.md, "The recipe of `names` to its end"),
  # two of them for the first four stages; without such arithmetic a step takes six times as long (benchmarks/README.md)
  : "${SYNTHETIC:=40000}" "${JOINED:=60000}" "${FIRST:=names}" "${FIRST_EPOCHS:=2}"
  : "${EPOCHS:=8}" "${FACTOR_EPOCHS:=8}" "${SECOND_EPOCHS:=3}" "${BATCH:=64}" "${RATE:=0.002}"
fi
clean=(--case upper --accents strip --alphabet " '-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
common=(--resume --batch-size "$BATCH" --save-every 5m)

[ -e "$out/agreed.parquet" ] || python "$here/names/prepare.py" "$data" "$out"
[ -e "$out/synth" ] || penname synth --data "$data" --out "$out/synth" --lines "$SYNTHETIC" --seed 2
[ -e "$out/validation" ] ||
  penname pack "$out/validation.parquet" --out "$out/validation" --validation 1 "${clean[@]}"

# 1. A first model, on synthetic names, 300 labels and what two machine readers agree on.
[ -e "$out/agreed" ] ||
  penname pack "$out/labelled.parquet" "$out/agreed.parquet" --out "$out/agreed" --validation 0 "${clean[@]}"
[ -e "$out/first-model/model.json" ] || {
  penname train --pack "$out/synth" --pack "$out/agreed" --pack "$out/validation" --mix 1,8,1 \
    --preset "$FIRST" --epochs "$FIRST_EPOCHS" --out "$out/first" "${common[@]}"
  penname export --checkpoint "$out/first" --out "$out/first-model" --name first \
    --language "$data/names_frequency.csv"
}

# 2. It reads the unlabelled crops; where readers agree, that is their label.
[ -e "$out/readings.csv" ] || {
  penname read "$data/names_unlabelled.parquet" --model "$out/first-model" --csv "$out/readings.part" > /dev/null
  mv "$out/readings.part" "$out/readings.csv"
}
[ -e "$out/relabelled.parquet" ] || {
  python "$here/names/relabel.py" "$data" "$out/readings.csv" "$out/relabelled.part"
  mv "$out/relabelled.part" "$out/relabelled.parquet"
}
[ -e "$out/relabelled" ] ||
  penname pack "$out/labelled.parquet" "$out/relabelled.parquet" --out "$out/relabelled" --validation 0 "${clean[@]}"

# 3. Beginnings and ends of real crops, joined anew (docs/log.md, "Recombined crops").
[ -e "$out/cuts.json" ] || {
  python "$here/names/recombine.py" cuts "$out/relabelled" "$out/first-model" "$out/cuts.part"
  mv "$out/cuts.part" "$out/cuts.json"
}
[ -e "$out/joined" ] ||
  python "$here/names/recombine.py" join "$out/relabelled" "$out/cuts.json" "$out/joined" "$JOINED" 1

# 4. The network itself, with a language of names.
language=(--language "$data/names_frequency.csv" --language-weight 0.5 --beam 16 --look-again 0.8)
penname train --pack "$out/synth" --pack "$out/joined" --pack "$out/relabelled" --pack "$out/validation" \
  --mix 1,1,6,1 --preset names --epochs "$EPOCHS" --learning-rate "$RATE" --dropout 0.1 --augment 0.8 \
  ${FROM:+--from "$FROM"} ${TEACHER:+--teacher "$TEACHER"} --out "$out/run" "${common[@]}"
[ -e "$out/one/model.json" ] ||
  penname export --checkpoint "$out/run" --out "$out/one" --name names "${language[@]}"

# 5. The same with half its LSTM cells and its convolutions in two factors each, on as many rows as the ink needs, which takes a third of the time
# and reads first: what it loses is a point or two, and what it doubts goes to the whole network, which loses none (docs/log.md, "A fast network first").
[ -e "$out/factors" ] || {
  rm -rf "$out/factors.part"
  cp -r "$out/one" "$out/factors.part"
  penname prune "$out/factors.part" --pictures "$out/agreed.parquet" --cells 64
  penname factorise "$out/factors.part" --pictures "$out/agreed.parquet" --share 0.35
  mv "$out/factors.part" "$out/factors"
}
penname train --pack "$out/relabelled" --pack "$out/joined" --pack "$out/synth" --pack "$out/validation" \
  --mix 2,0.3,0.2,1 --preset names --from "$out/factors" --teacher "$out/one" --matching 1 --height-step 16 \
  --epochs "$FACTOR_EPOCHS" --learning-rate 0.0008 --warmup 0.03 --dropout 0.03 --augment 0.5 --out "$out/factored" "${common[@]}"
[ -e "$out/fast" ] || {
  penname export --checkpoint "$out/factored" --out "$out/fast.part" --name names-fast
  penname quantise "$out/fast.part" --pictures "$out/agreed.parquet"
  mv "$out/fast.part" "$out/fast"
}

# 6. A second one for what is doubtful still, trained on from the whole, knows names on rulings and poor scans (docs/log.md).
low=(--height 48 --writing 0.2133 --slack 1.15) other=$out/scans
[ -e "$other/validation" ] ||
  penname pack "$out/validation.parquet" --out "$other/validation" --validation 1 "${low[@]}" "${clean[@]}"
[ -e "$other/relabelled" ] ||
  penname pack "$out/labelled.parquet" "$out/relabelled.parquet" --out "$other/relabelled" --validation 0 "${low[@]}" "${clean[@]}"
while read -r name source lines seed share; do
  [ -e "$other/$name" ] ||
    python "$here/names/scans.py" "$out/$source" "$other/validation" "$other/$name" "$lines" "$seed" "$share" < /dev/null
done <<< "scans relabelled.parquet 60000 11 1
scans-joined joined 24000 12 1
joined joined 50000 13 0
synth synth 20000 14 0"
penname train --pack "$other/scans" --pack "$other/scans-joined" --pack "$other/relabelled" --pack "$other/joined" \
  --pack "$other/synth" --pack "$other/validation" --mix 0.42,0.45,2,0.3,0.1,1 --preset names --from "$out/one" \
  --epochs "$SECOND_EPOCHS" --learning-rate 0.001 --warmup 0.05 --dropout 0.1 --augment 0.7 --out "$other/run" "${common[@]}"
[ -e "$other/model" ] || {
  penname export --checkpoint "$other/run" --out "$other/model.part" --name names-scans
  penname quantise "$other/model.part" --pictures "$out/agreed.parquet"
  mv "$other/model.part" "$other/model"
}

# 7. All three in a model, its confidence fitted on verified labels, in integers.
penname export --checkpoint "$out/run" --out "$out/names" --name names "${language[@]}" \
  --fast "$out/fast" --second "$other/model"
penname quantise "$out/names" --pictures "$out/agreed.parquet" --calibrate "$out/verified.parquet"
for labels in validation verified; do
  penname evaluate --model "$out/names" --data "$out/$labels.parquet" --html "$out/$labels.html"
done
