#!/usr/bin/env bash
# Names that nobody has asked for yet, one after the other to the upstream itself, to us, to Unbound and to dnsdist, all forwarding
# to the same NSD: what each adds to the upstream's own time, how many a second it takes, and what that costs it.
#
#   benches/miss.sh [ROUNDS [SECONDS]]      INTERDICT=FILE measures another binary
#
# Everything is on loopback. NSD and dnsperf run on one core, the server that is measured on the other. In a round each server in turn
# is asked 100 names one at a time, then as many as it takes in so many seconds, 200 at once. Figures are of all rounds together.
set -euo pipefail
rounds=${1:-5} seconds=${2:-3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
interdict=${INTERDICT:-$root/target/release/interdict}
PATH=$PATH:/usr/sbin:/sbin
one_by_one=100 at_once=200 names_a_second=80000

dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
declare -A port=([direct]=15300 [interdict]=15301 [unbound]=15302 [dnsdist]=15303) pid=()
servers=(direct interdict unbound dnsdist)

#----------- Servers ---------------------------------------------------------

cat >zone <<'ZONE'
$ORIGIN miss.example.
@ 3600 SOA ns.miss.example. root.miss.example. 1 3600 600 86400 60
@ 3600 NS ns.miss.example.
ns 3600 A 127.0.0.1
* 3600 A 192.0.2.1
ZONE
cat >nsd.conf <<CONFIG
server:
    ip-address: 127.0.0.1@${port[direct]}
    username: ""
    chroot: ""
    zonesdir: "$dir"
    database: ""
    pidfile: "$dir/nsd.pid"
    xfrdfile: "$dir/xfrd"
    zonelistfile: "$dir/zones"
    xfrdir: "$dir"
    server-count: 1
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: miss.example
    zonefile: zone
CONFIG
cat >interdict.toml <<CONFIG
version = 1
[dns]
listen = ["127.0.0.1:${port[interdict]}"]
workers = 1
[upstream]
servers = ["127.0.0.1:${port[direct]}"]
[store]
path = "state"
CONFIG
cat >unbound.conf <<CONFIG
server:
    interface: 127.0.0.1
    port: ${port[unbound]}
    username: ""
    chroot: ""
    directory: "$dir"
    pidfile: ""
    use-syslog: no
    num-threads: 1
    do-not-query-localhost: no
    module-config: "iterator"
    outgoing-range: 8192
    num-queries-per-thread: 4096
    so-rcvbuf: 4m
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@${port[direct]}
CONFIG
cat >dnsdist.conf <<CONFIG
setLocal("127.0.0.1:${port[dnsdist]}")
newServer({address="127.0.0.1:${port[direct]}", healthCheckMode="up"})
setSecurityPollSuffix("")
CONFIG

start() {
    local name=$1 core=$2
    shift 2
    taskset -c "$core" "$@" >"$name.log" 2>&1 &
    pid[$name]=$!
    pids+=($!)
}
start direct 1 nsd -d -c nsd.conf
start interdict 0 "$interdict" --config interdict.toml run
start unbound 0 unbound -d -c unbound.conf
start dnsdist 0 dnsdist -C dnsdist.conf --supervised --disable-syslog
for name in "${servers[@]}"; do
    for try in $(seq 50); do
        dig +time=1 +tries=1 +short @127.0.0.1 -p "${port[$name]}" "start-$name.miss.example" | grep -q 192.0.2.1 && break
        sleep 0.2
        ((try < 50)) || { echo "$name does not answer" >&2; cat "$name.log" >&2; exit 1; }
    done
done

#----------- Measuring -------------------------------------------------------

# So many names that nobody has asked for.
next=0
names() {
    seq -f "n%.0f.miss.example A" $((next + 1)) $((next + $1)) >names
    next=$((next + $1))
}
# Microseconds of processor time that a server has taken, and KiB that it holds.
spent() { awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1000000 / hz) }' "/proc/${pid[$1]}/stat"; }
held() { awk '/^Pss:/ { print $2 }' "/proc/${pid[$1]}/smaps_rollup"; }
figure() { sed -n "s/^ *$1: *\([0-9.]*\).*/\1/p" out; }

for name in "${servers[@]}"; do held "$name" >"$name.before"; done
for ((round = 0; round < rounds; round++)); do
    for ((i = 0; i < ${#servers[@]}; i++)); do
        name=${servers[(i + round) % ${#servers[@]}]}
        names $one_by_one
        taskset -c 1 dnsperf -s 127.0.0.1 -p "${port[$name]}" -d names -q 1 -c 1 -n 1 -v -t 2 >out
        awk '$1 == ">" { print $NF * 1000000 }' out >>"$name.times"
        names $((names_a_second * seconds))
        before=$(spent "$name")
        taskset -c 1 dnsperf -s 127.0.0.1 -p "${port[$name]}" -d names -q $at_once -c 16 -n 1 -l "$seconds" -t 2 >out
        after=$(spent "$name")
        echo "$(figure 'Queries per second') $(figure 'Queries completed') $(figure 'Queries lost') $((after - before))" >>"$name.rates"
        held "$name" >"$name.after"
    done
done

#----------- Figures ---------------------------------------------------------

# The value that so many in a hundred are not above.
centile() { sort -n "$1.times" | awk -v part="$2" '{ all[NR] = $1 } END { at = int(NR * part / 100); print all[at < 1 ? 1 : at] }'; }
base_half=$(centile direct 50) base_most=$(centile direct 99)
echo "| server | median µs | added | p99 µs | added | misses /s | µs of processor each | lost | memory MiB before, after |"
echo "|---|---|---|---|---|---|---|---|---|"
for name in "${servers[@]}"; do
    half=$(centile "$name" 50) most=$(centile "$name" 99)
    awk -v name="$name" -v half="$half" -v most="$most" -v base_half="$base_half" -v base_most="$base_most" \
        -v before="$(<"$name.before")" -v after="$(<"$name.after")" '
        { rate += $1; done += $2; lost += $3; spent += $4 }
        END {
            printf "| %s | %d | %d | %d | %d | %d | %.1f | %d | %.1f, %.1f |\n", name, half, half - base_half, most, most - base_most, \
                rate / NR, spent / done, lost, before / 1024, after / 1024
        }' "$name.rates"
done
