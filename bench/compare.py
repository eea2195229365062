#!/usr/bin/env python3
"""The measuring half of bench/run, which builds what is measured here and starts this in fresh mount, network and PID
namespaces.

This namespace is the client's. The stand-in for Azure runs in a second one, with two routes to it: a veth pair
without delay, and a pair of TUN devices with `roundtrip` between them. The vault's address is routed over one or the
other; the identity endpoint's always over the first, because on Azure it answers from the same host.

What is timed is a whole process: from before it is spawned until the /bin/true that it became has been waited for; and
its CPU time, user and system. The clients take turns, in another order each round, so that a slow second of the machine
hits them all.
"""

import argparse
import collections
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

BENCH = pathlib.Path(__file__).resolve().parent
RTT = "20 ms"
VAULTS = [f"kv{i}.vault.azure.net" for i in range(1, 21)]
VAULT = VAULTS[0]
# Addresses reserved for benchmarks (RFC 2544): a mistake cannot reach a real host.
CLIENT, CLIENT_FOR_IMDS, SERVER, IMDS = "198.18.0.1", "198.18.0.3", "198.18.0.2", "169.254.169.254"
COUNTS = (1, 10, 50)
# The curves: numbers of secrets of one vault, and numbers of vaults with a hundred secrets.
SECRETS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
VAULT_COUNTS = (1, 2, 5, 10, 20)
SECRETS_OF_VAULTS = 100
# Percent of one CPU.
QUOTAS = (5, 10)
TOKEN_DELAY, VAULT_DELAY = 20, 10
CERTIFICATES = pathlib.Path("/etc/ssl/certs")
# What we are and what we are compared with.
OURS, GO, OTHER = "akv-init", "Go program", "akv-init, another build"
RUN_SECONDS = 60


def main():
    parser = argparse.ArgumentParser(prog="bench/run")
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--result", type=pathlib.Path, default=BENCH / "RESULT.md")
    options = parser.parse_args()
    # This is process 1 of its namespace, to which the kernel delivers only what has a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"bench/run: a client took over {RUN_SECONDS} s"))

    network = Network(options.work)
    server = start_server(options.work, network)
    clients = make_clients(options.work)
    for client in clients:
        client.must_deliver(max(COUNTS))
    quick = [client for client in clients if client.name in (OURS, GO, OTHER)]

    results = {"times": {}, "connect": {}, "requests": {}, "memory": {}, "size": (options.work / "akv-init").stat().st_size}

    def measure(what, clients, count, rounds, **how):
        print(f"timing {what}, {count} secrets, {rounds} rounds", file=sys.stderr)
        results["times"].setdefault(what, {})[count] = take_turns(clients, count, rounds, **how)

    for distance in ("near", "far"):
        network.route(distance)
        results["connect"][distance] = time_to_connect()
        for count in COUNTS:
            # Fifty secrets, one after the other, take seconds: they are a matter of multiples, not of hundredths.
            measure(distance, quick, count, options.rounds)
            slow = [client for client in clients if client not in quick]
            few = max(1, options.rounds // (20 if count == 50 else 4))
            for name, sample in take_turns(slow, count, few).items():
                results["times"][distance][count][name] = sample
            ours = next(client for client in clients if client.name == OURS)
            results["requests"].setdefault(distance, {})[count] = count_requests(options.work, ours, count)
    results["requests"]["quota"] = count_requests(options.work, ours, max(COUNTS), quota=min(QUOTAS))
    many = ours.with_vaults(max(VAULT_COUNTS))
    results["requests"]["vaults"] = count_requests(options.work, many, SECRETS_OF_VAULTS)
    network.route("near")
    server.say(f"slow {TOKEN_DELAY} {VAULT_DELAY}")
    measure("slow", quick, 10, options.rounds)
    server.say("slow 0 0")
    few = max(1, options.rounds // 4)
    for quota in QUOTAS:
        for count in COUNTS:
            measure(f"quota {quota}", quick, count, few, quota=quota)
    for count in SECRETS:
        measure("secrets", quick, count, few)
    for count in VAULT_COUNTS:
        ours = [client.with_vaults(count) for client in quick if client.name != GO]
        measure("vaults", ours, SECRETS_OF_VAULTS, few)
        results["times"]["vaults"][count] = results["times"]["vaults"].pop(SECRETS_OF_VAULTS)
    for what, trust in trust_directories(options.work).items():
        measure(what, [client.with_trust(trust) for client in quick if client.name != GO], 1, options.rounds)
    for client in quick:
        for distance, count in [("near", 1), ("near", 10), ("near", 50), ("far", 10), ("far", 50)]:
            network.route(distance)
            print(f"memory of {client.name}, {distance}, {count} secrets", file=sys.stderr)
            charged = client.memory(count)
            peak = next(kinds["peak"] for label, kinds in charged.items() if label not in ("hello-world", "difference"))
            figures = {"peak": peak, "difference": charged["difference"]["peak"]}
            results["memory"].setdefault(client.name, {})[f"{distance} {count}"] = figures

    bars = judge(results)
    report = write_report(options, clients, results, bars)
    options.result.write_text(report)
    options.result.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    print(report, end="")
    if options.check and not all(met for _, _, met in bars):
        sys.exit(1)


class Network:
    """The client's namespace (ours), the server's, and the two ways between them."""

    def __init__(self, work):
        # Holds the server's namespace open, and ends with us: its stdin does.
        self.server = start("the server's namespace", ["unshare", "--net", "sh", "-c", "echo ready; exec cat"])
        self.enter_server = ["nsenter", f"--net=/proc/{self.server.pid}/ns/net"]
        self.ip("link add near0 type veth peer name near1")
        self.roundtrip = start("roundtrip", [work / "roundtrip", RTT.replace(" ", ""), "far0", "far1"])
        for device in ("near1", "far1"):
            self.ip(f"link set {device} netns {self.server.pid}")
        for device in ("lo", "near0", "far0"):
            self.ip(f"link set {device} up")
        for device in ("lo", "near1", "far1"):
            self.ip_server(f"link set {device} up")
        self.ip(f"address add {CLIENT}/32 dev near0")
        self.ip(f"address add {CLIENT_FOR_IMDS}/32 dev near0")
        self.ip_server(f"address add {SERVER}/32 dev near1")
        self.ip_server(f"address add {IMDS}/32 dev near1")
        self.ip(f"route add {IMDS}/32 dev near0 src {CLIENT_FOR_IMDS}")
        self.ip_server(f"route add {CLIENT_FOR_IMDS}/32 dev near1")
        self.route("near")

        hosts, resolver = work / "hosts", work / "resolv.conf"
        hosts.write_text(f"127.0.0.1 localhost\n{SERVER} {' '.join(VAULTS)}\n")
        resolver.write_text("")
        for file, place in ((hosts, "/etc/hosts"), (resolver, "/etc/resolv.conf")):
            subprocess.run(["mount", "--bind", file, os.path.realpath(place)], check=True)

    def route(self, distance):
        """Leads client and vault to each other over the `near` or the `far` pair."""
        self.ip(f"route replace {SERVER}/32 dev {distance}0 src {CLIENT}")
        self.ip_server(f"route replace {CLIENT}/32 dev {distance}1")
        # The kernel remembers round-trip times for each address, and would time retransmissions by the wrong one.
        self.ip("tcp_metrics flush")
        self.ip_server("tcp_metrics flush")

    def ip(self, words):
        subprocess.run(["ip", *words.split()], check=True)

    def ip_server(self, words):
        subprocess.run([*self.enter_server, "ip", *words.split()], check=True)


class Client:
    """One way to get secrets into a process: an argument vector for a number of secrets, and an environment."""

    def __init__(self, name, program, environment, pair):
        self.name = name
        self.program = [str(word) for word in program]
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **environment}
        self.pair = pair

    def with_vaults(self, count):
        """The same with secrets of this number of vaults."""

        def reference(i):
            vault = VAULTS[i % count].split(".")[0]
            return ["--secret", f"S{i}=akv://{vault}/bench-{i}"]

        return Client(self.name, self.program, self.environment, reference)

    def with_trust(self, trust):
        """The same with other certificates to trust."""
        environment = {name: value for name, value in self.environment.items() if name != "SSL_CERT_FILE"}
        return Client(self.name, self.program, {**environment, **trust}, self.pair)

    def argv(self, count, command):
        pairs = [word for i in range(1, count + 1) for word in self.pair(i)]
        return [*self.program, *pairs, *(["--"] if self.program else []), command]

    def must_deliver(self, count):
        """A client that is quick because it does not do the job is no peer."""
        if not self.program:
            return
        argv = self.argv(count, "/usr/bin/env")
        out = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=RUN_SECONDS)
        if out.returncode != 0:
            sys.exit(f"bench/run: {self.name}: exit status {out.returncode}\n{out.stderr}")
        missing = [f"S{i}" for i in range(1, count + 1) if f"S{i}={secret(i)}" not in out.stdout.splitlines()]
        if missing:
            sys.exit(f"bench/run: {self.name} started its command without {missing}")

    def time(self, count, quota=None):
        """Milliseconds from before the spawn until the end of /bin/true, and of CPU time. `quota`: percent of one CPU."""
        argv = self.argv(count, "/bin/true")
        signal.alarm(RUN_SECONDS)
        # Unlike subprocess, posix_spawn has no thread, pipe or fork of this process' pages in what is timed.
        with CpuGroup(quota) as group:
            argv = group.enter + argv
            start_time = time.perf_counter_ns()
            pid = os.posix_spawn(argv[0], argv, self.environment)
            _, status, usage = os.wait4(pid, 0)
            took = time.perf_counter_ns() - start_time
        signal.alarm(0)
        if status != 0:
            sys.exit(f"bench/run: {self.name} with {count} secrets: wait status {status}")
        return took / 1e6, (usage.ru_utime + usage.ru_stime) * 1e3

    def memory(self, count):
        argv = [BENCH / "memory", "--json", *self.argv(count, "{}")]
        out = subprocess.run(argv, env=self.environment, check=True, stdout=subprocess.PIPE)
        return json.loads(out.stdout)


class CpuGroup:
    """A cgroup with a quota of CPU time, in percent of one CPU: that of a container with a limit of 50m is 5. `None` is no
    group.

    Each run gets a fresh group, which has all of its quota, at any point of the kernel's period. What a client does in it
    begins with its execve: the shell that enters it has used its CPU time outside, except for about 0.1 ms to become
    the client. A fork of this process would use 1 ms of a quota of 5 ms, most of it to give its pages back.
    """

    def __init__(self, percent):
        root = pathlib.Path("/sys/fs/cgroup")
        self.version2 = (root / "cgroup.controllers").exists()
        self.parent = root if self.version2 else root / "cpu"
        self.path = self.parent / f"akv-init-bench-{os.getpid()}"
        self.percent = percent
        # The beginning of the argument vector of what is to run in the group.
        self.enter = ["/bin/sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(self.path)] if percent else []

    def __enter__(self):
        if self.percent is None:
            return self
        if self.version2:
            (self.parent / "cgroup.subtree_control").write_text("+cpu")
        self.path.mkdir()
        quota = self.percent * 1000
        if self.version2:
            (self.path / "cpu.max").write_text(f"{quota} 100000")
        else:
            (self.path / "cpu.cfs_period_us").write_text("100000")
            (self.path / "cpu.cfs_quota_us").write_text(str(quota))
        return self

    def __exit__(self, *_):
        if self.percent is not None:
            self.path.rmdir()


def make_clients(work):
    trust = {"SSL_CERT_FILE": str(work / "server" / "ca.pem")}
    peer = {"VAULT": VAULT, **trust}
    short = VAULT.split(".")[0]

    def plain(i):
        return [f"S{i}=bench-{i}"]

    def reference(i):
        return ["--secret", f"S{i}=akv://{short}/bench-{i}"]

    clients = [
        Client("/bin/true alone", [], {}, lambda i: []),
        Client(OURS, [work / "akv-init", "exec"], trust, reference),
        Client(GO, [work / "peer-go"], peer, plain),
        Client("script + seed helper", [work / "start-seed.sh"], peer, plain),
    ]
    if (work / "other" / "akv-init").exists():
        clients.insert(2, Client(OTHER, [work / "other" / "akv-init", "exec"], trust, reference))
    if shutil.which("curl") and shutil.which("jq"):
        clients.append(Client("script + curl + jq", [work / "start-curl.sh"], peer, plain))
    return clients


def trust_directories(work):
    """The variables that name a directory of certificates to trust: one that is not needed, since the vault's CA is in a
    file that is named too, and one with that CA, all of whose files have to be read to find it."""
    ca_file, directory = work / "server" / "ca.pem", work / "certificates"
    shutil.copytree(CERTIFICATES, directory, symlinks=True)
    shutil.copy(ca_file, directory)
    return {
        "directory": {"SSL_CERT_FILE": str(ca_file), "SSL_CERT_DIR": str(CERTIFICATES)},
        "directory with the CA": {"SSL_CERT_DIR": str(directory)},
    }


def secret(i):
    return f"the-value-of-secret-{i}"


def start_server(work, network):
    directory = work / "server"
    directory.mkdir()
    # Keeps the record of the requests off the disk.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    secrets = [word for i in range(1, max(SECRETS) + 1) for word in ("--secret", f"bench-{i}={secret(i)}")]
    doors = ["--imds", f"{IMDS}:80", "--vault", f"{SERVER}:443", "--name", VAULT]
    argv = [*network.enter_server, work / "standin", *doors, "--dir", directory, *secrets]
    return Server(start("the stand-in for Azure", argv))


class Server:
    """The stand-in, which obeys lines on its standard input."""

    def __init__(self, process):
        self.process = process

    def say(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer != line:
            sys.exit(f"bench/run: the stand-in answered `{answer}` to `{line}`")


def count_requests(work, client, count, **how):
    """The requests of one run to each endpoint, and the connections to the vault."""
    log = work / "server" / "requests.jsonl"
    before = log.stat().st_size
    client.time(count, **how)
    with log.open() as file:
        file.seek(before)
        requests = [json.loads(line) for line in file]
    endpoints = collections.Counter(request["endpoint"] for request in requests)
    connections = {request["connection"] for request in requests if request["endpoint"] == "vault"}
    return {**endpoints, "connections": len(connections)}


def start(name, argv):
    """Starts what ends when its stdin does, and waits until it says `ready`."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.strip() == "ready":
            return process
    sys.exit(f"bench/run: {name} ended with status {process.wait()} before it was ready")


def time_to_connect():
    """Milliseconds that a bare TCP connection to the vault takes: one round trip, so the distance that there really is."""
    samples = []
    for _ in range(11):
        start_time = time.perf_counter_ns()
        socket.create_connection((VAULT, 443), timeout=RUN_SECONDS).close()
        samples.append((time.perf_counter_ns() - start_time) / 1e6)
    return statistics.median(samples)


def take_turns(clients, count, rounds, **how):
    """The medians of each client's times and CPU times; one round before the first is not counted."""
    samples = {client.name: [] for client in clients}
    for turn in range(rounds + 1):
        first = turn % len(clients)
        for client in clients[first:] + clients[:first]:
            took = client.time(count, **how)
            if turn > 0:
                samples[client.name].append(took)
    return {
        name: {kind: statistics.median(values) for kind, values in zip(("wall", "cpu"), zip(*of_client))}
        for name, of_client in samples.items()
    }


def count_certificates():
    return sum(1 for _ in CERTIFICATES.iterdir())


def judge(results):
    """The bars: (what, the figures, met or not)."""
    bars = []

    def figures(what, count, kind):
        return [results["times"][what][count].get(name, {}).get(kind) for name in (OURS, GO, OTHER)]

    def ratio(title, what, count, kind, most):
        ours, go, _ = figures(what, count, kind)
        share = ours / go
        bars.append((f"{title}: at most {most} of Go's", f"{ours:.1f} / {go:.1f} ms = {share:.2f}", share <= most))

    def limit(title, value, most, unit):
        shown = f"{value:,.1f}" if unit == "ms" else f"{value:,.0f}"
        bars.append((f"{title}: at most {most:,} {unit}", f"{shown} {unit}", value <= most))

    for kind, title, limits in [("wall", "time", (0.55, 0.45, 0.55)), ("cpu", "CPU time", (0.60, 0.40, 0.40))]:
        for count, most in zip(COUNTS, limits):
            ratio(f"no delay, {title}, {count}", "near", count, kind, most)
    for count, most in zip(COUNTS, (66, 69, 97)):
        limit(f"{RTT} round trip, {count}", figures("far", count, "wall")[0], most, "ms")
    for count in (10, 50):
        ratio(f"CPU quota of 5 %, time, {count}", "quota 5", count, "wall", 0.3)
    ratio("no delay, time, 500", "secrets", 500, "wall", 1)
    ours, _, other = figures("slow", 10, "wall")
    title = f"token after {TOKEN_DELAY} ms, answers after {VAULT_DELAY} ms, 10"
    limit(title, ours, 40, "ms")
    if other is not None:
        # Half a millisecond is what two runs of the same program differ by.
        met = ours <= other + 0.5
        bars.append((f"{title}: not slower than the other build", f"{ours:.1f} to {other:.1f} ms", met))
    cost = figures("directory", 1, "cpu")[0] - figures("near", 1, "cpu")[0]
    limit(f"CPU time of a directory of certificates ({count_certificates()} entries)", cost, 2, "ms")
    limit("size of the file", results["size"], 1_700_000, "bytes")
    for place, most in [("near 10", 700), ("near 50", 850), ("far 10", 1500), ("far 50", 4000)]:
        limit(f"memory, {place}", results["memory"][OURS][place]["difference"], most, "KiB")
    for distance in ("near", "far"):
        for count in COUNTS:
            found = results["requests"][distance][count]
            met = (found.get("imds"), found.get("vault")) == (1, count)
            text = f"{found.get('imds')} + {found.get('vault')}, {found['connections']} connections"
            bars.append((f"requests, {distance}: exactly 1 + {count}", text, met))
    for title, what, most in [(f"under a quota of {min(QUOTAS)} %", "quota", 4), ("to all vaults", "vaults", 32)]:
        connections = results["requests"][what]["connections"]
        bars.append((f"connections {title}: at most {most}", str(connections), connections <= most))
    return bars


def write_report(options, clients, results, bars):
    go_version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    version = subprocess.run([options.work / "akv-init", "--version"], capture_output=True, text=True, check=True)
    sizes = {name: (options.work / file).stat().st_size for name, file in (("ours", "akv-init"), ("go", "peer-go"))}
    kernel = platform.release().split("-")[0]
    times, few = results["times"], max(1, options.rounds // 4)
    quick = [client.name for client in clients if client.name in (OURS, OTHER, GO)]

    def table(columns, names, cell):
        lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
        for name in names:
            cells = [cell(name, column) for column in columns.values()]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        return [*lines, ""]

    def milliseconds(kind):
        return lambda name, at: f"{times[at[0]][at[1]][name][kind]:,.1f}"

    columns = {
        f"{title}, {count}": (what, count)
        for title, what in (("no delay", "near"), (f"{RTT} RTT", "far"))
        for count in COUNTS
    }
    names = [client.name for client in clients]
    lines = [
        "# akv-init beside its peers",
        "",
        f"Written by `bench/run`: {version.stdout.strip()} ({sizes['ours']:,} bytes), {go_version}"
        f" (its program: {sizes['go']:,} bytes), {os.cpu_count()} CPUs shared with the server, Linux {kernel}.",
        "Compare within a table only: the figures of another machine, or of another run, are other figures.",
        "",
        "## Time",
        "",
        f"Milliseconds from the start of the process to the end of the `/bin/true` that it became. Medians of {options.rounds}"
        f" rounds in which the clients took turns (the scripts: {few}, and {max(1, options.rounds // 20)} for 50 secrets). The"
        " round trip is one of the network, to the vault only, so that opening a connection pays it too: a bare TCP"
        f" connection to it took {results['connect']['near']:.1f} and {results['connect']['far']:.1f} ms.",
        "",
        *table(columns, names, milliseconds("wall")),
    ]
    if not any("curl" in name for name in names):
        lines += ["The script with curl and jq was left out: this machine does not have both.", ""]
    lines += [
        "The Go program asks for ten secrets at once over HTTP/1.1 connections that it keeps; the seed helper is the"
        " same program for one secret, started once for each; the scripts ask one after the other.",
        "",
        "CPU time of the same runs, user and system:",
        "",
        *table(columns, quick, milliseconds("cpu")),
        f"A token that takes {TOKEN_DELAY} ms and answers of the vault that take {VAULT_DELAY} ms:",
        "",
        *table({"10 secrets": ("slow", 10)}, quick, milliseconds("wall")),
        f"CPU time with one secret and `SSL_CERT_DIR`, a directory of {count_certificates()} entries like"
        f" {CERTIFICATES}:",
        "",
        *table(
            {"none": ("near", 1), "not needed": ("directory", 1), "has the vault's CA": ("directory with the CA", 1)},
            [name for name in quick if name != GO],
            milliseconds("cpu"),
        ),
        f"Under a quota of CPU time, no delay ({few} rounds):",
        "",
        *table(
            {f"{quota} %, {count}": (f"quota {quota}", count) for quota in QUOTAS for count in COUNTS},
            quick,
            milliseconds("wall"),
        ),
        f"By the number of secrets, no delay ({few} rounds):",
        "",
        *table({str(count): ("secrets", count) for count in SECRETS}, quick, milliseconds("wall")),
        f"{SECRETS_OF_VAULTS} secrets by the number of vaults, no delay ({few} rounds):",
        "",
        *table(
            {str(count): ("vaults", count) for count in VAULT_COUNTS},
            [name for name in quick if name != GO],
            milliseconds("wall"),
        ),
        "## Memory",
        "",
        "KiB, median of 20: what the peak charged to a fresh cgroup (kernel memory and socket buffers included, the program"
        " on a tmpfs, becoming a static hello-world) is above that hello-world's own charge. `bench/memory` says how and"
        " why.",
        "",
        *table(
            {place: place for place in results["memory"][OURS]},
            quick,
            lambda name, place: f"{results['memory'][name][place]['difference']:,}",
        ),
        "## Bars",
        "",
        "| bar | figures | |",
        "|---|---|---|",
    ]
    lines += [f"| {what} | {figures} | {'PASS' if met else 'FAIL'} |" for what, figures, met in bars]
    return "\n".join(lines) + "\n"


main()
