#!/usr/bin/env bash
# The tests of the device on a GPU, from a checkout with nothing installed:  tests/devices/run.sh [worker processes]
# Whatever fails, all of them run. The last lines say what failed; everything else stands in the folder $OUT.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-$(mktemp -d)}
export PYTHONPATH=.${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 COLUMNS=200

python3 - <<'PYTHON' || exit 1
import cupy, numpy
import minidl
print(minidl.cuda.get_device_properties())
print(f"CuPy {cupy.__version__}, NumPy {numpy.__version__}, runtime {cupy.cuda.runtime.runtimeGetVersion()}, "
      f"driver {cupy.cuda.runtime.driverGetVersion()}")
PYTHON

workers=()
python3 -c 'import xdist' 2> /dev/null && workers=(-n "${1:-12}")

tests() { # name, seconds at most, arguments of pytest
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    timeout -s INT -k 10 "$limit" python3 -m pytest --device cuda -m device -q -rfE --tb=short --durations=8 \
        -p no:cacheprovider -p no:benchmark "$@" > "$out/$name.log" 2>&1
    echo "$name: exit $?, $((SECONDS - start)) s, $(tail -n 1 "$out/$name.log")"
}

graphs=(tests/devices/test_{cuda,deterministic,products,recorded_steps}.py) # apart: an error of a graph may leave the device unusable for its process
tests values 170 "${workers[@]}" tests/test_ops.py tests/devices "${graphs[@]/#/--ignore=}"
tests streams 90 "${graphs[@]}"

echo
grep -hE '^(FAILED|ERROR) ' "$out"/*.log | cut -c1-200
echo
# what differs, entry by entry, of the tests that compare many
grep -hE '^E +[A-Za-z_.0-9]+: [A-Za-z]+(Error|Exception)' "$out"/*.log | cut -c1-300 | sort -u | head -n 80
echo "everything: $out"
! grep -qE '^(FAILED|ERROR) ' "$out"/*.log
