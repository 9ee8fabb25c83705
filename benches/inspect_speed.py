#!/usr/bin/env python3
"""Times `interdict inspect` beside ndpiReader, tshark and tcpdump, in turn, on one core, over captures in a folder.

    cargo build --release && cargo build --release --example traffic
    benches/inspect_speed.py FOLDER [--rounds N] [--only PROGRAM,...] [--interdict PATH] [--keep]

Makes FOLDER/handshakes.pcap and FOLDER/bulk.pcap if they are not there, and removes what it made unless --keep. Each round reads each file
once with each program, in turn, the file in the page cache. Printed is, of all rounds, the least processor time (user and system), packets
a second by that, and the largest resident memory. What is not installed is left out, and said.
"""

import argparse
import os
import shutil
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
RELEASE = os.path.join(HERE, "..", "target", "release")
FIELDS = ["frame.number", "tls.handshake.extensions_server_name", "http.host", "dns.qry.name"]


def commands(interdict):
    """The programs, the slowest last."""
    fields = [part for field in FIELDS for part in ("-e", field)]
    return {
        "tcpdump": lambda file: ["tcpdump", "-r", file, "-w", "/dev/null"],
        "interdict": lambda file: [interdict, "inspect", "--read", file, "--format", "jsonl"],
        "ndpiReader": lambda file: ["ndpiReader", "-q", "-i", file],
        "tshark": lambda file: ["tshark", "-r", file, "-T", "fields", *fields],
    }


def packets(file):
    """How many packets a pcap file has."""
    count = 0
    with open(file, "rb") as capture:
        capture.seek(24)
        while head := capture.read(16):
            capture.seek(struct.unpack_from("<I", head, 8)[0], os.SEEK_CUR)
            count += 1
    return count


def run(command):
    """Processor seconds and resident octets of a command, which must succeed."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)}: ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def measure(file, programs, rounds):
    with open(file, "rb") as capture:
        while capture.read(1 << 20):
            pass
    best = {}
    for _ in range(rounds):
        for name, command in programs.items():
            seconds, memory = run(command(file))
            before = best.get(name, (seconds, 0))
            best[name] = (min(before[0], seconds), max(before[1], memory))
    return best


def table(file, best):
    count, octets = packets(file), os.path.getsize(file)
    print(f"\n{os.path.basename(file)}: {count:,} packets, {octets / 1e6:,.0f} MB\n")
    print("| program | CPU s | packets/s | ns a packet | Gbit/s | peak MB |\n|---|---|---|---|---|---|")
    for name, (seconds, memory) in best.items():
        rate, each, bits = count / seconds, seconds * 1e9 / count, octets * 8 / seconds / 1e9
        print(f"| {name} | {seconds:.2f} | {rate:,.0f} | {each:,.0f} | {bits:.1f} | {memory / 1e6:.0f} |")
    ours = best.get("interdict")
    for name, (seconds, _) in best.items():
        if ours and name != "interdict":
            print(f"interdict takes {ours[0] / seconds:.2f} of the time of {name}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--interdict", default=os.path.join(RELEASE, "interdict"))
    arguments.add_argument("--keep", action="store_true")
    arguments.add_argument("--files", default="handshakes,bulk")
    given = arguments.parse_args()
    os.makedirs(given.folder, exist_ok=True)
    programs = commands(given.interdict)
    for name in list(programs):
        program = given.interdict if name == "interdict" else name
        if given.only and name not in given.only.split(","):
            del programs[name]
        elif not shutil.which(program):
            print(f"left out: {program} is not installed")
            del programs[name]
    # One core for all that follows, children included.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for kind in given.files.split(","):
        file = os.path.join(given.folder, f"{kind}.pcap")
        made = not os.path.exists(file)
        if made:
            subprocess.run([os.path.join(RELEASE, "examples", "traffic"), kind, file], check=True)
        try:
            table(file, measure(file, programs, given.rounds))
        finally:
            if made and not given.keep:
                os.remove(file)


if __name__ == "__main__":
    main()
