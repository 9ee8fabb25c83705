#!/usr/bin/env python3
"""What reloading a large list takes of a resolver's memory while it answers, beside other resolvers.

usage: benches/reload_bench.py [--names 1000000] [--reloads 20] [--rate 2000] [--only interdict,unbound,dnsmasq,knot,dnsdist]

Each server gets the same list with other names in each revision, and reloads in its own way, without a restart:

  interdict   `interdict reload`
  unbound     `unbound-control reload` over a local socket
  dnsmasq     SIGHUP, which reads the file of --servers-file again (address= lines it would read at a restart only)
  knot        over its control socket the rules are taken out and read again from the RPZ file
  dnsdist     on its console the rules are cleared and a new suffix set is read

A revision is in force once the name that only it has is blocked. Memory is that of the whole process: resident before the first
reload, the highest between two reloads (VmHWM, set back by clear_refs), and resident two seconds after a reload. dnsperf asks
listed and other names all the while; what it loses is what went unanswered for five seconds. Everything listens on loopback and
ends with the script. Needs Debian's dnsperf and nsd, and whichever peers are wanted.
"""
import argparse
import os
import random
import re
import shutil
import signal
import socket
import string
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PORT, UPSTREAM, CONSOLE = 5311, 5398, 5312
# A reload that takes longer has failed.
RELOAD_SECONDS_MAX = 120
SETTLED_SECONDS = 2


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return path


def ask(port, name, timeout=0.3):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", random.randrange(65536), 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(timeout)
        try:
            asking.sendto(query, ("127.0.0.1", port))
            return asking.recv(4096)
        except OSError:
            return None


def is_blocked(name):
    answer = ask(PORT, name)
    if answer is None:
        return False
    return answer[3] & 15 == 3 or b"\0\4\0\0\0\0" in answer


def base_names(count):
    """Names in the shape of real lists: two to six labels, 26 octets on average."""
    pick = random.Random(5)
    letters = string.ascii_lowercase * 6 + string.digits
    names = set()
    while len(names) < count:
        label = lambda: "".join(pick.choices(letters, k=pick.randrange(5, 14)))
        below = pick.choice([1, 2, 2, 2, 2, 3, 3, 4, 5])
        names.add(".".join([label() for _ in range(below)] + [pick.choice(["com", "com", "net", "org", "info", "xyz"])]))
    return sorted(names)


def revision(base, number):
    """A tenth of the names is another one in each revision. Every other name is in all of them: see `lasting`."""
    names = [f"r{number}{name}" if place % 10 == 2 * number % 10 + 1 else name for place, name in enumerate(base)]
    return names + [marker(number)]


def lasting(base):
    """What is listed in each revision. Only of these is asked: a name that is listed no more is answered from upstream, and the
    memory that its answer is kept in is not that of the list."""
    return base[::2]


def marker(number):
    return f"only-in-{number}.reload.example"


class Server:
    """One resolver: `list` writes a revision in its form, `argv` starts it, `reload` makes it read the list again."""

    def __init__(self, folder):
        self.folder, self.process = folder, None

    def path(self, name):
        return f"{self.folder}/{name}"

    def run(self, *argv):
        result = subprocess.run(argv, capture_output=True, text=True, timeout=RELOAD_SECONDS_MAX)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {result.stdout}{result.stderr}")


class Interdict(Server):
    def list(self, names):
        write(self.path("list"), "\n".join(names) + "\n")

    def argv(self):
        return [f"{HERE}/dns_bench_ours.sh", str(PORT), self.path("list"), f"127.0.0.1:{UPSTREAM}", self.folder]

    def reload(self):
        program = os.environ.get("INTERDICT", f"{HERE}/../target/release/interdict")
        self.run(program, "--config", self.path("interdict.toml"), "reload")


class Unbound(Server):
    def list(self, names):
        write(self.path("list"), "".join(f'local-zone: "{name}" always_nxdomain\n' for name in names))

    def argv(self):
        write(self.path("conf"), f"""server:
 interface: 127.0.0.1
 port: {PORT}
 access-control: 127.0.0.0/8 allow
 do-not-query-localhost: no
 use-syslog: no
 chroot: ""
 username: ""
 directory: "{self.folder}"
 pidfile: ""
 num-threads: 1
 module-config: "iterator"
 include: {self.path("list")}
forward-zone:
 name: "."
 forward-addr: 127.0.0.1@{UPSTREAM}
remote-control:
 control-enable: yes
 control-interface: {self.path("control")}
 control-use-cert: no
""")
        return ["unbound", "-d", "-c", self.path("conf")]

    def reload(self):
        self.run("unbound-control", "-c", self.path("conf"), "reload")


class Dnsmasq(Server):
    def list(self, names):
        write(self.path("list"), "".join(f"server=/{name}/\n" for name in names))

    def argv(self):
        return [
            "dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--cache-size=10000", "--pid-file=",
            f"--server=127.0.0.1#{UPSTREAM}", f"--servers-file={self.path('list')}", "-p", str(PORT), "--user=root",
            "--listen-address=127.0.0.1", "--bind-interfaces",
        ]

    def reload(self):
        self.process.send_signal(signal.SIGHUP)


class Knot(Server):
    def list(self, names):
        head = "$TTL 60\n@ IN SOA localhost. root.localhost. 1 3600 600 86400 60\n@ IN NS localhost.\n"
        write(self.path("list"), head + "".join(f"{name} CNAME .\n*.{name} CNAME .\n" for name in names))

    def argv(self):
        os.makedirs(self.path("cache"), exist_ok=True)
        write(self.path("conf"), f"""net.listen('127.0.0.1', {PORT}, {{kind='dns'}})
net.listen('{self.path("control")}', nil, {{kind='control'}})
modules = {{'policy'}}
cache.open(128*MB, 'lmdb://{self.path("cache")}')
trust_anchors.remove('.')
local own = {{}}
function read_list()
    for _, rule in ipairs(own) do policy.del(rule.id) end
    own = {{}}
    collectgarbage()
    table.insert(own, policy.add(policy.rpz(policy.DENY, '{self.path("list")}', false)))
    table.insert(own, policy.add(policy.all(policy.STUB({{'127.0.0.1@{UPSTREAM}'}}))))
    collectgarbage()
    return 'read'
end
read_list()
""")
        return ["kresd", "-n", "-c", self.path("conf"), self.folder]

    def reload(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(RELOAD_SECONDS_MAX)
            control.connect(self.path("control"))
            control.sendall(b"read_list()\n")
            said = b""
            while b"read'" not in said and b"error" not in said:
                more = control.recv(4096)
                if not more:
                    break
                said += more
            if b"error" in said:
                raise RuntimeError(said.decode())


class Dnsdist(Server):
    def list(self, names):
        write(self.path("list"), "\n".join(names) + "\n")

    def argv(self):
        write(self.path("conf"), f"""setLocal("127.0.0.1:{PORT}")
setACL("127.0.0.0/8")
controlSocket("127.0.0.1:{CONSOLE}")
setKey("MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=")
newServer({{address="127.0.0.1:{UPSTREAM}", healthCheckInterval=30}})
pc = newPacketCache(200000, {{maxTTL=86400}})
getPool(""):setCache(pc)
function readList()
    local names = newSuffixMatchNode()
    for line in io.lines("{self.path("list")}") do names:add(line) end
    clearRules()
    addAction(SuffixMatchNodeRule(names, true), RCodeAction(DNSRCode.NXDOMAIN))
    names = nil
    collectgarbage()
end
readList()
setSecurityPollSuffix("")
""")
        return ["dnsdist", "--supervised", "--disable-syslog", "-C", self.path("conf")]

    def reload(self):
        self.run("dnsdist", "-C", self.path("conf"), "-e", "readList()")


SERVERS = {"interdict": Interdict, "unbound": Unbound, "dnsmasq": Dnsmasq, "knot": Knot, "dnsdist": Dnsdist}


def memory(pid, what):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what)) / 1024


def forget_peak(pid):
    write(f"/proc/{pid}/clear_refs", "5")


def wait_for(server, name):
    begun = time.time()
    while not is_blocked(name):
        if server.process.poll() is not None or time.time() - begun > RELOAD_SECONDS_MAX:
            raise RuntimeError(f"{name} is not blocked; see {server.folder}/log")
        time.sleep(0.02)
    return time.time() - begun


def upstream(folder):
    write(f"{folder}/root.zone", "$ORIGIN .\n$TTL 86400\n@ SOA ns. root. 1 3600 600 86400 60\n@ NS ns.\nns. A 127.0.0.1\n* A 192.0.2.1\n")
    write(f"{folder}/nsd.conf", f"""server:
 ip-address: 127.0.0.1
 port: {UPSTREAM}
 username: ""
 chroot: ""
 pidfile: ""
 zonesdir: "{folder}"
 database: ""
 zonelistfile: "{folder}/zones"
 xfrdfile: "{folder}/xfrd"
 xfrdir: "{folder}"
 rrl-ratelimit: 0
 server-count: 1
remote-control:
 control-enable: no
zone:
 name: .
 zonefile: root.zone
""")
    with open(f"{folder}/nsd.log", "w") as log:
        process = subprocess.Popen(["nsd", "-d", "-c", f"{folder}/nsd.conf"], stdout=log, stderr=log)
    for _ in range(50):
        if ask(UPSTREAM, "up.example"):
            return process
        time.sleep(0.1)
    process.terminate()
    sys.exit(f"nsd did not start; see {folder}/nsd.log")


def measure(name, base, args, folder):
    server = SERVERS[name](f"{folder}/{name}")
    os.makedirs(server.folder)
    server.list(revision(base, 0))
    argv = server.argv()
    if not shutil.which(argv[0]):
        return print(f"{name}: not installed, left out", flush=True)
    begun = time.time()
    with open(server.path("log"), "w") as log:
        server.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=server.folder)
    load = None
    try:
        wait_for(server, marker(0))
        started = time.time() - begun
        asked = [f"{item} A" for item in random.sample(lasting(base), min(len(base) // 2, 5_000))]
        asked += [f"host{number}.allowed.example A" for number in range(5_000)]
        random.shuffle(asked)
        write(server.path("queries"), "\n".join(asked) + "\n")
        perf = ["dnsperf", "-s", "127.0.0.1", "-p", str(PORT), "-d", server.path("queries"), "-l", "3600", "-Q", str(args.rate), "-c", "4"]
        load = subprocess.Popen(perf, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(8)
        pid = server.process.pid
        idle, peaks, settled, seconds = memory(pid, "VmRSS:"), [], [], []
        for number in range(1, args.reloads + 1):
            server.list(revision(base, number))
            forget_peak(pid)
            begun = time.time()
            server.reload()
            wait_for(server, marker(number))
            seconds.append(time.time() - begun)
            time.sleep(SETTLED_SECONDS)
            peaks.append(memory(pid, "VmHWM:"))
            settled.append(memory(pid, "VmRSS:"))
        load.send_signal(signal.SIGINT)
        said, _ = load.communicate(timeout=30)
        load = None
        count = lambda what: (re.search(rf"Queries {what}:\s+(\d+)", said) or [None, "?"])[1]
        print(
            f"| {name} | {started:.2f} s | {idle:.0f} | {max(peaks):.0f} | {max(peaks) / idle:.2f} | {settled[0]:.0f} | {settled[-1]:.0f} "
            f"| {max(seconds):.2f} s | {count('sent')} | {count('lost')} |",
            flush=True,
        )
    except (RuntimeError, subprocess.TimeoutExpired, StopIteration, OSError) as error:
        print(f"{name}: {error}", flush=True)
    finally:
        if load:
            load.kill()
            load.wait()
        server.process.terminate()
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--rate", type=int, default=2_000, help="queries a second")
    parser.add_argument("--only", default=",".join(SERVERS))
    args = parser.parse_args()
    # Nothing is left running when somebody ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="reloads.")
    os.chmod(folder, 0o755)
    up = upstream(folder)
    try:
        base = base_names(args.names)
        print(f"{args.names} names, {args.reloads} reloads under {args.rate} queries a second; MiB resident\n")
        print("| server | start | idle | peak | of idle | 2 s after the first | after the last | slowest reload | sent | lost |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        for name in args.only.split(","):
            measure(name, base, args, folder)
    finally:
        up.terminate()
        up.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
