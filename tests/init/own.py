"""Checks of akv-init alone: many orphans, idle waiting, signals at every stage, job control, no secret in the supervisor."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from cases import start
from harness import AKV_INIT, BINARY, HERE, PROBE, Run, anonymous, children, equal, holds, scratch, signals, status, until

# title, function
CHECKS = []
PLAIN = [BINARY, "exec", "--"]
LAUNCH = os.path.join(os.path.dirname(HERE), "container", "launch_sqlservr.sh")
SECRET = "zWq7-only-for-COMMAND-41d9"


def check(sentence):
    def add(function):
        CHECKS.append((sentence, function))
        return function

    return add


def ours(mode, *command, options=(), **more):
    words = [BINARY, "exec", "--init", *options, "--", *command]
    return Run(mode, words, AKV_INIT.timeout, **more)


# ---------------------------------------------------------------------------------------------------------------------
# Many events at once
# ---------------------------------------------------------------------------------------------------------------------


@check("10,000 short-lived orphans are all reaped, and the supervisor's memory does not grow by a page")
def storm():
    with ours("pid1", PROBE, "storm", "1000") as running:
        running.ready()
        sizes = []
        for _ in range(10):
            running.type("g")
            equal(running.out.line(), "gone")
            until(lambda: len(children(running.pid)) == 1, "one child")
            sizes.append(anonymous(running.pid))
        equal(sizes[-1], sizes[0], "KiB")


@check("COMMAND receives every signal of a burst that the kernel does not merge: 1,000 each of TERM, USR1 and two real-time ones")
def burst():
    with ours("pid1", PROBE, "count") as running:
        running.ready()
        first, last = int(signal.SIGRTMIN), int(signal.SIGRTMAX)
        for _ in range(1000):
            for number in (signal.SIGTERM, first, signal.SIGUSR1, last):
                running.kill(number)
        for _ in range(1000):
            equal(running.out.line(), "last")
        running.kill(signal.SIGUSR2)
        equal(running.end(), "exit 0")
        counts = dict(map(int, line.split()) for line in running.out.rest().splitlines())
        equal((counts.pop(first), counts.pop(last)), (1000, 1000), "real-time signals")
        equal(sorted(counts), [int(signal.SIGUSR1), int(signal.SIGTERM)])


# ---------------------------------------------------------------------------------------------------------------------
# The supervisor, while it waits
# ---------------------------------------------------------------------------------------------------------------------


@check("while it waits, the supervisor has one thread, no wake-up in 10 s, at most 200 KiB of its own and four descriptors")
def waits():
    with ours("pid1", PROBE, "wait") as running:
        running.ready()
        until(lambda: status(running.pid, "State").startswith("S"), "sleep")
        switches = [status(running.pid, name) for name in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")]
        time.sleep(10)
        after = [status(running.pid, name) for name in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")]
        equal(after, switches, "context switches")
        equal(status(running.pid, "Threads"), "1", "threads")
        size = anonymous(running.pid)
        holds(size <= 200, f"{size} KiB")
        print(f"        Anonymous: {size} KiB")
        holds_four(running.pid)


def holds_four(pid):
    directory = f"/proc/{pid}/fd"
    ends = sorted(os.readlink(f"{directory}/{name}").partition(":[")[0] for name in os.listdir(directory))
    equal(ends, ["/dev/null", "/dev/null", "anon_inode", "pipe"], "descriptors")


@check("without close_range(2) the supervisor has as few descriptors, and COMMAND keeps all of its own")
def without_close_range():
    reader, writer = os.pipe()
    words = [PROBE, "without-close-range", *AKV_INIT.words(), PROBE]
    for mode in ("pid1", "plain"):
        with Run(mode, words + ["wait"], passed=(os.dup(writer),)) as running:
            running.ready()
            (child,) = children(running.pid)
            until(lambda: status(running.pid, "State").startswith("S"), "sleep")
            holds_four(running.pid)
            holds(len(os.listdir(f"/proc/{child}/fd")) == 4, "COMMAND has lost descriptors")
            running.kill(signal.SIGTERM)
            equal(running.end(), "exit 143")
    os.close(reader)
    os.close(writer)


def memory(pid):
    """The readable memory of a process, and its environment."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            if "r" in line.split()[1] and not line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                mem.seek(start)
                found.append(mem.read(end - start))
    with open(f"/proc/{pid}/environ", "rb") as environ:
        found.append(environ.read())
    return b"".join(found)


@check("the supervisor has no secret in its memory or environment, and COMMAND has")
def holds_no_secret():
    with scratch() as directory:
        words = [os.environ["STANDIN"], "--dir", directory, "--secret", f"sa={SECRET}"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as standin:
            lines = dict(line.split(maxsplit=1) for line in iter(standin.stdout.readline, "ready\n"))
            vault = lines["vault"].strip()
            env = {
                "S": f"akv://{vault}/sa",
                "AZURE_POD_IDENTITY_AUTHORITY_HOST": lines["imds"].strip(),
                "SSL_CERT_FILE": f"{directory}/ca.pem",
                "AKV_INIT_ALLOW_VAULT": vault,
            }
            with ours("pid1", PROBE, "wait", env=env) as running:
                running.ready()
                (child,) = children(running.pid)
                holds(SECRET.encode() in memory(child), "COMMAND does not have it, so this test would find nothing")
                found = memory(running.pid)
                holds(b"akv://" in found, "not even the reference, so this test would find nothing")
                holds(SECRET.encode() not in found, "the secret")
                holds(not re.search(rb"eyJ[\w-]{20,}\.eyJ", found), "a token")
            standin.stdin.close()


@check("if the supervisor cannot be set up, COMMAND is not started, and the message names what is missing")
def cannot_supervise():
    with Run("pid1", ["sh", "-c", 'ulimit -n 3; exec "$@"', "sh", *AKV_INIT.words(), "echo", "started"]) as running:
        equal((running.end(), running.out.rest()), ("exit 69", ""))
        message = "akv-init: error: signalfd: Too many open files\nakv-init: hint: raise the limit on open files (ulimit -n)\n"
        equal(running.err.rest(), message)


@check("COMMAND cannot read the supervisor's /proc/PID/environ, which may have a credential that was unset for it")
def environment_is_hidden():
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        # Where every user can execute them.
        os.chmod(directory, 0o755)
        binary, probe = shutil.copy(BINARY, directory), shutil.copy(PROBE, directory)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        look = [probe, "peek"]
        alone = [*nobody, "sh", "-c", '"$@"; exit', "sh", *look]
        with Run("plain", alone) as running:
            equal(running.out.line(), "open", "it is never readable, so this test would find nothing")
        for mode in ("pid1", "plain"):
            for _ in range(20):
                with Run(mode, [*nobody, binary, "exec", "--init", "--", *look]) as running:
                    equal((running.out.line(), running.end()), ("closed", "exit 0"))


# ---------------------------------------------------------------------------------------------------------------------
# SQL Server
# ---------------------------------------------------------------------------------------------------------------------


@check("plain `exec` of a database is one process, which shuts down cleanly with its own exit code")
def plain_exec():
    with scratch() as directory:
        clean = os.path.join(directory, "clean-shutdown")
        with Run("pid1", PLAIN + [PROBE, "database", clean]) as running:
            running.ready()
            equal((status(running.pid, "Name"), children(running.pid)), ("probe", []))
            running.kill(signal.SIGTERM)
            equal((running.end(), os.path.exists(clean)), ("exit 0", True))


@check("plain `exec` of a script that forwards no signals ignores TERM as process 1, which is what --init is for")
def plain_exec_of_script():
    with scratch() as directory:
        clean = os.path.join(directory, "clean-shutdown")
        with Run("pid1", PLAIN + ["bash", LAUNCH, PROBE, "database", clean]) as running:
            running.ready()
            running.kill(signal.SIGTERM)
            (server,) = children(running.pid)
            # TERM is handled first, so it would have ended the script.
            running.kill(signal.SIGKILL)
            equal((running.end(), os.path.exists(clean)), ("signal 9", False))


# ---------------------------------------------------------------------------------------------------------------------
# Signals at every stage
# ---------------------------------------------------------------------------------------------------------------------


@check("a signal that the caller blocked and that arrived before the fork is left pending for COMMAND")
def before_the_fork():
    words = ["sh", "-c", 'kill -TERM $$; exec "$@"', "sh", *AKV_INIT.words(), PROBE, "report"]
    for mode in ("pid1", "plain"):
        with Run(mode, words, block=signals("TERM")) as running:
            running.ready()
            equal(running.out.line(), "15")


@check("HUP, INT, QUIT and TERM during the fetch end akv-init at once with 128+n, with --init=group and --init=child")
def while_fetching():
    with socket.create_server(("127.0.0.1", 0)) as endpoint:
        endpoint.settimeout(AKV_INIT.timeout)
        address = f"http://127.0.0.1:{endpoint.getsockname()[1]}"
        env = {"S": "akv://nobody.vault.azure.net/s", "AZURE_POD_IDENTITY_AUTHORITY_HOST": address}
        for forward in ("group", "child"):
            for name in ("HUP", "INT", "QUIT", "TERM"):
                number = int(signals(name))
                with start(AKV_INIT, "pid1", "true", forward=forward, env=env) as running:
                    connection, _ = endpoint.accept()
                    with connection:
                        running.kill(number)
                        equal(running.end(), f"exit {128 + number}")
                        holds(f"stopped by SIG{name} after" in running.err.rest(), "there is no message")


@check("TERM is never lost, at any moment from the start to COMMAND's end: 60 moments, or more until some were early and some late")
def any_moment():
    moment, ended = 0, set()
    # Before akv-init blocks signals, TERM has its default action.
    both = {"signal 15", "exit 143"}
    while moment < 60 or (ended != both and moment < 600):
        with ours("plain", PROBE, "wait") as running:
            # No event marks these moments, so a loop has to.
            for _ in range(moment * moment * 40):
                pass
            running.kill(signal.SIGTERM)
            ended.add(running.end())
        moment += 1
    equal(ended, both)


@check("a repeated TERM ends process 1 too: the kernel discards those that arrive before it blocks signals")
def any_moment_of_process_1():
    for _ in range(10):
        with ours("pid1", PROBE, "wait") as running:
            ended = []
            thread = threading.Thread(target=lambda: ended.append(running.end()))
            thread.start()
            while thread.is_alive():
                try:
                    running.kill(signal.SIGTERM)
                except ProcessLookupError:
                    pass
                thread.join(0.002)
            equal(ended, ["exit 143"])


def wait_until_read(pid):
    """Waits until no signal is pending for a process."""
    until(lambda: int(status(pid, "ShdPnd"), 16) == 0, "no pending signal")


def assert_killed(output, least, names):
    """Asserts the warning about killed processes, with at least so many seconds."""
    found = re.fullmatch(rf"akv-init: warning: killed the processes that had not stopped after (\d+)\.\d s{names}\n", output)
    holds(found and int(found[1]) >= least, output)


@check("after COMMAND has ended by itself a first TERM starts the drain, and a second ends it with a warning")
def second_signal():
    for mode in ("pid1", "plain"):
        with ours(mode, PROBE, "stubborn", options=["--drain", "1h"]) as running:
            name = running.ready()
            until(lambda: [own_id(child) for child in children(running.pid)] == [name], "COMMAND's end")
            (helper,) = children(running.pid)
            running.kill(signal.SIGTERM)
            wait_until_read(running.pid)
            equal(children(running.pid), [helper])
            wait_for_next_request()
            running.kill(signal.SIGINT)
            equal((running.end(), running.out.rest()), ("exit 3", "15\n"))
            # Its child is not named, since it had already ended.
            assert_killed(running.err.rest(), 0, rf": probe \({name}\)" if mode == "pid1" else r": probe \(\d+\)")


@check("that first TERM lets a database stop, even after a QUIT for a thread dump")
def first_signal():
    script = f"trap '' QUIT; setsid {PROBE} database $0 & read x; exit 5"
    for numbers in ([], [signal.SIGQUIT]):
        with scratch() as directory:
            clean = os.path.join(directory, "clean-shutdown")
            with ours("pid1", "sh", "-c", script, clean, options=["--drain", "1h"]) as running:
                running.ready()
                for number in numbers:
                    running.kill(number)
                    wait_until_read(running.pid)
                running.close_stdin()
                until(lambda: names(children(running.pid)) == ["probe"], "COMMAND's end")
                wait_for_next_request()
                running.kill(signal.SIGTERM)
                equal((running.end(), os.path.exists(clean)), ("exit 5", True))


@check("the default of --drain is five seconds, which start with TERM")
def five_seconds():
    with ours("pid1", PROBE, "stubborn") as running:
        running.ready()
        equal((running.end(), running.out.rest()), ("exit 3", "15\n"))
        assert_killed(running.err.rest(), 5, r": probe \(\d+\)")


@check("all processes that were killed are named")
def many_names():
    many = 10
    script = f"trap '' TERM; for i in $(seq {many}); do {PROBE} wait & done; read x"
    with ours("pid1", "sh", "-c", script, options=["--drain", "1"]) as running:
        for _ in range(many):
            running.ready()
        running.close_stdin()
        equal(running.end(), "exit 1")
        assert_killed(running.err.rest(), 1, r": (probe \(\d+\), ){9}probe \(\d+\)")


@check("a process that is stopped (SIGSTOP) when COMMAND has ended is continued, so that it handles TERM")
def stopped_helper():
    script = f"{PROBE} database $0 & helper=$!; read x; kill -STOP $helper; echo stopped; read x"
    with scratch() as directory:
        clean = os.path.join(directory, "clean-shutdown")
        with ours("pid1", "sh", "-c", script, clean) as running:
            running.ready()
            running.type("\n")
            equal(running.out.line(), "stopped")
            running.kill(signal.SIGTERM)
            equal((running.end(), os.path.exists(clean)), ("exit 143", True))


@check("with --init=child only COMMAND receives the signal, and the remaining processes receive TERM when it has ended")
def rest_of_child():
    with start(AKV_INIT, "pid1", PROBE, "twice", forward="child") as running:
        running.ready()
        running.kill(signal.SIGTERM)
        equal((running.end(), sorted(running.out.rest().split("\n"))), ("exit 143", ["", "group 15", "session 15"]))


@check("several TERM at once, as timeout(1) sends them, count as one, so that a database can stop")
def one_moment():
    script = f"setsid {PROBE} database $0 & read x"
    for mode in ("pid1", "plain"):
        took = 1
        while took > 0.05:
            with scratch() as directory:
                clean = os.path.join(directory, "clean-shutdown")
                with ours(mode, "sh", "-c", script, clean) as running:
                    running.ready()
                    began = time.monotonic()
                    for _ in range(12):
                        running.kill(signal.SIGTERM)
                        # So that the kernel does not merge them, and the last ones arrive when COMMAND has ended.
                        time.sleep(0.001)
                    took = time.monotonic() - began
                    end = running.end()
                    # On a busy machine they may have taken longer than the 100 ms within which they count as one.
                    if took <= 0.05:
                        equal((end, os.path.exists(clean)), ("exit 143", True))


@check("a COMMAND that has left its process group still receives signals")
def other_group():
    for mode in ("pid1", "plain"):
        with ours(mode, PROBE, "elsewhere") as running:
            running.ready()
            running.kill(signal.SIGTERM)
            equal(running.end(), "exit 143")


def wait_for_next_request():
    """Waits until the next signal counts as another one: two within 100 ms are one."""
    time.sleep(0.2)


def own_id(pid):
    """A process's id in its own namespace."""
    return int(status(pid, "NSpid").split()[-1])


def names(pids):
    return [status(pid, "Name") for pid in pids]


@check("after TERM has ended COMMAND the next TERM ends the drain")
def next_signal():
    with scratch() as directory:
        clean = os.path.join(directory, "clean-shutdown")
        with ours("pid1", "bash", LAUNCH, PROBE, "database", clean, options=["--drain", "1h"]) as running:
            running.ready()
            running.kill(signal.SIGTERM)
            until(lambda: names(children(running.pid)) == ["probe"], "bash's end")
            wait_for_next_request()
            running.kill(signal.SIGTERM)
            equal((running.end(), os.path.exists(clean)), ("exit 143", False))


def signals_after_quit(script):
    """COMMAND is a script with a helper in its group. It receives QUIT, then its input ends: how it ended, and the signals
    that the helper received afterwards."""
    with ours("pid1", "sh", "-c", script, options=["--drain", "1"]) as running:
        running.ready()
        running.kill(signal.SIGQUIT)
        equal(running.out.line(), "3")
        running.close_stdin()
        return running.end(), running.out.rest().split()


@check("a QUIT that COMMAND survives (a thread dump) does not count as a request to stop; one that ends it does")
def quit_is_two_things():
    equal(signals_after_quit(f"trap '' QUIT; {PROBE} report & read x; exit 5"), ("exit 5", ["15"]))
    equal(signals_after_quit(f"{PROBE} report & read x; exit 5"), ("exit 131", []))


@check("systemd's variables with the supervisor's process id get COMMAND's; those with another one are unchanged")
def variables_of_systemd():
    names = "LISTEN_PID=$$ SYSTEMD_EXEC_PID=$$ WATCHDOG_PID=$$ LISTEN_PIDFDID=7"
    show = "echo $$; env | grep -E '^(LISTEN|SYSTEMD|WATCHDOG)_' | sort"
    for given, expected in (
        (names, ["LISTEN_PID=OWN", "SYSTEMD_EXEC_PID=OWN", "WATCHDOG_PID=OWN"]),
        ("LISTEN_PID=99 LISTEN_PIDFDID=7 WATCHDOG_PID=99", ["LISTEN_PID=99", "LISTEN_PIDFDID=7", "WATCHDOG_PID=99"]),
    ):
        with Run("plain", ["sh", "-c", f'{given} exec "$@"', "sh", *AKV_INIT.words(), "sh", "-c", show]) as running:
            equal(running.end(), "exit 0")
            own, *found = running.out.rest().split()
            equal([line.replace(f"={own}", "=OWN") for line in found], expected)


@check("without /proc, as process 1, the remaining processes still receive TERM and are killed")
def without_proc():
    script = 'umount /proc; exec "$@"'
    with Run("pid1", ["sh", "-c", script, "sh", *AKV_INIT.words(drain="1"), PROBE, "leave"]) as running:
        running.ready()
        # Each process receives a CONT as well, which this one may not live to see.
        equal((running.end(), running.out.line()), ("exit 0", "15"))
    with Run("pid1", ["sh", "-c", script, "sh", *AKV_INIT.words(drain="1"), PROBE, "stubborn"]) as running:
        running.ready()
        equal((running.end(), running.out.rest()), ("exit 3", "15\n"))
        assert_killed(running.err.rest(), 1, "")


# ---------------------------------------------------------------------------------------------------------------------
# Job control
# ---------------------------------------------------------------------------------------------------------------------

UNDER_INIT = f"{BINARY} exec --init --"


def are_stopped(pid):
    """Whether all descendants of a process are stopped."""
    return all(status(child, "State").startswith("T") and are_stopped(child) for child in children(pid))


class Shell:
    """An interactive bash on a terminal without echo, so that what is read is output."""

    def __init__(self, mode="plain"):
        self.run = Run(mode, ["bash", "--norc", "--noediting", "-i"], terminal=True, env={"PS1": "$ "})

    def __enter__(self):
        self.run.__enter__()
        self.run.out.until("$ ")
        self.run.type("stty -echo\n")
        self.run.out.until("$ ")
        return self

    def __exit__(self, *exception):
        return self.run.__exit__(*exception)

    def type(self, text):
        self.run.type(text)

    def sees(self, text):
        return self.run.out.until(text)

    def is_read_by_cat(self, word):
        self.type(word + "\n")
        self.sees(word + "\r\n")

    def stops_it(self):
        """Stops the command by ctrl-Z, and waits for the prompt and until every process of the command is stopped: one
        that has yet to stop may still read what is typed next."""
        self.type("\x1a")
        self.sees("Stopped")
        self.sees("$ ")
        until(lambda: are_stopped(self.run.pid), "only stopped descendants")

    def code(self):
        return self.ends()[1]

    def ends(self):
        """The output up to the next prompt, and the exit code."""
        shown = self.sees("$ ")
        self.type("echo code=$?.\n")
        self.sees("code=")
        code = self.sees(".")
        self.sees("$ ")
        return shown, code


@check("in an interactive shell: ctrl-C ends COMMAND with 130")
def ctrl_c():
    with Shell() as shell:
        shell.type(f"{UNDER_INIT} cat\n")
        shell.is_read_by_cat("one")
        shell.type("\x03")
        equal(shell.code(), "130")


@check("ctrl-C in a script ends the script too, unless COMMAND handles it")
def ctrl_c_in_a_script():
    handles = 'sh -c "trap \\"exit 0\\" INT; echo ready; while :; do read x; done"'
    for line, goes_on in (
        (f"{UNDER_INIT} {PROBE} wait", False),
        (f"true | {UNDER_INIT} {PROBE} wait", False),
        (f"{UNDER_INIT} {handles}", True),
    ):
        with Shell() as shell:
            shell.type(f"bash -c '{line}; echo after'\n")
            shell.sees("ready")
            shell.sees("\r\n")
            shell.type("\x03")
            shown, code = shell.ends()
            equal(("after\r\n" in shown, code), (goes_on, "0" if goes_on else "130"), line)


@check("a COMMAND that exits with 130 without ctrl-C does not end the script")
def code_130_in_a_script():
    with Shell() as shell:
        shell.type(f"bash -c '{UNDER_INIT} sh -c \"exit 130\"; echo after=$?'\n")
        shell.sees("after=130\r\n")
        equal(shell.code(), "0")


@check("in a pipeline the other programs have the terminal, as `less` needs it, and COMMAND gets it when it reads from it")
def pipeline_on_a_terminal():
    with Shell() as shell:
        shell.type(f"{UNDER_INIT} yes hi | bash -c 'read line; read x </dev/tty; echo got=$line,$x'\n")
        shell.type("line\n")
        shell.sees("got=hi,line\r\n")
        equal(shell.code(), "0")
        shell.type(f"{UNDER_INIT} cat | cat\n")
        shell.is_read_by_cat("one")
        shell.stops_it()
        shell.type("fg\n")
        shell.is_read_by_cat("two")
        shell.type("\x04")
        equal(shell.code(), "0")


@check("with --init=child fg continues every process that ctrl-Z stopped")
def ctrl_z_of_child():
    with Shell() as shell:
        shell.type(f'{BINARY} exec --init=child -- sh -c "cat; echo over"\n')
        shell.is_read_by_cat("one")
        shell.stops_it()
        shell.type("fg\n")
        shell.is_read_by_cat("two")
        shell.type("\x04")
        shell.sees("over\r\n")
        equal(shell.code(), "0")


@check("started in the background by a shell that is process 1, it leaves the terminal to the shell")
def background_of_process_1():
    with Shell("pid1") as shell:
        shell.type(f"{UNDER_INIT} true &\n")
        shell.sees("[1] ")
        until(lambda: not children(shell.run.pid), "the end")
        shell.type("echo alive\n")
        shell.sees("alive\r\n")


@check("the shell notices that ctrl-Z stopped it; fg continues it with the terminal, bg without")
def ctrl_z():
    with Shell() as shell:
        shell.type(f"{UNDER_INIT} cat\n")
        shell.is_read_by_cat("one")
        shell.stops_it()
        shell.type("fg\n")
        shell.is_read_by_cat("two")
        shell.stops_it()
        # It reads from the terminal in the background, which stops it.
        shell.type("bg; until jobs -l | grep -q 'tty input'; do :; done; echo seen\n")
        shell.sees("seen\r\n")
        shell.type("fg\n")
        shell.is_read_by_cat("three")
        shell.type("\x04")
        equal(shell.code(), "0")


@check("started in the background it does not take the terminal, and gets it by fg")
def background():
    with Shell() as shell:
        shell.type(f"{UNDER_INIT} cat & until jobs -l | grep -q 'tty input'; do :; done; read x; echo got=$x\n")
        shell.type("line\n")
        shell.sees("got=line\r\n")
        shell.type("fg\n")
        shell.is_read_by_cat("one")
        shell.type("\x03")
        equal(shell.code(), "130")


@check("a script that continues afterwards has the terminal again")
def given_back():
    with Shell() as shell:
        shell.type(f"bash -c '{UNDER_INIT} true; read x; echo got=$x'\n")
        shell.type("line\n")
        shell.sees("got=line\r\n")
        equal(shell.code(), "0")


@check("ctrl-Z also stops the script around it, even with one akv-init in another")
def stops_the_script():
    for command in (f"{UNDER_INIT} cat", f"{UNDER_INIT} {UNDER_INIT} cat"):
        with Shell() as shell:
            shell.type(f"bash -c '{command}; echo after'\n")
            shell.is_read_by_cat("one")
            shell.stops_it()
            shell.type("fg\n")
            shell.is_read_by_cat("two")
            shell.type("\x04")
            shell.sees("after\r\n")
            equal(shell.code(), "0")


@check("COMMAND gets a terminal without a name in /dev too")
def terminal_without_a_name():
    script = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"'
    words = ["sh", "-c", script, "sh", *AKV_INIT.words(), "sh", "-c", "read x; echo got=$x"]
    with Run("pid1", words, terminal=True) as running:
        running.type("line\n")
        running.out.until("got=line\r\n")
        equal(running.end(), "exit 0")


@check("as process 1 on a terminal ctrl-Z has no lasting effect, since no shell could continue COMMAND")
def ctrl_z_of_process_1():
    with ours("pid1", "cat", terminal=True) as running:
        running.type("one\n")
        equal([running.out.line(), running.out.line()], ["one", "one"])
        running.type("\x1a")
        running.type("two\n")
        running.out.until("two\r\n")
        running.out.until("two\r\n")
        running.type("\x04")
        equal(running.end(), "exit 0")


@check("as process 1 ctrl-Z does not stop a job of COMMAND's that is in another process group")
def ctrl_z_is_for_one_group():
    script = f"set -m; {PROBE} wait & set +m; exec cat"
    with ours("pid1", "bash", "-c", script, terminal=True) as running:
        running.ready()
        running.type("one\n")
        equal([running.out.line(), running.out.line()], ["one", "one"])
        running.type("\x1a")
        running.type("two\n")
        running.out.until("two\r\n")
        running.out.until("two\r\n")
        (command,) = children(running.pid)
        (job,) = children(command)
        holds(status(job, "State").startswith("S"), status(job, "State"))


@check("a COMMAND that another process stopped stays stopped until SIGCONT reaches it or the init")
def stopped_by_another_process():
    for mode in ("pid1", "plain"):
        with ours(mode, PROBE, "report") as running:
            running.ready()
            (child,) = children(running.pid)
            os.kill(child, signal.SIGSTOP)
            until(lambda: status(child, "State").startswith("T"), "stopped")
            running.kill(signal.SIGUSR1)
            wait_until_read(running.pid)
            holds(status(child, "State").startswith("T"), "it was continued")
            running.kill(signal.SIGCONT)
            equal([running.out.line(), running.out.line()], ["10", "18"])
