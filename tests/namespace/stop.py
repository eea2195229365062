"""Stops a program in the middle of what it does, and measures how long it takes to end.

    stop.py [--child | --unread] WHEN COMMAND...

Starts COMMAND, waits until a line of its standard error matches the regular expression WHEN (an empty one: for one
second), sends SIGTERM and waits for its end. Prints the exit code, the milliseconds from the signal to the end by a
monotonic clock, and its standard error. With --child the signal goes to COMMAND's only child: under `unshare --fork`
that is process 1 of its namespace, seen from outside. With --unread the standard error is a full pipe that no process
reads, so WHEN must be empty.

What takes longer than 40 s in all is killed, which is exit code -9. This program's own exit code is not 0 if COMMAND
ended before the signal.
"""

import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time

arguments = sys.argv[1:]
to_child = arguments[0] == "--child"
unread = arguments[0] == "--unread"
when, *command = arguments[1:] if to_child or unread else arguments

read_end, write_end = os.pipe()
if unread:
    os.write(write_end, bytes(fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ)))
process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=write_end)
os.close(write_end)
errors = os.fdopen(read_end, errors="replace")


def only_child(pid):
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    (child,) = map(int, children)
    return child


def too_long():
    if to_child:
        os.kill(only_child(process.pid), signal.SIGKILL)
    process.kill()


guard = threading.Timer(40, too_long)
guard.daemon = True
guard.start()

said = []
if when:
    for line in errors:
        said.append(line)
        if re.search(when, line):
            break
else:
    time.sleep(1)
if process.poll() is not None or (when and not (said and re.search(when, said[-1]))):
    sys.exit("it ended before it could be stopped:\n" + "".join(said) + errors.read().lstrip("\0"))

target = only_child(process.pid) if to_child else process.pid
start = time.monotonic()
os.kill(target, signal.SIGTERM)
code = process.wait()
took = time.monotonic() - start
print(code, round(took * 1000, 1))
print("".join(said) + errors.read().lstrip("\0"), end="")
