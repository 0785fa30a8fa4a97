#!/usr/bin/env bash
# The feeder beside a memcpy gather in C, interleaved: CPU time a clip, clips a second, and what a trainer waits.
#
#   bench/feed.sh [ROUNDS]      FEED_DIR (default: a temporary folder) keeps the shards, FEED_CLIPS (20000) says how many;
#                               GATHER_C names the source of the gather: without it only our own bound is measured
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}
clips=${FEED_CLIPS:-20000}
dir=${FEED_DIR:-$(mktemp -d)}
[ -n "${FEED_DIR:-}" ] || trap 'rm -rf "$dir"' EXIT
target=${CARGO_TARGET_DIR:-target}/release
cargo build --release --quiet -p ajepa-pipe --bins --example make_mels
"$target/examples/make_mels" "$dir/mels" "$clips"
if [ -n "${GATHER_C:-}" ]; then
    ${CC:-cc} -O2 -pthread -o "$dir/gather" "$GATHER_C"
    # The same clips without anything around them: what a memcpy alone needs.
    [ -e "$dir/raw" ] || head -c $((clips * 65536)) < <(cat "$dir"/mels/part-*.arrow) >"$dir/raw"
    n_raw=$(($(stat -c %s "$dir/raw") / 65536))
fi
for round in $(seq "$rounds"); do
    if [ -n "${GATHER_C:-}" ]; then
        for us in $("$dir/gather" "$dir/raw" 0 65536 "$n_raw" 256 1 mmap-reuse 4 | sed 's/.*"cpu_us"://; s/}//' | tail -n +2); do
            echo "gather.c $us"
        done
    fi
    "$target/ajepa-pipe" bench "$dir/mels" --jobs 1 2>/dev/null >"$dir/ours"
    [ "$round" = 1 ] && cat "$dir/ours" >&2
    awk '/^1 worker/ { print "feed", $(NF-2) } /^a bare copy/ { print "bare", $9 }' "$dir/ours"
done >"$dir/figures"
median() { awk -v what="$1" '$1 == what { print $2 }' "$dir/figures" | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ours=$(median feed)
echo
echo "medians of $rounds rounds, CPU us a clip of 64 KiB:"
for bound in gather.c bare; do
    if us=$(median "$bound") && [ -n "$us" ]; then
        awk -v name="$bound" -v us="$us" -v ours="$ours" 'BEGIN { printf "  %-10s %6.2f   feed %6.2f   ratio %.2f (allowed 1.43)\n", name, us, ours, ours / us }'
    fi
done
