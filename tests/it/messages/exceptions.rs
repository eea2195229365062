//! Texts that no run of a test can print, each with the reason. One that is in the file or not in the sources fails the
//! test.

/// The reason, and the texts of the sources: mostly a message and its hint.
pub const EXCEPTIONS: &[(&str, &[&str])] = &[
    (
        "the types allow it, and nothing else",
        &["it is an access token", "there is no name", "a signal"],
    ),
    (
        "the call before it does not fail",
        &[
            "its key cannot sign",
            "installing signal handlers",
            "handing over `{}`: {}",
        ],
    ),
    (
        "a system call has to fail between two others",
        &[
            "{error}; it leads to nothing, and the next run tries again",
            "it cannot be kept for the case that something else fails",
            "and it is not as it was before: {second}",
            "{error}; the next run tries again",
            "{error}; the next run removes what this one leaves",
            "blocking signals",
            "becoming a subreaper",
            "starting a process",
            "restoring the signal mask",
            "does a sandbox (seccomp) forbid it? Without --init there is no need for it",
            "raise the limit on open files (ulimit -n)",
            "raise the container's limit on processes (pids) or on memory",
        ],
    ),
    (
        "it takes root, other users, mounts or attributes: tests/volume.sh has them",
        &[
            "run akv-init as the user whose file it is, or remove the file",
            "cannot remove `{path}`: {}",
            "{error}; an earlier run has left it",
            "it belongs to somebody else",
            "it is not the directory that it was before the secrets were fetched",
            "was the volume unmounted meanwhile?",
            "{who}: with the sticky bit only its owner replaces a file; run akv-init as the user who wrote it",
            "an attribute of `{subject}` or of its directory may forbid it (lsattr)",
            "something is mounted at `{subject}`: choose another name",
            "`{shown}` is another volume: run akv-init for it by itself",
        ],
    ),
    (
        "COMMAND has to inherit descriptor 100: tests/it/memfd has it",
        &[
            "COMMAND gets it as descriptor {LOWEST} or above: raise the limit of open files (ulimit -n)",
        ],
    ),
    (
        "it takes a bug",
        &[
            "internal error{location}",
            "this is a bug of akv-init: please report it with this line and the version",
        ],
    ),
    (
        "it takes a way that is not there, and a moment later is",
        &["at first {}"],
    ),
    (
        "for root only its container limits the number of processes",
        &[
            "starting a thread: {error}",
            "raise the container's limit on processes (pids)",
        ],
    ),
    (
        "no file system without them can be mounted by just anybody",
        &[
            "this file system may have no symbolic links: use --layout plain",
            "`{}` cannot be locked: {error}",
        ],
    ),
    (
        "nothing tells from outside when it begins",
        &["looking up {}", "waiting for the lock of `{path}`"],
    ),
    (
        "it takes 15 s, or 30, or minutes",
        &[
            "aad-pod-identity, where it is in use, may still be assigning the identity: up to 100 s",
            "another process has had its lock (flock) for 30 s",
            "is another akv-init stopped in the middle of writing there?",
            "no response in time",
        ],
    ),
    (
        "the fake CAs do not issue such certificates",
        &[
            "no name",
            "the certificate is malformed",
            "the certificate is not valid; issued by {issuer}",
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
        "whatever runs the tests has it",
        &["this sandbox has no memfd_create: use `akv-init write` and a volume"],
    ),
];
