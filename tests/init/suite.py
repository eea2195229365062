"""Runs the cases on the inits, and the checks of akv-init alone.

    suite.py            akv-init must pass all of them
    suite.py --table    the same, and which other init passes which case, as a table in Markdown
"""

import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from cases import CASES, LEFT_OUT
from harness import AKV_INIT, OTHERS, Wrong
from own import CHECKS

MODE_NAMES = {"pid1": "as process 1", "plain": "as another"}


def attempt(function, *arguments):
    """None, or the reason of a failure."""
    try:
        function(*arguments)
    except Wrong as wrong:
        return str(wrong) or "wrong"
    except Exception:  # an error in a case is a failure
        return traceback.format_exc()
    return None


def cell(results):
    passed = [mode for mode, failure in results.items() if failure is None]
    if len(passed) == len(results):
        return "yes"
    return MODE_NAMES[passed[0]] if passed else "no"


def main():
    with_others = "--table" in sys.argv
    started = time.monotonic()
    inits = [AKV_INIT] + OTHERS * with_others
    pool = ThreadPoolExecutor(max_workers=6)
    runs = {}
    for init in inits:
        for name, _, function, modes, own_only in CASES:
            if init is AKV_INIT or not own_only:
                for mode in modes:
                    runs[init, name, mode] = pool.submit(attempt, function, init, mode)
    # The checks of akv-init alone run one after the other, since some of them measure.
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
            report(f"{name}, {MODE_NAMES[mode]}: {sentence}", runs[AKV_INIT, name, mode].result())
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
        for name, sentence, _, modes, own_only in CASES:
            cells = []
            for init in inits:
                results = {mode: runs[init, name, mode].result() for mode in modes if (init, name, mode) in runs}
                cells.append(cell(results) if results else "–")
            print(f"| {name} | {sentence} | " + " | ".join(cells) + " |")
        print()
    print(f"{total} checks, {failures} failed, in {time.monotonic() - started:.0f} s")
    sys.exit(failures != 0)


main()
