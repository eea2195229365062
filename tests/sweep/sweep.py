"""Runs each command once for each of its system calls and errnos, with that call refused, and checks the run.

    sweep.py BINARY LAUNCHER CA_FILE SCRATCH [COMMAND [CALL]]

The calls of a command are those that strace sees in successful runs. With one of them refused, a run

  * ends in time, and not by a signal, unless the start-up code of the C library or of Rust needs the call: then
    `--version` cannot start either;
  * either has the same effect as without the filter, down to each variable, signal and descriptor of COMMAND and each
    file, or ends with a documented exit code, which is not that of a bug, and with an error;
  * gives no hint that leads elsewhere, and for some calls one that names the sandbox;
  * prints no secret and no token on standard error;
  * leaves the files of `write` and `install` all old or all new, and the next run completes and tidies them.

Prints a table with one line for each command, and below it whatever does not hold. The exit code is 0 if everything does.
"""

import itertools
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

binary, launcher, ca_file, scratch, *only = sys.argv[1:]

ERRNOS = {"EPERM": 1, "ENOSYS": 38}
TIMEOUT = 15  # seconds. Each wait of a run is limited to a few.
COMMAND_CODE = 42
DOCUMENTED = {64, 66, 69, 73, 76, 77, 78, 126, 127}  # docs/troubleshooting.md has them, and 70, a bug.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "SSL_CERT_FILE": ca_file, "AKV_INIT_TIMEOUT": "10", "ORDINARY": "value"}
# For runs that may well not succeed.
IMPATIENT = ENVIRONMENT | {"AKV_INIT_TIMEOUT": "1"}
SECRETS = re.compile(r"sentinel-|eyJ[A-Za-z0-9]")
# Hints for other causes of the same error.
ELSEWHERE = re.compile(r"ulimit|is this container on Azure|cannot be reached from this network")

A, B, OLD = ("akv://kv1/" + name for name in ("a", "b", "old"))
REPORT = ["--", launcher, "--report"]
FILES = ["--secret", f"a={A}", "--secret", f"dir/b={B}", "DIR"]
OLD_FILES = ["--secret", f"a={OLD}", "--secret", f"dir/b={OLD}", "--secret", f"old={OLD}", "DIR"]

# Name: the command line, and one that fills DIR before.
COMMANDS = {
    "exec": (["exec", "--secret", f"A={A}", *REPORT], None),
    "exec --init": (["exec", "--init", "--drain", "1", "--secret", f"A={A}", *REPORT, "--orphan"], None),
    "exec --memfd": (["exec", "--memfd", f"A={A}", "--secret", f"B={B}", *REPORT], None),
    "write": (["write", *FILES], ["write", *OLD_FILES]),
    "write --layout atomic": (["write", "--layout", "atomic", *FILES], ["write", "--layout", "atomic", *OLD_FILES]),
    "write --keep-existing": (["write", "--keep-existing", *FILES], ["write", "--keep-existing", *OLD_FILES]),
    "write, unchanged": (["write", "--keep-existing", *FILES], ["write", "--keep-existing", *FILES]),
    "install": (["install", "DIR"], None),
    "check": (["check", "--secret", f"A={A}", *REPORT], None),
    "get": (["get", A], None),
    "token": (["token", "https://vault.azure.net"], None),
}

# The calls that no process starts without, and what needs them.
START = {
    "arch_prctl": "musl sets the thread pointer, or crashes",
    "mmap": "musl makes room for the variables of the first thread, or crashes",
    "poll": "Rust looks for closed standard descriptors, or aborts",
    "rt_sigaction": "Rust ignores SIGPIPE, or aborts",
}
# The calls without which a process may be ended by a signal later, and why nothing can be done about it.
FATAL = {
    "exit": "a thread of musl unmaps its own stack before its last call, so there is nothing to return to",
    "mprotect": "musl takes ENOSYS for a machine that protects no memory: the stack of a thread stays inaccessible",
}
# Command and call: why the run may succeed with another effect.
OTHER_EFFECT = {("check", "write"): "the exit code of `check` is an answer, too, whoever reads the report"}
# The calls without which what is no longer used cannot be removed, or is another user's: a warning says so.
REMOVAL = {"geteuid", "unlinkat"}
# The calls without which the error cannot be printed.
SILENT = {"poll", "write"}
# The calls whose failure looks like a network without answers, and why.
UNANSWERED = {"recvmsg": "the resolver of musl waits for another answer of the name server, and tells no caller why"}
# A sandbox is the likeliest reason why one of these fails, so a hint names it.
NAMES_SANDBOX = {
    "clone", "connect", "eventfd2", "execve", "fork", "kill", "memfd_create", "prctl", "rt_sigprocmask", "signalfd4",
    "socket", "wait4",
}  # fmt: skip

numbers = itertools.count()


def start(words, environment=ENVIRONMENT):
    """Runs a program. Its exit code is None if it has not ended in time."""
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd="/",
        start_new_session=True,
    )  # fmt: skip
    code = None
    try:
        output = process.communicate(timeout=TIMEOUT)
        code = process.returncode
    except subprocess.TimeoutExpired:
        kill_session(process.pid)
        output = process.communicate()
    stdout, stderr = (stream.decode(errors="replace") for stream in output)
    return code, stdout, stderr


def kill_session(session):
    """With --init, COMMAND has a process group of its own."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == session:
                os.kill(int(path.name), signal.SIGKILL)
        except ProcessLookupError:
            pass


class Run:
    """A run of a command, after `prefix`, in a directory of its own."""

    def __init__(self, name, prefix=(), environment=ENVIRONMENT):
        self.dir = Path(scratch, f"run-{next(numbers)}")
        self.dir.mkdir()
        words, before = COMMANDS[name]
        self.words = self.line(words)
        if before:
            code, _, stderr = start(self.line(before))
            assert code == 0, stderr
        self.before = files(self.dir)
        started = time.monotonic()
        self.code, stdout, self.stderr = start([*prefix, *self.words], environment)
        self.seconds = time.monotonic() - started
        self.stdout = steady(stdout)
        self.after = files(self.dir)
        self.leftovers = leftovers(self.dir)

    def line(self, words):
        return [binary, *(str(self.dir) if word == "DIR" else word for word in words)]

    def effect(self):
        return self.code, self.stdout, self.after

    def result(self, call):
        """What the table counts: the exit code, or a word where there is none."""
        if self.code is None:
            return "hangs"
        if 0 <= self.code <= 128:
            return self.code
        return "start" if call in START else "signal"


def files(top):
    """What a reader of the directory finds: path, mode and content of each file."""
    found = {}
    paths = [path for path in top.rglob("*") if not path.relative_to(top).parts[0].startswith("..")]
    # `rglob` does not follow the links of the atomic layout.
    paths += [below for path in paths if path.is_symlink() and path.is_dir() for below in path.iterdir()]
    manifests = [top / "..akv-init.json", top / "..data" / "..akv-init.json"]
    for path in paths + manifests:
        if path.is_file():
            content = re.sub(rb'"written":\d+', b'"written":N', path.read_bytes())
            found[str(path.relative_to(top))] = (oct(stat.S_IMODE(path.stat().st_mode)), content)
    return found


def leftovers(top):
    """The temporary names that are no longer used."""
    data = top / "..data"
    current = os.readlink(data) if data.is_symlink() else None
    return [path.name for path in top.glob("..akv-init-*") if path.name != current]


def steady(text):
    """The text without what differs from run to run."""
    for pattern, replacement in [
        (r"eyJ[\w.-]+", "TOKEN"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
        (r"\b\d+ m?s\b", "N s"),
        # Where a line was folded depends on how long its time is.
        (r"\s+", " "),
    ]:
        text = re.sub(pattern, replacement, text)
    return text


def calls_of(name):
    """The system calls of a command, as a dictionary of their numbers. Some depend on which thread is faster."""
    calls = {}
    for _ in range(3):
        log = Path(scratch, f"strace-{next(numbers)}")
        # Up to the execve of COMMAND.
        run = Run(name, ["strace", "-f", "-n", "-b", "execve", "-o", str(log)])
        assert run.code in (0, COMMAND_CODE), f"{name} fails: {run.code} {run.stderr}"
        for number, call in re.findall(r"^\d+ +\[ *(\d+)\] (\w+)\(", log.read_text(), re.MULTILINE):
            calls[call] = int(number)
    if REPORT[0] not in COMMANDS[name][0]:
        # That was the one that started it.
        calls.pop("execve", None)
    return calls


def faults(name, call, number, errno, good):
    """A run with a call refused: its exit code, and the sentences that do not hold for it."""
    refuse = [launcher, str(number), str(ERRNOS[errno])]
    run = Run(name, refuse, IMPATIENT)
    found = []

    def holds(condition, sentence):
        if not condition:
            found.append(sentence)

    ended_by_signal = run.result(call) in ("start", "signal")
    if run.code is None:
        found.append(f"it has not ended after {TIMEOUT} s")
    elif ended_by_signal:
        holds(call in START or call in FATAL, f"it was ended by a signal ({run.code})")
        if call in START:
            code, *_ = start([*refuse, binary, "--version"])
            holds(code < 0, "it was ended by a signal, although `--version` is not")
    elif run.code in (0, COMMAND_CODE):
        same = run.effect() == good.effect() or (name, call) in OTHER_EFFECT
        holds(same, f"it succeeds, but the effect differs: {run.effect()} is not {good.effect()}")
    else:
        holds(run.code in DOCUMENTED, f"its exit code is {run.code}")
        holds(call in SILENT or "akv-init: error: " in run.stderr or "FAILED" in run.stdout, "there is no error")
        holds(call in UNANSWERED or not ELSEWHERE.search(run.stderr), "the hint leads elsewhere")
        if call in NAMES_SANDBOX and name != "check":
            holds(re.search("hint: .*(sandbox|seccomp)", run.stderr), "no hint names the sandbox")
    if not ended_by_signal:
        holds("panicked" not in run.stderr and "internal error" not in run.stderr, "it panics")
    holds(not SECRETS.search(run.stderr), "a secret is on standard error")
    holds(run.after in (run.before, good.after), f"some files are old and some are new: {run.after}")
    holds(call in REMOVAL or ended_by_signal or not run.leftovers, f"it leaves {run.leftovers}")
    if run.before or run.after:
        code, _, stderr = start(run.words)
        holds(code == 0 and files(run.dir) == good.after, f"the next run does not complete the files: {stderr}")
        holds(not leftovers(run.dir), "the next run does not tidy")
    shutil.rmtree(run.dir)
    if only[1:]:
        print(f"{errno}: {run.code} after {run.seconds:.1f} s\n{run.stdout}\n{run.stderr}")
    return run, found


def main():
    all_found = []
    slowest = Counter()
    print(f"{'command':24}{'calls':>6}{'runs':>6}{'work':>6}  others by their exit codes")
    with ThreadPoolExecutor(8) as pool:
        for name in COMMANDS:
            if only[:1] not in ([], [name]):
                continue
            calls = calls_of(name)
            if only[1:]:
                calls = {call: number for call, number in calls.items() if call == only[1]}
            good = Run(name)
            jobs = {
                (call, errno): pool.submit(faults, name, call, number, errno, good)
                for call, number in sorted(calls.items())
                for errno in ERRNOS
            }
            codes = Counter()
            for (call, errno), job in jobs.items():
                run, found = job.result()
                codes[run.result(call)] += 1
                slowest[f"{name}, {call} {errno}"] = run.seconds
                all_found += [f"FAILED  {name}, {call} is {errno}: {sentence}\n{run.stderr}" for sentence in found]
            work = codes.pop(good.code)
            others = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items(), key=str))
            print(f"{name:24}{len(calls):6}{len(jobs):6}{work:6}  {others}", flush=True)
    for word, reasons in ("start", START), ("signal", FATAL):
        for call, why in reasons.items():
            print(f"{word}: {call}: {why}")
    print("slowest:", ", ".join(f"{what} {seconds:.0f} s" for what, seconds in slowest.most_common(5)))
    print(*all_found, sep="\n")
    return 1 if all_found else 0


if __name__ == "__main__":
    sys.exit(main())
