"""Cases from the test suites of other inits, and a few of our own. Each is a function of an init and of how it runs."""

import os
import re
import signal
import socket

from harness import BINARY, HERE, PROBE, Run, children, equal, holds, scratch, signals, status, until

# id, title, function, the ways to run it, and whether it is for akv-init alone
CASES = []
# What akv-init does not do, and why.
LEFT_OUT = [
    ("T1", "every exit code can be remapped (-e)", "the container runtime decides on a restart by COMMAND's own exit code"),
    ("T3", "warns where it cannot reap orphans", "it always can: it is process 1 or a subreaper"),
    ("T4", "a line for each reaped orphan (-w)", "silent on success"),
    ("T8", "a signal when its own parent dies (-p)", "a container ends with its process 1 anyway"),
    ("D2-D4", "replaces signals by others", "the image's STOPSIGNAL or the pod's stopSignal says which one is sent"),
    ("D12", "stops itself without a terminal", "nothing could continue it; on a terminal it does (see job control)"),
    ("D15", "discards the first HUP and CONT", "it creates no session, so the kernel sends none"),
    ("P5 for COMMAND", "kills a COMMAND that ignores TERM", "the container runtime decides how long it may take"),
]


def case(name, sentence, modes=("pid1", "plain"), ours_only=False):
    def add(function):
        CASES.append((name, sentence, function, modes, ours_only))
        return function

    return add


def start(init, mode, *command, forward=None, drain=None, **more):
    return Run(mode, init.words(forward, drain) + list(command), init.timeout, **more)


def run(init, mode, *command, **more):
    """Runs it to the end: how it ended, and what it wrote."""
    with start(init, mode, *command, **more) as running:
        running.close_stdin()
        return running.end(), running.out.rest(), running.err.rest()


# ---------------------------------------------------------------------------------------------------------------------
# tini
# ---------------------------------------------------------------------------------------------------------------------


@case("T2", "reaps 100 orphans, as process 1 or as a subreaper")
def reaps_orphans(init, mode):
    with start(init, mode, PROBE, "orphans", "100") as running:
        running.ready()
        equal(len(children(running.pid)), 101, "children")
        running.type("g")
        equal(running.out.line(), "gone")
        until(lambda: len(children(running.pid)) == 1, "one child", init.timeout)
        running.close_stdin()
        equal(running.end(), "exit 0")


@case("T5", "the exit code of a COMMAND that TERM, USR1 or USR2 ended is 128+n")
def signal_codes(init, mode):
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        with start(init, mode, PROBE, "wait") as running:
            running.ready()
            running.kill(number)
            equal(running.end(), f"exit {128 + number}")


@case("T6", "signals are forwarded to the process group")
def process_group(init, mode):
    with start(init, mode, PROBE, "deaf", forward="group") as running:
        running.ready()
        running.kill(signal.SIGUSR1)
        equal(running.end(), "exit 0")


@case("T7", "COMMAND inherits the caller's signal mask and ignored signals")
def signal_configuration(init, mode):
    ignore, block = signals("TTOU", "SEGV", "INT"), signals("TTIN", "ILL", "TERM")
    with start(init, mode, "cat", "/proc/self/status", ignore=ignore, block=block) as running:
        equal(running.end(), "exit 0")
        text = running.out.rest()
    for field, numbers in (("SigIgn", ignore), ("SigBlk", block)):
        mask = sum(1 << (int(number) - 1) for number in numbers.split(","))
        equal(int(re.search(rf"^{field}:\t(\w+)$", text, re.M)[1], 16), mask, field)


@case("T9", "127 for a command that does not exist, 126 for a directory; standard input reaches COMMAND")
def command_line(init, mode):
    equal(run(init, mode, "/nonexistent")[0], "exit 127")
    equal(run(init, mode, "no-such-program")[0], "exit 127")
    equal(run(init, mode, "/etc")[0], "exit 126")
    with start(init, mode, "cat") as running:
        running.type("through\n")
        running.close_stdin()
        equal((running.end(), running.out.rest()), ("exit 0", "through\n"))


@case("T10", "on a terminal: `exit 0` gives 0, ctrl-C gives 130")
def terminal(init, mode):
    with start(init, mode, "sh", terminal=True) as running:
        running.out.until("$ ")
        running.type("exit 0\n")
        equal(running.code(), 0)
    with start(init, mode, "bash", "-c", "echo go; while :; do sleep 1; done", terminal=True) as running:
        running.out.until("go")
        running.type("\x03")
        equal(running.code(), 130)


# ---------------------------------------------------------------------------------------------------------------------
# dumb-init
# ---------------------------------------------------------------------------------------------------------------------


@case("D1", "signals from 1 to 31 are forwarded, in order, where that is possible")
def every_signal(init, mode):
    kept = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    with start(init, mode, PROBE, "report") as running:
        running.ready()
        for number in range(1, 32):
            if number not in kept:
                running.kill(number)
                equal(running.out.line(), str(number))


@case("D1b", "every real-time signal is forwarded, from SIGRTMIN to SIGRTMAX")
def every_real_time_signal(init, mode):
    with start(init, mode, PROBE, "report") as running:
        running.ready()
        for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
            running.kill(number)
            equal(running.out.line(), str(number))


@case("D5", "TERM reaches every process of a pipeline")
def entire_group(init, mode):
    with start(init, mode, PROBE, "pipeline", forward="group") as running:
        running.ready()
        running.kill(signal.SIGTERM)
        equal(sorted(running.out.line() for _ in range(4)), ["15"] * 4)
        equal(running.end(), "exit 0")


@case("D6", "TERM reaches COMMAND alone, if so configured")
def not_the_group(init, mode):
    with start(init, mode, PROBE, "pair", forward="child") as running:
        running.ready()
        running.kill(signal.SIGTERM)
        equal(running.end(), "exit 0")
        equal(running.out.rest(), "main 15\nchild 10\n")


def signals_after_exit(init, mode, **more):
    """COMMAND ends by itself and leaves a child in its group: the signals that this child received."""
    with start(init, mode, PROBE, "leave", **more) as running:
        helper = running.ready()
        equal(running.end(), "exit 0")
        if mode == "plain":
            try:
                os.kill(helper, signal.SIGUSR1)
            except ProcessLookupError:
                pass
        return running.out.rest().split()


@case("D7", "when COMMAND has ended, the remaining processes get TERM")
def term_on_exit(init, mode):
    holds("15" in signals_after_exit(init, mode, forward="group"), "no TERM")


@case("D8", "they get no TERM, if so configured (`--drain 0`)")
def no_term_on_exit(init, mode):
    holds("15" not in signals_after_exit(init, mode, forward="child", drain="0"), "TERM")


@case("D9", "a COMMAND that cannot be started is an error with a message")
def bad_exec(init, mode):
    for words in (["doesnotexist"], ["doesnotexist", "-c"], ["./doesnotexist"], ["--", "doesnotexist"]):
        end, out, err = run(init, mode, *words)
        named = words[0] == "--" or "doesnotexist" in err
        holds(end != "exit 0" and out == "" and err and named, f"{words}: {end} {err!r}")


@case("D10", "the exit code is COMMAND's, or 128+n")
def exit_status(init, mode):
    for code in (0, 1, 2, 32, 64, 127, 254, 255):
        equal(run(init, mode, "sh", "-c", f"exit {code}")[0], f"exit {code}")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL):
        equal(run(init, mode, "sh", "-c", f"kill -{int(number)} $$")[0], f"exit {128 + number}")


@case("D11", "COMMAND starts in the caller's working directory, and the init changes to /")
def working_directory(init, mode):
    with scratch() as directory, start(init, mode, "sh", "-c", "pwd; read x", cwd=directory) as running:
        equal(running.out.line(), directory)
        equal(os.readlink(f"/proc/{running.pid}/cwd"), "/")


@case("D13", "COMMAND reads and writes the terminal")
def writes_terminal(init, mode):
    with start(init, mode, "cat", terminal=True) as running:
        running.type("hello\n")
        # The terminal's echo, and what cat writes.
        equal([running.out.line(), running.out.line()], ["hello", "hello"])
        running.type("\x04")
        equal(running.end(), "exit 0")


@case("D14", "a shell has job control")
def controlling_terminal(init, mode):
    with start(init, mode, "bash", "--norc", "-i", terminal=True) as running:
        before = running.out.until("$ ")
        running.type("echo flags=$-.\n")
        running.out.until("flags=$-")
        running.out.until("flags=")
        flags = running.out.until(".")
        holds("m" in flags and "no job control" not in before, f"{before!r} {flags!r}")


COMMAND_LINES = {
    "akv-init": ([[BINARY, "exec"], [BINARY, "exec", "-X", "true"]], [[BINARY, "--help"], [BINARY, "--version"]]),
    "tini": ([["tini"], ["tini", "-X", "true"]], [["tini", "-h"], ["tini", "--version"]]),
    "dumb-init": ([["dumb-init"], ["dumb-init", "-X", "true"]], [["dumb-init", "-h"], ["dumb-init", "-V"]]),
    "catatonit": ([["catatonit"], ["catatonit", "-X", "true"]], [["catatonit", "-h"], ["catatonit", "-V"]]),
}


@case("D16", "a wrong command line is an error with a message; help and version exit with 0", modes=("plain",))
def command_lines(init, mode):
    wrong, right = COMMAND_LINES[init.name]
    for words in wrong:
        with Run(mode, words, init.timeout) as running:
            holds(running.end() not in ("exit 0", "") and running.err.rest(), f"{words} is not an error")
    for words in right:
        with Run(mode, words, init.timeout) as running:
            equal(running.end(), "exit 0", str(words))
            holds(running.out.rest() + running.err.rest(), f"{words} prints nothing")


@case("D17", "zombies are reaped when their parent ends")
def inherited_zombies(init, mode):
    with start(init, mode, PROBE, "zombies", "20") as running:
        equal(running.out.line(), "gone")
        until(lambda: len(children(running.pid)) == 1, "one child", init.timeout)
        equal(status(children(running.pid)[0], "Name"), "probe")


# ---------------------------------------------------------------------------------------------------------------------
# gosu, pid1-rs
# ---------------------------------------------------------------------------------------------------------------------


@case("G4", "COMMAND inherits the caller's three standard descriptors and no others")
def descriptors(init, mode):
    end, out, _ = run(init, mode, PROBE, "state")
    equal(end, "exit 0")
    equal([line.split()[1] for line in out.splitlines() if line.startswith("fd ")], ["0", "1", "2"])


@case("G5", "COMMAND is the init's only child")
def processes(init, mode):
    with start(init, mode, PROBE, "wait") as running:
        running.ready()
        (child,) = children(running.pid)
        equal((status(child, "Name"), children(child)), ("probe", []))


@case("P1", "`true` exits with 0")
def sanity(init, mode):
    equal(run(init, mode, "true"), ("exit 0", "", ""))


@case("P2", "one orphan is reaped")
def one_zombie(init, mode):
    with start(init, mode, PROBE, "zombies", "1") as running:
        equal(running.out.line(), "gone")
        until(lambda: len(children(running.pid)) == 1, "one child", init.timeout)


@case("P3", "the exit code is COMMAND's when it leaves orphans")
def code_with_orphans(init, mode):
    equal(run(init, mode, PROBE, "together", "5")[0], "exit 7")


@case("P4", "the exit code of COMMAND's TERM handler is kept")
def term_is_handled(init, mode):
    with start(init, mode, "sh", "-c", "trap 'exit 11' TERM; echo ready; while :; do read x; done") as running:
        running.ready()
        running.kill(signal.SIGTERM)
        running.close_stdin()
        equal(running.end(), "exit 11")


@case("P5", "a remaining process that ignores TERM is killed at the deadline")
def term_is_ignored(init, mode):
    with start(init, mode, PROBE, "stubborn", drain="1") as running:
        helper = running.ready()
        equal(running.end(), "exit 3")
        holds(mode == "pid1" or not os.path.exists(f"/proc/{helper}"), "it is still running")
        holds(running.out.rest() in ("", "15\n"), "it received more than TERM")


@case("P6", "a thousand orphans are reaped")
def many_zombies(init, mode):
    with start(init, mode, PROBE, "zombies", "1000") as running:
        equal(running.out.line(), "gone")
        until(lambda: len(children(running.pid)) == 1, "one child", init.timeout)


@case("P7", "an orphaned grandchild becomes the init's child")
def grandchildren(init, mode):
    with start(init, mode, "sh", "-c", f"(({PROBE} wait) & ) ; read x") as running:
        running.ready()
        until(lambda: len(children(running.pid)) == 2, "two children", init.timeout)


# ---------------------------------------------------------------------------------------------------------------------
# Regressions of catatonit
# ---------------------------------------------------------------------------------------------------------------------


@case("C1", "COMMAND and 100 orphans end at the same moment")
def one_moment(init, mode):
    for _ in range(3):
        with start(init, mode, PROBE, "together", "100") as running:
            running.ready()
            running.close_stdin()
            equal(running.end(), "exit 7")


@case("C2", "a COMMAND that exits with 127 ends the init")
def code_127(init, mode):
    equal(run(init, mode, "sh", "-c", "exit 127")[0], "exit 127")


@case("C3", "of COMMAND's descriptors the init keeps only standard error open")
def holds_nothing(init, mode):
    reader, writer = os.pipe()
    try:
        with start(init, mode, PROBE, "let-go", passed=(writer,)) as running:
            running.ready()
            equal(running.out.rest(), "")
            running.out.descriptor, running.out.is_over = reader, False
            equal(running.out.rest(), "")
    finally:
        os.close(reader)


@case("C4", "LISTEN_PID is COMMAND's process id")
def listen_pid(init, mode):
    script = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
    words = ["sh", "-c", script, "sh", *init.words(), "sh", "-c", "echo $LISTEN_PID $$"]
    with Run(mode, words, init.timeout) as running:
        equal(running.end(), "exit 0")
        listen, own = running.out.rest().split()
        equal(listen, own)


@case("C5", "the file system that the init was started in can be unmounted", modes=("pid1",))
def pins_nothing(init, mode):
    with scratch() as directory:
        script = 'mount -t tmpfs none "$0" && cd "$0" && exec "$@"'
        words = ["sh", "-c", script, directory, *init.words(), "sh", "-c", 'cd / && umount "$0"', directory]
        with Run(mode, words, init.timeout) as running:
            equal((running.end(), running.err.rest()), ("exit 0", ""))


# ---------------------------------------------------------------------------------------------------------------------
# akv-init's own
# ---------------------------------------------------------------------------------------------------------------------


@case("X1", "a database behind a script that forwards no signals shuts down cleanly")
def drain_behind_script(init, mode):
    script = os.path.join(os.path.dirname(HERE), "container", "launch_sqlservr.sh")
    with scratch() as directory:
        clean = os.path.join(directory, "clean-shutdown")
        with start(init, mode, "bash", script, PROBE, "database", clean, forward="group") as running:
            running.ready()
            running.kill(signal.SIGTERM)
            equal((running.end(), os.path.exists(clean)), ("exit 143", True), "code, clean")


@case("X1b", "a database that is COMMAND itself shuts down cleanly")
def drain_direct(init, mode):
    with scratch() as directory:
        clean = os.path.join(directory, "clean-shutdown")
        with start(init, mode, PROBE, "database", clean) as running:
            running.ready()
            running.kill(signal.SIGTERM)
            equal((running.end(), os.path.exists(clean)), ("exit 0", True), "code, clean")


@case("X2", "every remaining process receives TERM exactly once")
def terminated_once(init, mode):
    with start(init, mode, PROBE, "twice", forward="group") as running:
        running.ready()
        running.kill(signal.SIGTERM)
        equal(running.end(), "exit 143")
        equal(sorted(running.out.available().split("\n")), ["", "group 15", "session 15"])


@case("X3", "TERM during the fetch ends the init at once with 143", ours_only=True)
def while_fetching(init, mode):
    with socket.create_server(("127.0.0.1", 0)) as endpoint:
        endpoint.settimeout(init.timeout)
        address = f"http://127.0.0.1:{endpoint.getsockname()[1]}"
        env = {"S": "akv://nobody.vault.azure.net/s", "AZURE_POD_IDENTITY_AUTHORITY_HOST": address}
        with start(init, mode, "true", env=env) as running:
            connection, _ = endpoint.accept()
            with connection:
                running.kill(signal.SIGTERM)
                equal(running.end(), "exit 143")
                holds("stopped by SIGTERM after" in running.err.rest(), "there is no message")


def state(mode, words, closed="", **more):
    unusual = f'umask 027; ulimit -n 321 -c 0 -s 4096; exec 7<"$0" {closed}; exec nice -n 5 "$@"'
    with scratch() as directory:
        words = ["bash", "-c", unusual, "/dev/zero", *words, PROBE, "state"]
        with Run(mode, words, **more, cwd=directory) as running:
            running.close_stdin()
            equal(running.end(), "exit 0")
            text = running.out.rest()
    return re.sub(r"pipe:\[\d+\]", "pipe", text.replace(directory, "DIRECTORY")).splitlines()


@case("X4", "COMMAND inherits the same state as without an init: mask, signals, descriptors, limits …")
def no_trace(init, mode):
    for more in (
        {},
        {"closed": "0<&-"},
        {"ignore": signals("PIPE"), "block": signals("USR1", "TSTP", "RTMIN")},
        {"ignore": signals("CHLD", "HUP", "INT"), "block": signals("CHLD", "CONT", "TTOU")},
    ):
        plain, found = state(mode, [], **more), state(mode, init.words(), **more)
        holds(len(plain) > 40, f"{plain}")
        equal([line for line in found if line not in plain], [line for line in plain if line not in found])


@case("X5", "a file that is not a program gives 126")
def no_program(init, mode):
    with scratch() as directory:
        path = os.path.join(directory, "file")
        with open(path, "w") as file:
            file.write("echo not a program\n")
        os.chmod(path, 0o755)
        equal(run(init, mode, path)[0:2], ("exit 126", ""))
