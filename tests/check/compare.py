"""Compares `check` with the `exec` that fails, in one set-up.

    compare.py OUTPUT WHAT CODE FAILED HINT PREFIX... :: OPTION... :: COMMAND...

Runs `PREFIX check OPTION... -- COMMAND` twice as text and once with `--format json`, and `PREFIX exec` with the same
options, all at once. Prints a line of the table of `tests/check.sh`, and below it each condition that does not hold:

  * the verdict names a link, whose line holds FAILED and whose hint holds HINT. Both are several texts with ` | ` between
    them; FAILED may also be in the verdict. Without HINT there is no hint. `exec` ends with the same hint, except for
    texts that start with `~`: only `check` can know those;
  * `check` and `exec` end with CODE, and the verdict says so; `exec` prints at most an `error:` and a `hint:` line;
  * as JSON every line is an object with link, state and message, and the verdict is the same;
  * two runs print the same lines, except for times and ids;
  * passed links fit into 80 columns, as far as their words do.

All output is in the file OUTPUT afterwards. The exit code is 0 unless this program itself fails.
"""

import difflib
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LONGEST = 10_000  # milliseconds until the verdict
MARGIN = " " * 20

output, what, code, failed, hint, *words = sys.argv[1:]
first = words.index("::")
second = words.index("::", first + 1)
prefix, options, command = words[:first], words[first + 1 : second], words[second + 1 :]
faults = []


def holds(condition, sentence, *found):
    if not condition:
        faults.append("\n".join([sentence, *found]))


def run(arguments):
    start = time.monotonic()
    command_line = [*prefix, *arguments, *options, *(["--", *command] if command else [])]
    done = subprocess.run(
        command_line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    done.took = round((time.monotonic() - start) * 1000)
    return done


def steady(text):
    """The text without what differs from run to run."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(Z| UTC)", "TIME", text)
    text = re.sub(r'("ms":|"skew":-?)\d+', r"\1N", text)
    # Where a line was folded depends on how long its time is.
    return re.sub(r"\s+", " ", re.sub(r"\s\(\d+ ms\)", "", text))


def texts_of(list_of_texts):
    return [text for text in list_of_texts.split(" | ") if text]


def links_of(text):
    """Each link as its state, kind, text and hint, however it was folded."""
    links = []
    for line in re.sub(r"\n {20}(?!hint: )", " ", text).splitlines():
        if line.startswith(MARGIN):
            links[-1][3] = line.removeprefix(f"{MARGIN}hint: ")
        else:
            links.append([line[:8].strip(), line[8:20].strip(), line[20:], ""])
    return links


def too_wide(text):
    for line in text.splitlines():
        if not line.startswith(MARGIN):
            is_whole = line.startswith("FAILED") or line[8:].startswith("verdict")
        if len(line) > 80 and not is_whole and " " in line[len(MARGIN) :].strip():
            yield line


def is_named(verdict, state, kind, text, _):
    name = kind if kind in ("clock", "identity", "references", "trust") else f"{kind} {text.split(': ')[0]}"
    return state in ("FAILED", "warning") and name in verdict


def compare_text(text):
    *links, (state, kind, verdict, _) = links_of(text.stdout) or [["", "", "", ""]]
    holds(kind == "verdict", "the last line is the verdict", text.stdout, text.stderr)
    holds((state == "FAILED") == (code != "0"), "the verdict is FAILED where the exit code is not 0", verdict)
    holds(code == "0" or f"exec would fail with exit code {code}; failed check: " in verdict, "the verdict has the exit code", verdict)
    named = [link for link in links if is_named(verdict, *link)]
    found = "\n".join([verdict, *(f"{kind} {text}" for _, kind, text, _ in named)])
    hints = "\n".join(link[3] for link in named if link[3])
    for expected in texts_of(failed):
        holds(expected in found, f"the verdict or its link says: {expected}", found)
    for expected in texts_of(hint):
        holds(expected.removeprefix("~") in hints, f"its hint says: {expected}", hints)
    holds(bool(hint) == bool(hints), "there is a hint where there is something to do", hints)
    holds(not list(too_wide(text.stdout)), "passed links fit into 80 columns", *too_wide(text.stdout))
    return verdict, named[0][3] if named else ""


def compare_json(as_json, verdict, first_hint):
    try:
        objects = [json.loads(line) for line in as_json.stdout.splitlines()]
        bare = [item for item in objects if not {"link", "state", "message"} <= item.keys()]
        last = objects[-1]
    except (ValueError, IndexError, AttributeError) as error:
        holds(False, f"each line of JSON is an object: {error}", as_json.stdout, as_json.stderr)
        return
    holds(not bare, "each object has link, state and message", *map(str, bare))
    holds(last["link"] == "verdict", "the last object is the verdict", str(last))
    found = (last["message"], last.get("hint", ""), str(last.get("code")))
    expected = (verdict, first_hint, code)
    holds(tuple(map(steady, found)) == tuple(map(steady, expected)), "as JSON it is the same verdict", *found, *expected)


def compare_exec(started):
    lines = (started.stdout + started.stderr).splitlines()
    kinds = [line.split(": ")[1] if ": " in line else line for line in lines]
    allowed = [[]] if code == "0" else [["error"], ["error", "hint"]]
    holds(kinds in allowed, "`exec` prints an error and a hint at most", *lines)
    for expected in texts_of(hint):
        if code != "0" and not expected.startswith("~"):
            holds(expected in "".join(lines[1:]), f"the hint of `exec` says: {expected}", *lines)


with ThreadPoolExecutor() as pool:
    # Without a deadline of its own `exec` would wait two minutes.
    deadline = [] if "--timeout" in options else ["--timeout", "2"]
    kinds = [["check"], ["check"], ["check", "--format", "json"], ["exec", *deadline]]
    text, again, as_json, started = pool.map(run, kinds)

found_verdict, found_hint = compare_text(text)
compare_json(as_json, found_verdict, found_hint)
compare_exec(started)
holds(len({*map(str, (text.returncode, as_json.returncode, started.returncode)), code}) == 1,
      f"`check`, `check` as JSON and `exec` end with {code}",
      f"{text.returncode}, {as_json.returncode}, {started.returncode}", started.stderr)
holds(text.stderr == as_json.stderr == "", "`check` prints nothing on standard error", text.stderr, as_json.stderr)
before, after = [[steady(" ".join(link)) for link in links_of(run.stdout)] for run in (text, again)]
holds(before == after, "two runs print the same lines", *difflib.unified_diff(before, after, lineterm="", n=0))
holds(text.took <= LONGEST, f"the verdict takes {LONGEST} ms at most")

Path(output).write_text("".join(done.stdout + done.stderr for done in (text, again, as_json, started)))
shown = " | ".join(texts_of(failed)) + (f"  ->  {hint}" if hint else "")
print(f"{'FAILED' if faults else 'ok':<8}{text.took:>5} ms {code:>4}  {what:<45} {shown}")
for fault in faults:
    print("        | " + fault.replace("\n", "\n        |   "))
