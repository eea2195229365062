//! Texts that no run of a test can print, each with the reason. One that is in the file or not in the sources fails the
//! test.

/// The reason, and the texts of the sources: mostly a message and its hint.
pub const EXCEPTIONS: &[(&str, &[&str])] = &[
    (
        "the call before it does not fail",
        &["its key cannot sign", "waiting for signals"],
    ),
    (
        "it is of a value, and not of a message",
        &[
            "-----END {label}-----\n",
            "-----END {label}-----",
            "PRIVATE KEY",
        ],
    ),
    (
        "it is read from a file, and not printed",
        &["-----END CERTIFICATE-----"],
    ),
    (
        "a system call has to fail between two others",
        &[
            "{error}; it leads nowhere, and the next run will try again",
            "rolling back failed: {undo_error}",
            "already written: {}",
            "{error}; the next run will try again",
            "starting a process",
            "does a sandbox (seccomp) forbid memfd_create?",
            "does a sandbox (seccomp) forbid fork or wait4?",
            "restoring the signal mask",
            "raise the container's limit on processes (pids) or on memory",
        ],
    ),
    (
        "it takes root, other users, mounts or attributes: tests/volume.sh has them",
        &[
            "cannot remove `{}`",
            "it is not the directory that it was before the secrets were fetched",
            "was the volume unmounted while the secrets were fetched?",
            "{permissions}; with the sticky bit only a file's owner may replace it: run akv-init as that user",
            "does an attribute of `{subject}` or of its directory forbid it (lsattr)?",
            "{permissions}; that allows it, so a security module or the mount refuses: check the SELinux label (`:z` in Compose and Podman), AppArmor, and the volume's mount options",
            "the file system does not distinguish it from {other}",
            "another one",
            "choose names that differ in more than case or accents",
            "the file system gives files mode {found:04o} instead of {mode:04o}",
            "mount the volume with `file_mode={mode:04o}` (SMB) or a `umask=` (FUSE, vfat), or accept it with --allow-loose-mode",
            "in DIR, {reason}",
            "is something mounted at `{subject}`? choose another name",
            "`{directory}` is another volume: run akv-init for it separately",
        ],
    ),
    (
        "a round has to be killed: tests/it/write_every has it",
        &[
            "the process of a round ended with exit code {code}",
            "{text}; the files stay as they are",
        ],
    ),
    (
        "root reads every file",
        &["check fsGroup and runAsUser: this user must be able to read the projected token"],
    ),
    (
        "COMMAND has to inherit descriptor 100: tests/it/memfd has it",
        &[
            "raise the limit on open files (ulimit -n): COMMAND gets file descriptors from {FIRST_DESCRIPTOR} up",
        ],
    ),
    (
        "only the C library sends itself the signals below SIGRTMIN that have no name",
        &["signal {signal}"],
    ),
    (
        "it takes a bug",
        &[
            "internal error{location}",
            "this is a bug of akv-init: please report it with this line and the version",
        ],
    ),
    (
        "for root only its container limits the number of processes",
        &[
            "starting a thread: {error}",
            "{PROCESS_LIMITS_HINT}; does a sandbox (seccomp) forbid clone?",
        ],
    ),
    (
        "no file system without them can be mounted by just anybody",
        &[
            "if this file system has no symbolic links, use --layout plain",
            "cannot lock `{path}`: {error}",
        ],
    ),
    (
        "nothing tells from outside when it begins",
        &["looking up {host}", "waiting for the lock of `{path}`"],
    ),
    (
        "it takes 15 s, or 30, or minutes",
        &[
            "IMDS accepts connections but does not respond: it is slow, or a firewall holds its responses back; aad-pod-identity, if it is in use, can take up to 100 s to assign the identity",
            "another process has held its lock (flock) for 30 s",
            "is another akv-init stopped while it writes there?",
            "no response in time",
        ],
    ),
    (
        "the fake Azure has no such certificates",
        &[
            "no name",
            "check its signature algorithm (RSA from 2048 bits, ECDSA, Ed25519), its extensions and its chain",
        ],
    ),
    (
        "no library returns such an error",
        &["the request failed", "the connection failed"],
    ),
    (
        "the stand-in's authorities have names",
        &["an issuer without a name"],
    ),
    (
        "a sandbox has to refuse a system call: tests/sweep.sh has them",
        &[
            "becoming a subreaper",
            "blocking signals",
            "does a sandbox (seccomp) forbid it? try without --init",
            "does a sandbox (seccomp) forbid signalfd, eventfd or rt_sigprocmask?",
            "does a sandbox (seccomp) or a security module (AppArmor, SELinux) forbid it?",
            "does a sandbox forbid memfd_create? use `akv-init write` and a volume",
            "no program can be started from there; choose another volume, such as an emptyDir",
            "sending signals",
            "this node refuses the connection itself: does a sandbox (seccomp), a security module or a network policy (eBPF) forbid it?",
            "waiting for child processes",
        ],
    ),
];
