#!/bin/sh
# Starts Triton as the environment asks; "$@" goes to tritonserver as it is. serving/README.md
# lists the variables. Scans come over gRPC; HTTP is left with health and metadata, for probes.
set -eu

models=${MODELS:-/models}
admin_header=admin-key

refuse() {
    echo "entrypoint: $1" >&2
    exit 1
}

need_file() { # variable, file
    [ -r "$2" ] && [ -s "$2" ] || refuse "$1 must name a readable file, got $2"
}

[ -d "$models" ] || refuse "MODELS must name a model repository, got $models"

set -- \
    "--model-repository=$models" \
    --disable-auto-complete-config \
    --strict-readiness=true \
    "--exit-timeout-secs=${EXIT_TIMEOUT_S:-60}" \
    --log-format=ISO8601 \
    "--grpc-address=${GRPC_ADDRESS:-0.0.0.0}" \
    "--http-address=${HTTP_ADDRESS:-127.0.0.1}" \
    "--metrics-address=${METRICS_ADDRESS:-0.0.0.0}" \
    --metrics-config=summary_latencies=true \
    --allow-sagemaker=false \
    --allow-vertex-ai=false \
    "$@"

# TLS on gRPC; with TLS_CA a client must show a certificate that this authority signed.
if [ -n "${TLS_CERT:-}${TLS_KEY:-}${TLS_CA:-}" ]; then
    need_file TLS_CERT "${TLS_CERT:-nothing}"
    need_file TLS_KEY "${TLS_KEY:-nothing}"
    set -- "$@" --grpc-use-ssl=true "--grpc-server-cert=$TLS_CERT" "--grpc-server-key=$TLS_KEY"
    if [ -n "${TLS_CA:-}" ]; then
        need_file TLS_CA "$TLS_CA"
        set -- "$@" --grpc-use-ssl-mutual=true "--grpc-root-cert=$TLS_CA"
    fi
fi

# Models are changed by whoever has the key. Without a key file they cannot be changed, and
# the other restricted protocols get a key that nobody knows.
if [ -n "${ADMIN_KEY_FILE:-}" ]; then
    need_file ADMIN_KEY_FILE "$ADMIN_KEY_FILE"
    key=$(tr -d '[:space:]' <"$ADMIN_KEY_FILE")
    [ "${#key}" -ge 32 ] || refuse "ADMIN_KEY_FILE must hold at least 32 characters, got ${#key}"
    set -- "$@" --model-control-mode=explicit '--load-model=*'
else
    key=$(od -An -N32 -tx1 /dev/urandom | tr -d '[:space:]')
    set -- "$@" --model-control-mode=none
fi
restricted=model-repository,shared-memory,trace,logging
set -- "$@" \
    "--grpc-restricted-protocol=$restricted:$admin_header=$key" \
    "--http-restricted-api=$restricted,inference,model-config,statistics:$admin_header=$key"

# Times of each step, never tensors: a trace with tensors would be a copy of the scan.
if [ -n "${TRACE_URL:-}" ]; then
    set -- "$@" \
        --trace-config=mode=opentelemetry \
        --trace-config=level=TIMESTAMPS \
        "--trace-config=rate=${TRACE_RATE:-100}" \
        "--trace-config=opentelemetry,url=$TRACE_URL" \
        --trace-config=opentelemetry,resource=service.name=dyntransnet
fi

# Triton does not start a model's process again that was killed: it goes on saying that it is
# ready, and fails each scan that falls to that process. What has ended is still listed (Z),
# because Triton never asks. This container then ends, and whoever runs it starts it again.
has_lost_a_model() {
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        case $line in *"(triton_python_b) Z $server "*) return 0 ;; esac
    done 2>/dev/null
    return 1
}

watch() {
    while sleep 1 >/dev/null 2>&1 && kill -0 "$server" 2>/dev/null; do
        # Once more after two seconds: a model that is unloaded is listed for a moment, too, and
        # the scan that was worked on is told by then. Asked to end, Triton would wait in vain.
        if has_lost_a_model && sleep 2 && has_lost_a_model; then
            echo "entrypoint: a model's process was killed: ending, to be started again" >&2
            kill -KILL "$server"
            return
        fi
    done
}

tritonserver "$@" &
server=$!
watch & # before the trap, which a signal could find in it, too
watcher=$!
trap 'kill -TERM "$server"' TERM INT
code=0
wait "$server" || code=$?
# A signal ends the wait, not the server.
while kill -0 "$server" 2>/dev/null; do
    code=0
    wait "$server" || code=$?
done
kill "$watcher" 2>/dev/null || true
exit "$code"
