"""Runs akv-init with too little memory, prints tables of how the runs ended, and fails for an end that is not allowed.

    table.py BINARY DIR IMDS VAULT

DIR is that of the fake Azure, which holds the secrets s1, s2 …. tests/memory.sh says what is allowed.
"""

import itertools
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

binary, azure, imds, vault = sys.argv[1:]
azure = pathlib.Path(azure)
operations = (pathlib.Path(__file__).parents[2] / "docs" / "operations.md").read_text()

COUNTS = [1, 12, 40]
COMMAND = ["--", binary, "--version"]  # It needs less memory than any run below.
COMMANDS = {
    "exec": (["exec"], COMMAND),
    "exec --init": (["exec", "--init"], COMMAND),
    "write": (["write"], [str(azure / "out")]),
    "check": (["check"], COMMAND),
}
ENVIRONMENT = {
    "AZURE_POD_IDENTITY_AUTHORITY_HOST": imds,
    "SSL_CERT_FILE": str(azure / "ca.pem"),
    "AKV_INIT_ALLOW_VAULT": vault,
    "AKV_INIT_TIMEOUT": "10",
    "PATH": "/usr/bin:/bin",
}
SECONDS = 30


class AddressSpace:
    """A limit on the address space (RLIMIT_AS). Without room for its program, the kernel kills a process in execve."""

    title = "ulimit -v"
    limits = [*range(2048, 8192, 256), 8192, 12288, 16384]
    needs = int(re.search(r"`ulimit -v (\d+)`", operations)[1])

    def run(self, kib, words):
        code, output = run(["sh", "-c", 'ulimit -v "$1" && shift && exec "$@"', "sh", str(kib), *words])
        return "-" if code < 0 and not self.starts(kib) else verdict(code, output)

    def starts(self, kib):
        words = ["sh", "-c", 'ulimit -v "$1" && exec "$2" --version', "sh", str(kib), binary]
        return kib > 4096 or subprocess.run(words, capture_output=True).returncode >= 0

    def close(self):
        pass


class Cgroup:
    """A limit on the memory of a cgroup, as that of a container, without swap. Both versions of cgroups will do."""

    title = "memory of a container"
    limits = range(2048, 8193, 256)
    needs = int(re.search(r"(\d+) MiB as the limit of its\s+container", operations)[1]) * 1024

    def __init__(self):
        name = f"akv-init-memory-{os.getpid()}"
        root = pathlib.Path("/sys/fs/cgroup")
        if (root / "cgroup.controllers").exists():
            (root / "cgroup.subtree_control").write_text("+memory")
            self.group, self.files, self.events = root / name, ["memory.swap.max", "memory.max"], "memory.events"
        else:
            self.group, self.events = root / "memory" / name, "memory.oom_control"
            self.files = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]

    def run(self, kib, words):
        self.group.mkdir()
        try:
            for file in self.files:
                limit = "0" if file == "memory.swap.max" else str(kib * 1024)
                if (self.group / file).exists():  # Without swap in the kernel there is none for it.
                    (self.group / file).write_text(limit)
            script = 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"'
            code, output = run(["sh", "-c", script, "sh", str(self.group), *words])
            was_killed = re.search(r"^oom_kill [1-9]", (self.group / self.events).read_text(), re.MULTILINE)
            # 137 is what a supervisor ends with when its child is killed.
            return "killed" if code in (-9, 137) and was_killed else verdict(code, output)
        finally:
            self.close()

    def close(self):
        for _ in range(100):  # A process that was killed may still be in there.
            try:
                return self.group.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.05)


def run(words):
    """The exit code, or the negative number of the signal; `None` if it has not ended in time. And all output."""
    with subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return 1000, process.communicate()
        return process.returncode, output


reasons = {}


def verdict(code, output):
    stdout, stderr = output
    if code == 0:
        return "ok"
    errors = re.findall(r"^akv-init: error: (.*)$", stderr, re.MULTILINE)
    errors += re.findall(r"^(FAILED .*)$", stdout, re.MULTILINE)[:1]
    for error in errors:
        reasons[error] = reasons.get(error, 0) + 1
    is_allowed = code == 69 and len(errors) == 1 and "value-of-s" not in stdout + stderr
    if is_allowed:
        return "69"
    print(f"{code}:", *output)
    return f"BAD:{code}"


def table(kind):
    columns = list(itertools.product(COMMANDS, COUNTS))
    print(f"\n{kind.title} (KiB) | " + " | ".join(f"{command}, {count}" for command, count in columns))
    ends = {}
    for kib in kind.limits:
        for command, count in columns:
            shutil.rmtree(azure / "out", ignore_errors=True)
            (azure / "out").mkdir()
            before, after = COMMANDS[command]
            secrets = [f"--secret=S{number}=akv://{vault}/s{number}" for number in range(1, count + 1)]
            ends[kib, command, count] = kind.run(kib, [binary, *before, *secrets, *after])
        print(kib, *(ends[kib, *column] for column in columns), sep=" | ", flush=True)
    return ends


def refused_calls():
    """Yields how a run ends when the kernel refuses memory to one of its calls."""
    secret = f"--secret=S=akv://{vault}/s1"
    for calls, words in [
        ("fork,vfork,clone", ["exec", "--init", secret, *COMMAND]),  # The child's own threads are not reached.
        ("clone", ["exec", secret, *COMMAND]),
        ("fork,vfork", ["exec", "--identity=cli", secret, *COMMAND]),
        ("memfd_create", ["exec", f"--memfd=S=akv://{vault}/s1", *COMMAND]),
        ("execve", ["exec", secret, *COMMAND]),
    ]:
        refused = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={calls}:error=ENOMEM"]
        yield calls, verdict(*run([*refused, binary, *words]))


failures = []
for kind in [AddressSpace(), Cgroup()]:
    try:
        ends = table(kind)
    finally:
        kind.close()
    for (kib, command, count), end in ends.items():
        if end.startswith("BAD") or end != "ok" and kib >= kind.needs:
            failures.append(f"{kind.title} {kib} KiB: {command} with {count} secrets: {end}")
    for end in ["ok", "69"] if kind.title == "ulimit -v" else ["ok"]:
        if end not in ends.values():
            failures.append(f"{kind.title}: no run has ended with {end}")
print("\ncall without memory | end")
for calls, end in refused_calls():
    print(calls, end, sep=" | ")
    if end != "69":
        failures.append(f"{calls}: {end}")
print()
for error, times in sorted(reasons.items(), key=lambda reason: -reason[1])[:20]:
    print(f"{times} times: {error[:300]}")
print(*failures, sep="\n")
sys.exit(bool(failures))
