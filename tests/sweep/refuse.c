// A launcher that has one system call refused, and the COMMAND of the runs under test.
//
//   refuse NUMBER ERRNO PROGRAM ARGUMENT…
//
// executes PROGRAM, whose system call NUMBER then fails with ERRNO (seccomp(2)), as under the seccomp profile of a
// container.
//
//   refuse --report [--orphan]
//
// prints what it has inherited: environment, files in memory, descriptors, signals, limit on cores. With --orphan it
// sends its parent a signal, which is expected back, and leaves a process behind, which is expected to get SIGTERM.
//
// To be linked at a fixed address below 4 GiB (-static -no-pie), where the program under test is not (static-pie): by
// that the filter tells their system calls apart. It so refuses execve to the program but not to the launcher, and
// nothing to COMMAND.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void print_line_with(const char *prefix) {
    char line[512];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, prefix, strlen(prefix)) == 0)
            fputs(line, stdout);
    if (status)
        fclose(status);
}

static void print_file_in_memory(const char *path) {
    char content[4096];
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, content, sizeof content);
    if (length < 0 || fstat(fd, &status) != 0) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    printf("%s: mode %o, seals %x: %.*s\n", path, status.st_mode & 07777, fcntl(fd, F_GET_SEALS), (int)length, content);
    close(fd);
}

static void report(void) {
    for (char **entry = environ; *entry; entry++) {
        puts(*entry);
        const char *path = strstr(*entry, "=/proc/self/fd/");
        if (path)
            print_file_in_memory(path + 1);
    }
    print_line_with("SigBlk");
    print_line_with("SigIgn");
    printf("dumpable %d\n", prctl(PR_GET_DUMPABLE));
    struct rlimit cores;
    getrlimit(RLIMIT_CORE, &cores);
    printf("cores %llu %llu\n", (unsigned long long)cores.rlim_cur, (unsigned long long)cores.rlim_max);
    for (int fd = 0; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            printf("descriptor %d\n", fd);
    fflush(stdout);
}

static void leave_orphan(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR1);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    struct timespec limit = {.tv_sec = 3};
    kill(getppid(), SIGUSR1);
    printf("forwarded %d\n", sigtimedwait(&signals, NULL, &limit));
    fflush(stdout);
    if (fork() != 0)
        return;
    printf("orphan: signal %d\n", sigtimedwait(&signals, NULL, &limit));
    fflush(stdout);
}

int main(int count, char **words) {
    if (count >= 2 && strcmp(words[1], "--report") == 0) {
        report();
        if (count > 2)
            leave_orphan();
        return 42;
    }
    if (count < 4)
        return 2;
    unsigned number = (unsigned)atoi(words[1]), error = (unsigned)atoi(words[2]);
    // A 64-bit address has its low half first.
    unsigned address = offsetof(struct seccomp_data, instruction_pointer);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, address + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
    };
    struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        perror("refuse: the filter");
        return 3;
    }
    execv(words[3], words + 3);
    perror("refuse: execv");
    return 3;
}
