#!/usr/bin/env bash
# Writes a config for a side-by-side measurement and becomes the daemon: one command line for a bench's "--ours".
#
#   benches/dns_bench_ours.sh PORT LIST UPSTREAM DIR      INTERDICT=FILE measures another binary
#
# All settings but these four are the defaults: the vendor files are loaded too, and every blocked query goes to the ledger.
set -euo pipefail
port=$1 list=$2 upstream=$3 dir=$4
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Each run begins without a ledger.
rm -rf "$dir/interdict-state"
cat >"$dir/interdict.toml" <<CONFIG
version = 1
[dns]
listen = ["127.0.0.1:$port"]
[upstream]
servers = ["$upstream"]
[[blocklist]]
id = "bench"
path = "$list"
format = "domains"
[store]
path = "interdict-state"
CONFIG
exec "${INTERDICT:-$root/target/release/interdict}" --config "$dir/interdict.toml" run
