#!/bin/sh
# MLflow on Postgres and S3; "$@" goes to mlflow server as it is.
set -eu

password_file=${POSTGRES_PASSWORD_FILE:-/run/secrets/postgres_password}

refuse() {
    echo "entrypoint: $1" >&2
    exit 1
}

[ -r "$password_file" ] || refuse "POSTGRES_PASSWORD_FILE must name a readable file, got $password_file"
password=$(cat "$password_file")
case "$password" in
    '' | *[!0-9a-zA-Z]*) refuse "$password_file must hold letters and digits only" ;; # it becomes part of a URL
esac
# In the environment, not among the arguments that every process can read.
export MLFLOW_BACKEND_STORE_URI="postgresql+psycopg://mlflow:$password@${POSTGRES_HOST:-postgres}/mlflow"

exec mlflow server --host 0.0.0.0 --port 5000 --workers 2 \
    --artifacts-destination "s3://${BUCKET:-mlflow}" "$@"
