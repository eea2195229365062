"""Inits, runs of them, and waiting for events: a line, an end of file, a status. The timeouts are for events that never
come.
"""

import os
import select
import signal
import subprocess
import tempfile
import time

PROBE = os.environ["PROBE"]
BINARY = os.environ["AKV_INIT_TEST_BINARY"]
HERE = os.path.dirname(os.path.abspath(__file__))
MODES = ("pid1", "plain")


class Wrong(Exception):
    """A result differs from the expected one."""


def equal(found, expected, what=""):
    if found != expected:
        raise Wrong(f"{what}: " * bool(what) + f"expected {expected!r}, found {found!r}")


def holds(condition, what):
    if not condition:
        raise Wrong(what)


class Init:
    """A program that can be process 1, and its options for each case."""

    def __init__(self, name, default, group, child, timeout=5):
        self.name, self.default, self.group, self.child = name, default, group, child
        # Long for akv-init, also on a busy machine. The others are known to fail some cases.
        self.timeout = timeout
        self.is_akv_init = name == "akv-init"

    def words(self, forward=None, drain=None):
        words = {None: self.default, "group": self.group, "child": self.child}[forward]
        return words + ["--drain", drain] * (drain is not None and self.is_akv_init) + ["--"]


EXEC = [BINARY, "exec"]
AKV_INIT = Init("akv-init", EXEC + ["--init"], EXEC + ["--init=group"], EXEC + ["--init=child"], 30)
OTHERS = [
    Init("tini", ["tini", "-s"], ["tini", "-s", "-g"], ["tini", "-s"]),
    Init("dumb-init", ["dumb-init"], ["dumb-init"], ["dumb-init", "-c"]),
    Init("catatonit", ["catatonit"], ["catatonit", "-g"], ["catatonit"]),
]


class Stream:
    """The lines that are read from a descriptor."""

    def __init__(self, descriptor, timeout):
        self.descriptor, self.timeout, self.text, self.is_over = descriptor, timeout, b"", False

    def read(self, until):
        """Reads more; whether there was any before the deadline."""
        if self.is_over:
            return False
        ready, _, _ = select.select([self.descriptor], [], [], max(0, until - time.monotonic()))
        if not ready:
            raise Wrong(f"nothing more came; so far: {self.text!r}")
        try:
            more = os.read(self.descriptor, 65536)
        except OSError:  # a terminal whose other end is closed
            more = b""
        self.text += more
        self.is_over = not more
        return bool(more)

    def line(self):
        """The next line, or the rest before the end."""
        until = time.monotonic() + self.timeout
        while b"\n" not in self.text and self.read(until):
            pass
        line, _, self.text = self.text.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def until(self, mark):
        """The text up to this mark."""
        until = time.monotonic() + self.timeout
        while mark.encode() not in self.text:
            if not self.read(until):
                raise Wrong(f"no {mark!r} in {self.text!r}")
        before, _, self.text = self.text.partition(mark.encode())
        return before.decode(errors="replace")

    def rest(self):
        """The text up to the end."""
        until = time.monotonic() + self.timeout
        while self.read(until):
            pass
        text, self.text = self.text, b""
        return text.decode(errors="replace")

    def available(self):
        """The text that has arrived, without waiting."""
        while not self.is_over and select.select([self.descriptor], [], [], 0)[0] and self.read(time.monotonic() + 1):
            pass
        return self.text.decode(errors="replace")


class Run:
    """A command in a session of its own, as process 1 or not; the processes that it leaves end with the `with`."""

    def __init__(self, mode, words, timeout=30, terminal=False, ignore="", block="", env=None, cwd="/tmp", passed=()):
        control, control_end = os.pipe()
        leash_end, self.leash = os.pipe()
        flags = ["--pid1"] * (mode == "pid1") + ["--terminal"] * terminal
        flags += ["--ignore", ignore] * bool(ignore) + ["--block", block] * bool(block)
        environment = {"PATH": os.environ["PATH"], "LANG": "C", "TERM": "dumb", "PS1": "$ "} | (env or {})
        environment |= {"CONTROL": str(control_end), "LEASH": str(leash_end)}
        if terminal:
            self.master, slave = os.openpty()
            ends = {"stdin": slave, "stdout": slave, "stderr": slave}
        else:
            ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(
            [PROBE, "run", *flags, "--", *words],
            env=environment,
            cwd=cwd,
            pass_fds=[control_end, leash_end, *passed],
            **ends,
        )
        for end in (control_end, leash_end, *passed):
            os.close(end)
        if terminal:
            os.close(slave)
            self.stdin, self.out, self.err = self.master, Stream(self.master, timeout), None
        else:
            self.stdin = self.process.stdin.fileno()
            self.out = Stream(self.process.stdout.fileno(), timeout)
            self.err = Stream(self.process.stderr.fileno(), timeout)
        self.control_descriptor = control
        self.control = Stream(control, timeout)
        self.is_terminal = terminal
        self.pid = int(self.control.line().split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.leash)
        try:
            self.process.wait(20)
        finally:
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                if pipe:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        pass
            os.close(self.control_descriptor)
            if self.is_terminal:
                os.close(self.master)

    def kill(self, number):
        os.kill(self.pid, number)

    def type(self, text):
        os.write(self.stdin, text.encode())

    def close_stdin(self):
        self.process.stdin.close()

    def ready(self):
        """Waits for `ready`, and returns the number after it, if there is one."""
        words = self.out.line().split()
        holds(words and words[0] == "ready", f"not ready: {words} {self.err and self.err.available()}")
        return int(words[1]) if len(words) > 1 else None

    def code(self):
        """Its exit code, as a shell has it."""
        how, number = self.end().split()
        return int(number) + 128 * (how == "signal")

    def end(self):
        """How it ended: `exit 0`, `signal 9`."""
        line = self.control.line()
        while line.startswith("stopped"):
            line = self.control.line()
        return line


def until(condition, what, timeout=30):
    """Polls for a condition that has no event. If a process ends meanwhile, the condition is checked again."""
    end = time.monotonic() + timeout
    while True:
        try:
            if condition():
                return
        except (FileNotFoundError, ProcessLookupError):
            pass
        holds(time.monotonic() < end, f"never came: {what}")
        time.sleep(0.003)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def status(pid, field):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return line.split(":", 1)[1].strip()
    raise Wrong(f"no {field}")


def anonymous(pid):
    """Its private memory in KiB, without pages of files."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Anonymous:"):
                return int(line.split()[1])
    raise Wrong("no Anonymous")


def scratch():
    return tempfile.TemporaryDirectory(dir=os.environ["SCRATCH"])


def signals(*names):
    return ",".join(str(int(getattr(signal, "SIG" + name))) for name in names)
