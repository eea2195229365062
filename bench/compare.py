#!/usr/bin/env python3
"""The measuring half of bench/run, which builds what is measured here and starts this in fresh mount, network and PID
namespaces.

This namespace is the client's. The stand-in for Azure runs in a second one, with two routes to it: a veth pair
without delay, and a pair of TUN devices with `roundtrip` between them. The vault's address is routed over one or the
other; the identity endpoint's always over the first, because on Azure it answers from the same host.

What is timed is a whole process: from before it is spawned until the /bin/true that it became has been waited for. The
clients take turns, in another order each round, so that a slow second of the machine hits them all.
"""

import argparse
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
VAULT = "kv1.vault.azure.net"
# Addresses reserved for benchmarks (RFC 2544): a mistake cannot reach a real host.
CLIENT, CLIENT_FOR_IMDS, SERVER, IMDS = "198.18.0.1", "198.18.0.3", "198.18.0.2", "169.254.169.254"
COUNTS = (1, 10, 50)
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
    start_server(options.work, network)
    clients = make_clients(options.work)
    for client in clients:
        client.must_deliver(max(COUNTS))

    times, connects = {}, {}
    for distance in ("near", "far"):
        network.route(distance)
        connects[distance] = time_to_connect()
        for count in COUNTS:
            # Fifty secrets, one after the other, take seconds: they are a matter of multiples, not of hundredths.
            rounds = options.rounds if count < 50 else max(1, options.rounds // 4)
            print(f"timing {distance}, {count} secrets, {rounds} rounds", file=sys.stderr)
            times[distance, count] = take_turns(clients, count, rounds)
    network.route("near")
    memory = {}
    for client in clients:
        for count in (1, 10):
            if client.measures_memory:
                print(f"memory of {client.name}, {count} secrets", file=sys.stderr)
                memory[client.name, count] = client.memory(count)

    bars = judge(times, memory)
    report = write_report(options, clients, times, connects, memory, bars)
    options.result.write_text(report)
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
        hosts.write_text(f"127.0.0.1 localhost\n{SERVER} {VAULT}\n")
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

    def __init__(self, name, program, environment, pair, measures_memory=False):
        self.name = name
        self.program = [str(word) for word in program]
        self.environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **environment}
        self.pair = pair
        self.measures_memory = measures_memory

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

    def time(self, count):
        """Milliseconds from before the spawn until the end of /bin/true."""
        argv = self.argv(count, "/bin/true")
        signal.alarm(RUN_SECONDS)
        # Unlike subprocess, posix_spawn has no thread, pipe or fork of this process' pages in what is timed.
        start_time = time.perf_counter_ns()
        pid = os.posix_spawn(argv[0], argv, self.environment)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter_ns() - start_time
        signal.alarm(0)
        if status != 0:
            sys.exit(f"bench/run: {self.name} with {count} secrets: wait status {status}")
        return took / 1e6

    def memory(self, count):
        argv = [BENCH / "memory", "--json", *self.argv(count, "{}")]
        out = subprocess.run(argv, env=self.environment, check=True, stdout=subprocess.PIPE)
        return json.loads(out.stdout)


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
        Client("akv-init", [work / "akv-init", "exec"], trust, reference, measures_memory=True),
        Client("Go program", [work / "peer-go"], peer, plain, measures_memory=True),
        Client("script + seed helper", [work / "start-seed.sh"], peer, plain),
    ]
    if shutil.which("curl") and shutil.which("jq"):
        clients.append(Client("script + curl + jq", [work / "start-curl.sh"], peer, plain))
    return clients


def secret(i):
    return f"the-value-of-secret-{i}"


def start_server(work, network):
    directory = work / "server"
    directory.mkdir()
    # Keeps the record of the requests off the disk.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    secrets = [word for i in range(1, max(COUNTS) + 1) for word in ("--secret", f"bench-{i}={secret(i)}")]
    doors = ["--imds", f"{IMDS}:80", "--vault", f"{SERVER}:443", "--name", VAULT]
    return start("the stand-in for Azure", [*network.enter_server, work / "standin", *doors, "--dir", directory, *secrets])


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


def take_turns(clients, count, rounds):
    """The median of each client's times; one round before the first is not counted."""
    samples = {client.name: [] for client in clients}
    for turn in range(rounds + 1):
        first = turn % len(clients)
        for client in clients[first:] + clients[:first]:
            took = client.time(count)
            if turn > 0:
                samples[client.name].append(took)
    return {name: statistics.median(of_client) for name, of_client in samples.items()}


def judge(times, memory):
    """The bars: (what, the figures, met or not)."""
    bars = []

    def time_bar(what, distance, count, met):
        ours, go = (times[distance, count][name] for name in ("akv-init", "Go program"))
        bars.append((what, f"{ours:.1f} ms to {go:.1f} ms", met(ours, go)))

    def memory_bar(what, count, most):
        used = memory["akv-init", count]["difference"]["peak"]
        bars.append((what, f"{used:,} KiB", used <= most))

    time_bar("one secret, no delay: no longer than Go", "near", 1, lambda ours, go: ours <= go)
    time_bar(f"one secret, {RTT} round trip: less than Go", "far", 1, lambda ours, go: ours < go)
    time_bar(f"ten secrets, {RTT} round trip: at most 1.1 times Go", "far", 10, lambda ours, go: ours <= 1.1 * go)
    memory_bar("memory for one secret: at most 800 KiB", 1, 800)
    memory_bar("memory for ten secrets: at most 1,800 KiB", 10, 1800)
    return bars


def write_report(options, clients, times, connects, memory, bars):
    go_version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    version = subprocess.run([options.work / "akv-init", "--version"], capture_output=True, text=True, check=True)
    sizes = {name: (options.work / file).stat().st_size for name, file in (("ours", "akv-init"), ("go", "peer-go"))}
    kernel = platform.release().split("-")[0]
    cell = "{:,.1f}".format

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
        f" rounds ({max(1, options.rounds // 4)} for 50 secrets) in which the clients took turns. The round trip is one"
        " of the network, to the vault only, so that opening a connection pays it too: a bare TCP connection to it took"
        f" {connects['near']:.1f} and {connects['far']:.1f} ms.",
        "",
        "| | " + " | ".join(f"{d}, {c}" for d in ("no delay", f"{RTT} RTT") for c in COUNTS) + " |",
        "|---|" + "---:|" * (2 * len(COUNTS)),
    ]
    for client in clients:
        row = [cell(times[distance, count][client.name]) for distance in ("near", "far") for count in COUNTS]
        lines.append(f"| {client.name} | " + " | ".join(row) + " |")
    if not any("curl" in client.name for client in clients):
        lines += ["", "The script with curl and jq was left out: this machine does not have both."]
    lines += [
        "",
        "The Go program asks for ten secrets at once over HTTP/1.1 connections that it keeps; the seed helper is the"
        " same program for one secret, started once for each; the scripts ask one after the other.",
        "",
        "## Memory",
        "",
        "KiB, median of 20: the peak charged to a fresh cgroup (kernel memory and socket buffers included, the program"
        " on a tmpfs, becoming a static hello-world), and what is left of it without that hello-world's own"
        " charge. `bench/memory` says how and why.",
        "",
        "| | 1 secret: peak | difference | 10 secrets: peak | difference |",
        "|---|---:|---:|---:|---:|",
    ]
    for client in clients:
        if client.measures_memory:
            row = []
            for count in (1, 10):
                charged = memory[client.name, count]
                of_program = next(kinds for label, kinds in charged.items() if label not in ("hello-world", "difference"))
                row += [f"{of_program['peak']:,}", f"{charged['difference']['peak']:,}"]
            lines.append(f"| {client.name} | " + " | ".join(row) + " |")
    lines += ["", "## Bars", "", "| bar | figures | |", "|---|---|---|"]
    lines += [f"| {what} | {figures} | {'PASS' if met else 'FAIL'} |" for what, figures, met in bars]
    return "\n".join(lines) + "\n"


main()
