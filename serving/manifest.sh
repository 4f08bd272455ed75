#!/bin/sh
# The sha256 of every file of a model folder, signed with an SSH key, and whether they still hold.
#   serving/manifest.sh sign   FOLDER MANIFEST KEY        writes MANIFEST and MANIFEST.sig
#   serving/manifest.sh verify FOLDER MANIFEST SIGNERS    SIGNERS: "IDENTITY KEYTYPE PUBLICKEY" a line
# Needs a shell, coreutils and OpenSSH 8.9 or later: what an operator's machine has.
set -eu

namespace=dyntransnet-model

refuse() {
    echo "manifest: $1" >&2
    exit 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

list() { # folder: its files, every one, in an order that does not depend on the machine
    [ -d "$1" ] || refuse "FOLDER must be a folder, got $1"
    other=$(find "$1" ! -type f ! -type d | head -n 1)
    [ -z "$other" ] || refuse "FOLDER must hold plain files only, got $other"
    (cd "$1" && find . -type f -exec sha256sum {} +) | LC_ALL=C sort -k 2 >"$scratch/found"
    [ -s "$scratch/found" ] || refuse "FOLDER must hold files, got none in $1"
}

sign() { # folder, manifest, key
    list "$1"
    [ -r "$3" ] || refuse "KEY must name a readable file, got $3"
    ssh-keygen -q -Y sign -f "$3" -n "$namespace" "$scratch/found" 2>"$scratch/said" ||
        refuse "KEY must sign, got $(tail -n 1 "$scratch/said")"
    mkdir -p "$(dirname "$2")"
    mv "$scratch/found.sig" "$2.sig"
    mv "$scratch/found" "$2"
    echo "$2 $2.sig"
}

verify() { # folder, manifest, signers
    for file in "$2" "$2.sig" "$3"; do
        [ -r "$file" ] || refuse "there must be a file $file, got none"
    done
    list "$1"
    signer=$(ssh-keygen -Y find-principals -f "$3" -s "$2.sig" 2>/dev/null | head -n 1) && [ -n "$signer" ] ||
        refuse "$2.sig must be of a key in $3, got another"
    ssh-keygen -q -Y verify -f "$3" -I "$signer" -n "$namespace" -s "$2.sig" <"$2" >/dev/null 2>&1 ||
        refuse "$2 must be what $signer signed, got another text"
    cmp -s "$2" "$scratch/found" ||
        refuse "$1 must hold what the manifest lists, got $(LC_ALL=C diff "$2" "$scratch/found" | grep '^[<>]' | tr -s ' ' | cut -d ' ' -f 3- | sort -u | tr '\n' ' ')"
    echo "$1: $(wc -l <"$2") files as $signer signed them"
}

case "${1:-}:$#" in
    sign:4 | verify:4) "$@" ;;
    *) refuse "must be sign FOLDER MANIFEST KEY or verify FOLDER MANIFEST SIGNERS, got $*" ;;
esac
