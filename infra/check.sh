#!/usr/bin/env bash
# Everything that can be said of the templates without AWS: sam validate, cfn-lint, checkov, and our own checks.
# Needs python3 and pip (22.3 or later); installs the rest, at pinned versions, once, beside what cargo builds.
set -euo pipefail

infra=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$infra/../target}/infra-venv
export SAM_CLI_TELEMETRY=0 PYTHONDONTWRITEBYTECODE=1
# sam asks for a region, though it calls nothing.
export AWS_DEFAULT_REGION=${AWS_DEFAULT_REGION:-us-east-1}

# venv NAME REQUIREMENTS: a virtual environment with exactly these, made anew when they change. Several at once may ask
# for it, so it is made under a lock and marked as the last thing.
venv() {
    local place=$cache/$1 wanted=$infra/$2
    mkdir -p "$cache"
    (
        flock 9
        if ! cmp -s "$wanted" "$place/requirements.txt"; then
            echo "infra: installing $2" >&2
            rm -rf "$place"
            # The machine's own pip installs into it: a bare Debian has no ensurepip to bring another.
            python3 -m venv --without-pip "$place"
            python3 -m pip --python "$place/bin/python" install --quiet --disable-pip-version-check -r "$wanted"
            cp "$wanted" "$place/requirements.txt"
        fi
    ) 9>"$cache/$1.lock"
}

# run NAME COMMAND...: runs a check, and shows what it printed if it failed.
run() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        echo "infra: $name: ok"
    else
        echo "infra: $name: failed"
        printf '%s\n' "$output"
        return 1
    fi
}

# The checks depend on nothing but these files, so what has passed need not be checked again.
state=$(cd "$infra" && cat template.yaml region.yaml .checkov.yaml requirements*.txt check* | sha256sum)
if [ "$(cat "$cache/passed" 2>/dev/null)" = "$state" ]; then
    echo "infra: unchanged since every check passed"
    exit 0
fi

venv sam requirements.txt
venv checkov requirements-checkov.txt

cd "$infra"
# checkov leaves out what a condition is false for, so it sees the template with everything switched on.
sed "s/Default: 'false'/Default: 'true'/" template.yaml > "$cache/everything.yaml"
cp region.yaml "$cache/region.yaml"
pids=()
run 'own checks' "$cache/sam/bin/python" check_template.py template.yaml region.yaml & pids+=($!)
run 'own checks see what they are for' "$cache/sam/bin/python" check_template_test.py & pids+=($!)
run 'cfn-lint' "$cache/sam/bin/cfn-lint" template.yaml region.yaml & pids+=($!)
run 'sam validate' "$cache/sam/bin/sam" validate --lint --template template.yaml & pids+=($!)
run 'checkov' "$cache/checkov/bin/checkov" --file "$cache/everything.yaml" "$cache/region.yaml" --config-file .checkov.yaml & pids+=($!)
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
[ $failed = 0 ] && printf '%s\n' "$state" > "$cache/passed"
exit $failed
