#!/usr/bin/env bash
# NVIDIA's compute-sanitizer over the tests of the CUDA kernels on a GPU:  tests/devices/sanitize.sh [option ...] [tool ...]
#
#   memcheck    accesses outside of an array, or misaligned       racecheck   two threads, one place in shared memory, no barrier
#   initcheck   reads of global memory that nothing has written   synccheck   barriers that some threads of a block miss
#
# Without tools: all four. Options:  -k EXPRESSION  the tests to run, as pytest takes it;  -t SECONDS  at most for a tool (600);
# -h  this text. Sizes are those of the tests, small and odd; under a tool a kernel is many times slower than by itself. The table
# says: tool, result, errors, seconds. Reports stand in the folder $OUT; COMPUTE_SANITIZER is another path of the tool.
# Exit code: 0 where all tools found nothing, 1 where one found something or a test failed, 2 for a wrong argument, 3 where
# compute-sanitizer, CuPy or a GPU is missing.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
known=(memcheck racecheck initcheck synccheck)

fail() { # exit code, message
    echo "sanitize.sh: $2" >&2
    exit "$1"
}

expression="" limit=600
while getopts ":k:t:h" option; do
    case $option in
        k) expression=$OPTARG ;;
        t) limit=$OPTARG ;;
        h) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"; exit 0 ;;
        :) fail 2 "-$OPTARG needs a value; -h explains" ;;
        *) fail 2 "there is no option -$OPTARG; -h lists them" ;;
    esac
done
shift $((OPTIND - 1))
[[ $limit =~ ^[1-9][0-9]*$ ]] || fail 2 "-t $limit: expected a number of seconds above 0"
tools=("$@")
(($#)) || tools=("${known[@]}")
for tool in "${tools[@]}"; do
    [[ " ${known[*]} " == *" $tool "* ]] || fail 2 "there is no tool $tool; there are: ${known[*]}"
done

sanitizer=$(command -v "${COMPUTE_SANITIZER:-compute-sanitizer}" || command -v "${COMPUTE_SANITIZER:-/usr/local/cuda/bin/compute-sanitizer}") ||
    fail 3 "compute-sanitizer is not installed: it is part of the CUDA toolkit, and of the package nvidia-cuda-sanitizer-api, in nvidia/cu13/bin (name it by COMPUTE_SANITIZER)"
cd "$here/../.." || exit 3
out=${OUT:-$(mktemp -d)}
mkdir -p "$out"
export PYTHONPATH=.:$out${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
why=$(python3 -c 'import minidl.devices as d; count, why = d.gpus(); print("" if count else why)' 2>&1) || why=${why##*$'\n'}
[[ -z $why ]] || fail 3 "$why; \`minidl doctor\` says what this machine has"

# CuPy's pool hides what is beyond an array behind the next one: each array gets memory of its own
cat > "$out/without_a_pool.py" << 'PYTHON'
import cupy

cupy.cuda.set_allocator(None)
PYTHON

worst=0
printf '%-10s  %-7s  %6s  %7s\n' tool result errors seconds
for tool in "${tools[@]}"; do
    start=$SECONDS
    timeout -s INT -k 10 "$limit" "$sanitizer" --tool "$tool" --error-exitcode 86 --log-file "$out/$tool.report" \
        python3 -m pytest -q -x -m gpu -p no:cacheprovider -p without_a_pool ${expression:+-k "$expression"} \
        tests/kernels/cuda/test_gpu.py > "$out/$tool.log" 2>&1
    code=$?
    errors=$(grep -ohE '(ERROR|RACECHECK) SUMMARY: [0-9]+' "$out/$tool.report" 2> /dev/null | awk '{ n += $NF } END { if (NR) print n }')
    case $code in
        0) result=clean ;;
        86) result=ERRORS ;;
        124 | 137) result=TIMEOUT ;;
        *) result=FAILED ;;
    esac
    ((code)) && worst=1
    printf '%-10s  %-7s  %6s  %7d\n' "$tool" "$result" "${errors:--}" $((SECONDS - start))
done
echo "reports: $out"
exit $worst
