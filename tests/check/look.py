"""Examines one set-up as the person on call does: with `check`, and beside it with the `exec` that fails.

    look.py OUTPUT WHAT CODE BROKEN MEND PREFIX... :: OPTION... :: COMMAND...

Runs `PREFIX check OPTION... -- COMMAND` twice as text and once with `--format json`, and `PREFIX exec` with the same
options, all at once, and prints a line of the table of `tests/check.sh`, with each fault below it:

  * the verdict, or the link that it names, contains BROKEN, and that link's hint MEND, each several texts with ` | `
    between them; without MEND there is no hint. `exec` ends with that hint, too, but for texts that start with `~`, which
    only `check` can know;
  * `check` and `exec` end with CODE, and so says the verdict; `exec` prints an `error:` and a `hint:` line at most;
  * as JSON every line is an object with link, state and message, and the verdict is the same;
  * two runs give the same lines, but for times and ids;
  * lines that are not FAILED fit into 80 columns, as far as their words do.

All that was printed is left in the file OUTPUT. The exit code is 0 unless this program itself fails.
"""

import difflib
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LONGEST = 10_000  # milliseconds that a verdict may take
MARGIN = " " * 20

output, what, code, broken, mend, *words = sys.argv[1:]
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


def same_lines(one, other):
    """One link a line, however it was folded."""
    links = [re.sub(r"\n {20}(?!hint: )", " ", run.stdout) for run in (one, other)]
    return [[steady(line) for line in text.splitlines()] for text in links]


def too_wide(text):
    for line in text.splitlines():
        if not line.startswith(MARGIN):
            is_whole = line.startswith("FAILED") or line[8:].startswith("verdict")
        if len(line) > 80 and not is_whole and " " in line[len(MARGIN) :].strip():
            yield line


def links_of(text):
    """Each link as `KIND SUBJECT: TEXT`, with its state and its hint, however its lines were folded."""
    links = []
    for line in text.splitlines():
        if not line.startswith(MARGIN):
            links.append([line[:8].strip(), f"{line[8:20].strip()} {line[20:]}", ""])
        elif line.startswith(f"{MARGIN}hint: ") or links[-1][2]:
            links[-1][2] = f"{links[-1][2]} {line.strip()}".strip()
        else:
            links[-1][1] += f" {line.strip()}"
    return [(state, link, hint.removeprefix("hint: ")) for state, link, hint in links]


def look_at_text(text):
    """The verdict, and the hint of the link that it names."""
    links = links_of(text.stdout)
    if not links or not links[-1][1].startswith("verdict "):
        holds(False, "the last line is the verdict", text.stdout, text.stderr)
        return "", ""
    state, verdict, _ = links[-1]
    verdict = verdict.removeprefix("verdict ")
    holds((state == "FAILED") == (code != "0"), "the verdict is FAILED where the exit code is not 0", verdict)
    named = re.match(r"exec would fail with \d+: (.*?)(;|$)", verdict)
    if named:
        at_fault = [link for link in links if link[0] == "FAILED" and link[1].startswith(named[1])]
    else:
        at_fault = [link for link in links if link[0] == "warning"]
    report = " ".join([verdict, *(link for _, link, _ in at_fault)])
    hint = next((hint for _, _, hint in at_fault if hint), "")
    for expected in texts_of(broken):
        holds(expected in report, f"the verdict, or the link that it names, says: {expected}", report)
    for expected in texts_of(mend):
        holds(expected.removeprefix("~") in hint, f"the hint says: {expected}", hint)
    holds(bool(mend) == bool(hint), "there is a hint where there is something to do", hint)
    holds(not list(too_wide(text.stdout)), "lines that are not FAILED fit into 80 columns", *too_wide(text.stdout))
    return verdict, hint


def look_at_json(as_json, verdict, hint):
    try:
        objects = [json.loads(line) for line in as_json.stdout.splitlines()]
        bare = [item for item in objects if not {"link", "state", "message"} <= item.keys()]
        last = objects[-1]
    except (ValueError, IndexError, AttributeError) as error:
        holds(False, f"each line of JSON is an object: {error}", as_json.stdout, as_json.stderr)
        return
    holds(not bare, "each object has link, state and message", *map(str, bare))
    holds(last["link"] == "verdict", "the last object is the verdict", str(last))
    reported = (last["message"], last.get("hint", ""), str(last.get("code")))
    expected = (verdict, hint, code)
    holds(tuple(map(steady, reported)) == tuple(map(steady, expected)), "as JSON it is the same verdict", *reported, *expected)


def look_at_exec(started):
    lines = (started.stdout + started.stderr).splitlines()
    kinds = [line.split(": ")[1] if ": " in line else line for line in lines]
    allowed = [[]] if code == "0" else [["error"], ["error", "hint"]]
    holds(kinds in allowed, "`exec` prints an error and a hint at most", *lines)
    for expected in texts_of(mend):
        if code != "0" and not expected.startswith("~"):
            holds(expected in "".join(lines[1:]), f"the hint of `exec` says: {expected}", *lines)


with ThreadPoolExecutor() as pool:
    # Without a deadline of its own `exec` waits two minutes for what may come.
    patience = [] if "--timeout" in options else ["--timeout", "2"]
    kinds = [["check"], ["check"], ["check", "--format", "json"], ["exec", *patience]]
    text, again, as_json, started = pool.map(run, kinds)

found_verdict, found_hint = look_at_text(text)
look_at_json(as_json, found_verdict, found_hint)
look_at_exec(started)
holds(len({*map(str, (text.returncode, as_json.returncode, started.returncode)), code}) == 1,
      f"`check`, `check` as JSON and `exec` end with {code}",
      f"{text.returncode}, {as_json.returncode}, {started.returncode}", started.stderr)
holds(text.stderr == as_json.stderr == "", "`check` says nothing on standard error", text.stderr, as_json.stderr)
before, after = same_lines(text, again)
holds(before == after, "two runs give the same lines", *difflib.unified_diff(before, after, lineterm="", n=0))
holds(text.took <= LONGEST, f"the verdict takes {LONGEST} ms at most")

Path(output).write_text("".join(done.stdout + done.stderr for done in (text, again, as_json, started)))
shown = " | ".join(texts_of(broken)) + (f"  ->  {mend}" if mend else "")
print(f"{'FAILED' if faults else 'ok':<8}{text.took:>5} ms {code:>4}  {what:<45} {shown}")
for fault in faults:
    print("        | " + fault.replace("\n", "\n        |   "))
