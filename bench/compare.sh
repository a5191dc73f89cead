#!/usr/bin/env bash
# Compares two revisions with the benchmarks of the stages of a record's way (go test -bench):
#
#   bench/compare.sh                       HEAD~1 and the working tree
#   bench/compare.sh main                  main and the working tree
#   bench/compare.sh v1.0.0 HEAD           two revisions
#   bench/compare.sh -bench 'Append|Seal' -count 8
#
#   -bench PATTERN     which benchmarks (the fast ones of all stages)
#   -count N           how often each is run (6)
#   -benchtime T       how long each runs, or how often as in 1000x (20ms)
#   -limit SECONDS     stops beginning new rounds after so long (240), so that it ends within five minutes
#   -packages LIST     relative to the module (". ./protocol ./network ./internal/...")
#
# The test programs of both are built first and then take turns, round by round, so that a bad minute of the machine is bad for both. Benchmarks
# that a revision does not have are left out by benchstat. Old revisions are checked out in a temporary directory that is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

benchstat=golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
bench='^Benchmark(Topic|Choose|BatchAppend|Append|Send|Pool|Inbox|Drain|Answer|Dispatch|AppendRecord|Pipelined)$|^BenchmarkSeal$/^(none|lz4)$/16384|^BenchmarkWhole$/^(16KiB|1MB)$/^$'
count=6 benchtime=20ms limit=240 packages='. ./protocol ./network'

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2; }
revisions=()
while [ $# -gt 0 ]; do
  case $1 in
    -bench | -count | -benchtime | -limit | -packages)
      [ $# -gt 1 ] || usage
      declare "${1#-}=$2"
      shift
      ;;
    -*) usage ;;
    *) revisions+=("$1") ;;
  esac
  shift
done
[ ${#revisions[@]} -le 2 ] || usage
old=${revisions[0]:-HEAD~1} new=${revisions[1]:-}

dir=$(mktemp -d "${TMPDIR:-/tmp}/quill-compare.XXXXXX")
trees=()
clean() {
  local t
  for t in "${trees[@]}"; do git worktree remove --force "$t"; done
  rm -rf "$dir"
}
trap clean EXIT

# build SIDE TREE: the test programs of the packages, as $dir/SIDE.0, .1 ...
build() {
  local i=0 p
  for p in $packages; do
    go -C "$2" test -c -o "$dir/$1.$i" "$p" || { echo "$1: $p does not build" >&2; return 1; }
    i=$((i + 1))
  done
}

# tree REVISION: sets $at to its source.
tree() {
  at=$dir/tree.${#trees[@]}
  git worktree add --quiet --detach "$at" "$1"
  trees+=("$at")
}

tree "$old" && build old "$at"
if [ -n "$new" ]; then tree "$new" && build new "$at"; else build new .; fi

# play SIDE: all its benchmarks once.
play() {
  local i=0 p
  for p in $packages; do
    if [ -f "$dir/$1.$i" ]; then # a package without tests has no program
      (cd "$p" && "$dir/$1.$i" -test.run '^$' -test.bench "$bench" -test.benchtime "$benchtime" -test.count 1 -test.timeout "${limit}s") >>"$dir/$1.txt" ||
        echo "$1: $p: not all benchmarks ran" >&2
    fi
    i=$((i + 1))
  done
}

for ((round = 1; round <= count; round++)); do
  if [ "$SECONDS" -ge "$limit" ]; then
    echo "stopped after $((round - 1)) of $count rounds: $limit s are over (-limit)" >&2
    break
  fi
  echo "round $round of $count, $SECONDS s" >&2
  if ((round % 2)); then play old && play new; else play new && play old; fi
done
go -C "$dir" run "$benchstat" "$old=old.txt" "${new:-tree}=new.txt"
