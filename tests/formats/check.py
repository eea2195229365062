"""Every value of cases.py, through akv-init into every format, and from there through every reader of the format.

    python3 check.py AKV_INIT STANDIN WORK

tests/formats.sh has built the readers in WORK: `compose`, `kubelet` and `dotenv-VERSION`. No process inherits this one's
environment.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from cases import NAMES, VALUES
from systemd import Systemd

AKV_INIT, STANDIN, WORK = (Path(word).resolve() for word in sys.argv[1:])
HERE = Path(__file__).resolve().parent
FORMATS = ["dotenv", "k8s-env", "json"]
SHELLS = ["dash", "bash"]
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
# The values before and after one in its file. A reader that misses the end of the value misreads these.
BEFORE, AFTER = "it is \"first\" # and 'last'", "it's \"last\""
NEIGHBOURS = {"dotenv": (BEFORE, AFTER), "k8s-env": (BEFORE.replace("'", "`"), "# $last"), "json": (BEFORE, AFTER)}

WARNING = re.compile(
    r"akv-init: warning: \w+: the secret (ends in a newline|begins with a byte order mark), .*"
    r"akv://[\w.:/-]+\?trim"
)

failures = 0
checks = 0


def check(sentence, *problems):
    """A sentence that is true if there is no problem."""
    global checks, failures
    checks += 1
    problems = [problem for problem in problems if problem]
    failures += bool(problems)
    print(f"{'FAILED' if problems else 'ok':8}{sentence}")
    for problem in problems:
        print(f"        | {problem}")


def run(*words, env=PATH, **options):
    return subprocess.run(words, env=env, cwd=WORK / "nowhere", capture_output=True, timeout=60, **options)


# ----------------------------------------------------------------------------------------------------------------------
# Readers: each gets a file and the keys that should be in it, and returns the values, in bytes
# ----------------------------------------------------------------------------------------------------------------------


def shell(name, path, keys):
    # The environment of a command that the shell starts afterwards.
    script = 'set -eu; set -a; . "$1"; set +a; exec /usr/bin/env -0'
    done = run(name, "-c", script, name, path)
    if done.returncode != 0 or done.stderr:
        return {b"error": done.stderr}
    found = dict(entry.split(b"=", 1) for entry in done.stdout.split(b"\0") if entry)
    return {key: value for key, value in found.items() if key.decode() in keys}


def jq(path, keys):
    found = {}
    for key in keys:
        done = run("jq", "--join-output", "--arg", "key", key, ".[$key]", path)
        found[key.encode()] = done.stderr or done.stdout
    return found


def of_json(text):
    return {
        path: {key.encode(): value.encode(errors="surrogatepass") for key, value in values.items()}
        for path, values in json.loads(text).items()
    }


def read_all(files):
    """All files of one format, FILE -> keys: reader -> FILE -> values. The slow readers are started once."""
    paths = [str(path) for path in files]
    formats = {path.suffix.lstrip(".") for path in files}
    assert len(formats) == 1, formats
    match formats.pop():
        case "dotenv":
            systemd = Systemd()
            readers = {name: {str(p): shell(name, p, keys) for p, keys in files.items()} for name in SHELLS}
            readers["systemd"] = {path: systemd.read(path) for path in paths}
            readers["Compose"] = of_json(run(WORK / "compose", *paths, check=True).stdout)
            for library in sorted(WORK.glob("dotenv-*")):
                env = PATH | {"PYTHONPATH": str(library)}
                done = run(sys.executable, HERE / "python_dotenv.py", *paths, env=env, check=True)
                readers[f"python-{library.name}"] = of_json(done.stdout)
        case "k8s-env":
            expected_keys = json.dumps({str(path): keys for path, keys in files.items()})
            readers = {"kubelet": of_json(run(WORK / "kubelet", input=expected_keys.encode(), check=True).stdout)}
        case "json":
            readers = {"jq": {str(path): jq(path, keys) for path, keys in files.items()}}
    return readers


def differences(readers, path, expected):
    """The values in a file that a reader got wrong. They are the test's own, not secrets."""
    expected = {key.encode(): value.encode() for key, value in expected.items()}
    for reader, found in readers.items():
        found = found[str(path)]
        if found != expected:
            wrong = [key for key in expected | found if found.get(key) != expected.get(key)]
            yield f"{reader}: " + ", ".join(f"{key!r} is {str(found.get(key))[:200]}" for key in wrong[:3])


# ----------------------------------------------------------------------------------------------------------------------
# akv-init
# ----------------------------------------------------------------------------------------------------------------------


class Azure:
    def __init__(self, secrets):
        (WORK / "azure").mkdir()
        words = [STANDIN, "--dir", WORK / "azure"]
        for name, value in secrets.items():
            path = WORK / "values" / name
            path.write_bytes(value.encode())
            words += ["--secret-file", f"{name}={path}"]
        # It ends at the end of its standard input, so with this process, however that ends.
        self.process = subprocess.Popen(words, env=PATH, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        addresses = {}
        for line in self.process.stdout:
            if line == "ready\n":
                break
            name, address = line.split()
            addresses[name] = address
        self.env = PATH | {
            "AZURE_POD_IDENTITY_AUTHORITY_HOST": addresses["imds"],
            "SSL_CERT_FILE": str(WORK / "azure" / "ca.pem"),
            "AKV_INIT_ALLOW_VAULT": addresses["vault"],
            "AKV_INIT_VAULT": addresses["vault"],
            "AKV_INIT_TIMEOUT": "30",
            "AKV_INIT_QUIET": "true",
        }

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=10)


def write(env, output, directory, secrets):
    """`akv-init write`, and its standard error without the warnings about values."""
    directory.mkdir()
    words = [word for target, name in secrets.items() for word in ("--secret", f"{target}={name}")]
    done = run(AKV_INIT, "write", "--output", output, *words, directory, env=env)
    lines = done.stderr.decode().splitlines()
    return done.returncode, done.stdout, [line for line in lines if not WARNING.fullmatch(line)]


def refusal(format, target, file):
    readers = "the kubelet" if format == "k8s-env" else "some parsers"
    return [
        f"akv-init: error: `{file}`: {target}: "
        f"the {format} format cannot hold this value: {readers} would change it",
        "akv-init: hint: use --output files, which can hold every value, or --output json:FILE, which can hold every text",
    ]


def check_values(azure):
    for format in FORMATS:
        before, after = NEIGHBOURS[format]
        files, accepted = {}, {}
        for index, (what, value, refused_by) in enumerate(VALUES):
            file = f"all.{format}"
            directory = WORK / "written" / f"{format}-{index}"
            secrets = {"BEFORE": f"before-{format}", "V": f"value-{index}", "AFTER": f"after-{format}"}
            outcome = write(azure.env, f"{format}:{file}", directory, secrets)
            if format in refused_by.split():
                # The complete message: it is the same for every value.
                expected = (78, b"", refusal(format, "V", file))
                check(
                    f"{format} refuses {what}: 78, nothing written, nothing revealed",
                    outcome != expected and f"{outcome}",
                    any(directory.iterdir()) and f"{os.listdir(directory)} is there",
                )
            elif outcome != (0, b"", []):
                check(f"{format} holds {what}", f"{outcome}")
            else:
                files[directory / file] = {"BEFORE": before, "V": value, "AFTER": after}
                accepted[f"V{index}"] = f"value-{index}"
        together = WORK / "written" / f"{format}-together"
        outcome = write(azure.env, f"{format}:all.{format}", together, accepted)
        check(f"{format} takes all of these in one file", outcome != (0, b"", []) and f"{outcome}")
        path = together / f"all.{format}"
        files[path] = {name: VALUES[int(name[1:])][1] for name in accepted}
        readers = read_all({path: list(expected) for path, expected in files.items()})
        names = ", ".join(readers)
        for path, expected in files.items():
            what = "all of them together"
            if path.parent != together:
                what = VALUES[int(path.parent.name.removeprefix(f"{format}-"))][0]
            check(f"{format} holds {what}: {names}", *differences(readers, path, expected))
        if format == "json":
            ends = [path for path in files if not path.read_bytes().endswith(b"\n}\n")]
            order = [path for path, expected in files.items() if list(json.loads(path.read_bytes())) != list(expected)]
            check("json has its entries in the order given, and ends with a line end", *map(str, ends + order))


def check_files(azure):
    directory = WORK / "written" / "files"
    secrets = {f"V{index}": f"value-{index}" for index in range(len(VALUES))}
    outcome = write(azure.env, "files", directory, secrets)
    check("files takes every value at once", outcome != (0, b"", []) and f"{outcome}")
    for index, (what, value, _) in enumerate(VALUES):
        path = directory / f"V{index}"
        found = path.read_bytes() if path.exists() else None
        check(f"files holds {what}, byte for byte", found != value.encode() and f"{str(found)[:200]}")


# ----------------------------------------------------------------------------------------------------------------------
# Names
# ----------------------------------------------------------------------------------------------------------------------


def check_names(azure):
    # No server listens there: a malformed name is an error before any request.
    closed = azure.env | {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:1", "AKV_INIT_TIMEOUT": "0"}
    for format in FORMATS:
        files = {}
        for index, (name, refused_by) in enumerate(NAMES):
            shown = name if len(name) < 100 else f"{name[0]} {len(name)} times"
            directory = WORK / "written" / f"{format}-name-{index}"
            file = f"all.{format}"
            if format in refused_by.split():
                code, out, lines = write(closed, f"{format}:{file}", directory, {name: "value-0"})
                target = lines[0].startswith(f"akv-init: error: {name}: ") if lines else False
                check(
                    f"{format} refuses the key {shown}: 78, nothing written, before any request",
                    (code, out) != (78, b"") and f"{code} {out}",
                    not target and f"{lines}",
                    any(directory.iterdir()) and f"{os.listdir(directory)} is there",
                )
                continue
            outcome = write(azure.env, f"{format}:{file}", directory, {name: "value-0", "AFTER": f"after-{format}"})
            if outcome != (0, b"", []):
                check(f"{format} takes the key {shown}", f"{outcome}")
                continue
            files[directory / file] = {name: VALUES[0][1], "AFTER": NEIGHBOURS[format][1]}
        readers = read_all({path: list(expected) for path, expected in files.items()})
        for path, expected in files.items():
            name = next(iter(expected))
            shown = name if len(name) < 100 else f"{name[0]} {len(name)} times"
            check(f"{format} takes the key {shown}", *differences(readers, path, expected))


def check_variables_of_shells(azure):
    """Every variable that a shell starts with or its manual lists keeps the value that a file assigns to it."""
    names = set(run("bash", "-c", "compgen -v", check=True).stdout.decode().split())
    names |= {line.split("=")[0] for line in run("dash", "-c", "set", check=True).stdout.decode().splitlines()}
    names |= {"BASH_ARGV0", "BASH_COMPAT", "ENV", "FUNCNAME", "HISTCMD", "OLDPWD", "OPTARG", "PIPESTATUS", "REPLY"}
    names |= {"SRANDOM", "TIMEFORMAT"}
    # A shell warns about an invalid locale in one of these, and keeps it.
    names = sorted(name for name in names if not name.startswith("LC_") and name != "LANG")
    problems, taken, refused = [], {}, {}
    for name in names:
        directory = WORK / "written" / f"shell-{name}"
        # A value with a blank and letters: an integer would look for variables of that name.
        outcome = write(azure.env, "dotenv:all.dotenv", directory, {name: "words", "AFTER": "after-dotenv"})
        if outcome == (0, b"", []):
            taken[directory / "all.dotenv"] = {name: "two words", "AFTER": AFTER}
        elif outcome[0] == 78 and "shells reserve this variable" in outcome[2][0]:
            path = WORK / "written" / f"{name}.dotenv"
            path.write_text(f"{name}='two words'\nAFTER='after'\n")
            refused[path] = {name: "two words", "AFTER": "after"}
        elif outcome[0] != 78:
            problems.append(f"{name}: {outcome}")

    def changed(files):
        readers = {name: {str(p): shell(name, p, list(keys)) for p, keys in files.items()} for name in SHELLS}
        return {path: list(differences(readers, path, expected)) for path, expected in files.items()}

    for found in changed(taken).values():
        problems += found
    check(f"of {len(names)} variables of the shells, {len(taken)} are accepted as keys, and keep their values", *problems)
    needless = [path.stem for path, found in changed(refused).items() if not found and not path.stem.startswith("BASH")]
    check(f"{len(refused)} are refused, and none of them would keep its value, except some that start with BASH", *needless)


def main():
    for name in ("values", "written", "nowhere"):
        (WORK / name).mkdir()
    secrets = {f"value-{index}": value for index, (_, value, _) in enumerate(VALUES)}
    for format, (before, after) in NEIGHBOURS.items():
        secrets |= {f"before-{format}": before, f"after-{format}": after}
    azure = Azure(secrets | {"words": "two words"})
    check_values(azure)
    check_files(azure)
    check_names(azure)
    check_variables_of_shells(azure)
    check("no text in a file was executed", *os.listdir(WORK / "nowhere"))
    code = azure.end()
    check("the fake Azure exits with 0", code != 0 and f"{code}")
    print(f"{checks} checks, {failures} failed")
    return failures != 0


sys.exit(main())
