"""Runs the cases over the inits, and what only ours must do.

    suite.py            ours must pass all of it
    suite.py --table    the same, and who else passes which case, as a table in Markdown
"""

import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from cases import CASES, LEFT_OUT
from harness import OTHERS, OURS, Wrong
from own import CHECKS

WAYS = {"pid1": "as process 1", "plain": "as another"}


def attempt(function, *arguments):
    """Nothing, or why it failed."""
    try:
        function(*arguments)
    except Wrong as wrong:
        return str(wrong) or "wrong"
    except Exception:  # a case that breaks is a case that fails
        return traceback.format_exc()
    return None


def cell(results):
    passed = [mode for mode, failure in results.items() if failure is None]
    if len(passed) == len(results):
        return "yes"
    return WAYS[passed[0]] if passed else "no"


def main():
    with_others = "--table" in sys.argv
    started = time.monotonic()
    inits = [OURS] + OTHERS * with_others
    pool = ThreadPoolExecutor(max_workers=6)
    runs = {}
    for init in inits:
        for name, _, function, modes, ours_only in CASES:
            if init is OURS or not ours_only:
                for mode in modes:
                    runs[init, name, mode] = pool.submit(attempt, function, init, mode)
    # The others of our own are few, and some of them measure: alone.
    failures = 0
    total = 0

    def report(sentence, failure):
        nonlocal failures, total
        total += 1
        print(f"{'ok' if failure is None else 'FAILED':8}{sentence}", flush=True)
        if failure is not None:
            failures += 1
            print("        | " + failure.strip().replace("\n", "\n        | "), flush=True)

    for name, sentence, _, modes, _ in CASES:
        for mode in modes:
            report(f"{name}, {WAYS[mode]}: {sentence}", runs[OURS, name, mode].result())
    for sentence, check in CHECKS:
        report(sentence, attempt(check))
    for name, what, why in LEFT_OUT:
        print(f"left out {name}: {what}: {why}")
    pool.shutdown()
    if with_others:
        if os.environ.get("REASONS"):
            for (init, name, mode), future in runs.items():
                if future.result() is not None:
                    print(f"{init.name} {name} {mode}: {future.result().strip()[-200:]}", file=sys.stderr)
        print("\n| | | " + " | ".join(init.name for init in inits) + " |\n|---|---|" + "---|" * len(inits))
        for name, sentence, _, modes, ours_only in CASES:
            cells = []
            for init in inits:
                results = {mode: runs[init, name, mode].result() for mode in modes if (init, name, mode) in runs}
                cells.append(cell(results) if results else "–")
            print(f"| {name} | {sentence} | " + " | ".join(cells) + " |")
        print()
    print(f"{total} checks, {failures} failed, in {time.monotonic() - started:.0f} s")
    sys.exit(failures != 0)


main()
