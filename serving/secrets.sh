#!/bin/sh
# Makes the secrets of compose.yaml, once: serving/secrets.sh [FOLDER]. Nothing has a default.
set -eu

folder=${1:-$(dirname "$0")/secrets}
names='postgres_password s3_identities aws_credentials grafana_password admin_key'

random() { # bytes
    od -An -v -N"$1" -tx1 /dev/urandom | tr -d '[:space:]'
}

for name in $names; do
    if [ -e "$folder/$name" ]; then
        echo "secrets: $folder/$name must not exist yet, got one" >&2
        exit 1
    fi
done

# Compose mounts each file as it is, and each service runs as another user: so the files can be
# read by all, and the folder by nobody else.
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
access=$(random 10)
secret=$(random 32)
printf '%s' "$(random 32)" >"$folder/postgres_password"
printf '%s' "$(random 32)" >"$folder/grafana_password"
printf '%s' "$(random 32)" >"$folder/admin_key"
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$access" "$secret" \
    >"$folder/aws_credentials"
printf '{"identities": [{"name": "mlflow", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}\n' \
    "$access" "$secret" >"$folder/s3_identities"
for name in $names; do
    chmod 444 "$folder/$name"
done
echo "$folder"
