// An application of the recipes, in an image without a shell, that also bears witness: it says where a process can find
// the secret, and never what it is. It knows the secret by its checksum in WITNESS alone, so that a value in its
// environment, its log or its memory is one that was handed to it.
//
//   witness serve    says where itself and a child of its own find the secret, then waits for SIGTERM
//   witness report   the same without waiting; ends with 0, or with 3 if it does not find the secret
//   witness fail     ends with 42
//   witness look     where this process finds it: in its environment, behind a descriptor, in a file of /secrets
//   witness peer     where it finds it by way of process 1: /proc/1/environ, /proc/1/fd
//   witness sum      the checksum of standard input, for WITNESS

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char buffer[1 << 18];

// FNV-1a, which is no secret's protection: these secrets are made for one run of the test.
static uint64_t sum(const char *bytes, size_t length) {
    uint64_t sum = 14695981039346656037u;
    for (size_t at = 0; at < length; at++)
        sum = (sum ^ (unsigned char)bytes[at]) * 1099511628211u;
    return sum;
}

static int is_secret(const char *bytes, size_t length) {
    const char *witness = getenv("WITNESS");
    return witness && sum(bytes, length) == strtoull(witness, NULL, 16);
}

// The length of what the file holds, or -1.
static ssize_t read_file(const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -1;
    ssize_t length = 0, more;
    while ((more = read(file, buffer + length, sizeof buffer - length)) > 0)
        length += more;
    close(file);
    return more < 0 ? -1 : length;
}

static int in_environment(const char *path) {
    ssize_t length = read_file(path);
    for (ssize_t at = 0; at < length; at += strlen(buffer + at) + 1) {
        const char *value = strchr(buffer + at, '=');
        if (value && is_secret(value + 1, strlen(value + 1)))
            return 1;
    }
    return 0;
}

// Regular files of a directory only: to open a pipe or a terminal may wait, or take from it what another is to read.
static int in_files(const char *directory) {
    DIR *entries = opendir(directory);
    int found = 0;
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        char path[512];
        struct stat status;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (stat(path, &status) || !S_ISREG(status.st_mode))
            continue;
        ssize_t length = read_file(path);
        found |= length >= 0 && is_secret(buffer, length);
    }
    if (entries)
        closedir(entries);
    return found;
}

// One line for each place; "no" where there is none. Returns whether there is one.
static int say(const char *who, int environment, int descriptor, int file) {
    printf("%s:%s%s%s%s\n", who, environment ? " value" : "", descriptor ? " descriptor" : "", file ? " file" : "",
           environment || descriptor || file ? "" : " no");
    return environment || descriptor || file;
}

static int look(const char *who) {
    return say(who, in_environment("/proc/self/environ"), in_files("/proc/self/fd"), in_files("/secrets"));
}

static void child(void) {
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "witness", "look", "child", NULL);
        _exit(127);
    }
    int status;
    waitpid(pid, &status, 0);
}

static void on_term(int signal) {
    (void)signal;
    _exit(0);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "fail") == 0)
        return 42;
    if (strcmp(what, "peer") == 0)
        return !say("peer", in_environment("/proc/1/environ"), in_files("/proc/1/fd"), 0);
    if (strcmp(what, "look") == 0)
        return !look(argc > 2 ? argv[2] : "look");
    if (strcmp(what, "sum") == 0) {
        ssize_t length = read_file("/dev/stdin");
        printf("%016" PRIx64 "\n", sum(buffer, length));
        return length < 0;
    }
    if (strcmp(what, "serve") == 0)
        signal(SIGTERM, on_term);
    else if (strcmp(what, "report") != 0)
        return 2;
    printf("pid %d uid %d gid %d\n", getpid(), getuid(), getgid());
    int found = look(what);
    child();
    if (strcmp(what, "report") == 0)
        return found ? 0 : 3;
    for (;;)
        pause();
}
