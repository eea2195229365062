// What the tests of `--init` run: a starter that creates a process 1 or an ordinary process, and programs that report
// what happens to them. Each program prints `ready` when it can be tested, and then waits for signals or input.
//
//   probe run [--pid1] [--terminal] [--ignore N,…] [--block N,…] -- COMMAND…
//
// starts COMMAND in a session of its own, as process 1 of a PID namespace or as an ordinary process, with these signals
// ignored or blocked and no others. Descriptor $CONTROL gets `pid N` and then `exit N` or `signal N`. When the other
// end of descriptor $LEASH is closed, every process that it started is killed, orphans included: it is a subreaper.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (write(1, line, (size_t)length) != length)
        _exit(90);
}

static void need(int condition, const char *what) {
    if (!condition) {
        dprintf(2, "probe: %s: %s\n", what, strerror(errno));
        _exit(91);
    }
}

static void block_all(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static void dispose(int signal, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(signal, &action, NULL);
}

static int next_signal(void) {
    sigset_t all;
    sigfillset(&all);
    for (;;) {
        int number = sigwaitinfo(&all, NULL);
        if (number > 0)
            return number;
    }
}

static int next_pending(void) { // 0: none
    sigset_t all;
    sigfillset(&all);
    struct timespec none = {0};
    int number = sigtimedwait(&all, NULL, &none);
    return number > 0 ? number : 0;
}

// Waits until the other end is closed; whether anything was read before.
static int wait_for_end(int fd) {
    char byte;
    int any = 0;
    while (read(fd, &byte, 1) > 0)
        any = 1;
    return any;
}

static void make_pipe(int ends[2]) { need(pipe(ends) == 0, "pipe"); }

static pid_t split(void) {
    pid_t pid = fork();
    need(pid >= 0, "fork");
    return pid;
}

// ---------------------------------------------------------------------------------------------------------------------
// The starter
// ---------------------------------------------------------------------------------------------------------------------

static void kill_children(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    while (waitpid(-1, NULL, WNOHANG) != -1) {
        FILE *list = fopen(path, "r");
        int child;
        while (list && fscanf(list, "%d", &child) == 1)
            kill(child, SIGKILL);
        if (list)
            fclose(list);
        poll(NULL, 0, 2);
    }
}

static void each_signal(char *list, sigset_t *set, int ignore) {
    for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
        if (ignore)
            dispose(atoi(word), SIG_IGN);
        sigaddset(set, atoi(word));
    }
}

static int run(char **words) {
    int pid1 = 0, terminal = 0, control = atoi(getenv("CONTROL")), leash = atoi(getenv("LEASH"));
    char none[1] = "", *ignored = none, *blocked = none;
    for (; *words && strcmp(*words, "--") != 0; words++) {
        if (strcmp(*words, "--pid1") == 0) pid1 = 1;
        else if (strcmp(*words, "--terminal") == 0) terminal = 1;
        else if (strcmp(*words, "--ignore") == 0) ignored = *++words;
        else if (strcmp(*words, "--block") == 0) blocked = *++words;
        else return 92;
    }
    words++;
    unsetenv("CONTROL");
    unsetenv("LEASH");
    fcntl(control, F_SETFD, FD_CLOEXEC);
    fcntl(leash, F_SETFD, FD_CLOEXEC);
    need(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "subreaper");
    sigset_t children, mask;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_SETMASK, &children, NULL);
    dispose(SIGCHLD, SIG_DFL);
    int signals = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD | (pid1 ? CLONE_NEWPID | CLONE_NEWNS : 0), 0, 0, 0, 0);
    need(child >= 0, "clone");
    if (child == 0) {
        need(setsid() >= 0, "setsid");
        if (pid1) {
            need(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "mounts of its own");
            need(mount("proc", "/proc", "proc", 0, NULL) == 0, "/proc");
        }
        if (terminal)
            need(ioctl(0, TIOCSCTTY, 1) == 0, "TIOCSCTTY");
        for (int signal = 1; signal < SIGRTMAX; signal++)
            dispose(signal, SIG_DFL);
        sigemptyset(&mask);
        each_signal(ignored, &mask, 1);
        sigemptyset(&mask);
        each_signal(blocked, &mask, 0);
        sigprocmask(SIG_SETMASK, &mask, NULL);
        execvp(words[0], words);
        need(0, words[0]);
    }
    dprintf(control, "pid %d\n", (int)child);
    // Only the command may have these descriptors, or a pipe would not end with it.
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    for (int fd = 3; fd < 64; fd++)
        if (fd != control && fd != leash && fd != signals)
            close(fd);
    for (;;) {
        struct pollfd ready[] = {{.fd = leash, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        poll(ready, 2, -1);
        struct signalfd_siginfo info;
        while (read(signals, &info, sizeof info) > 0)
            ;
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
            if (pid != child)
                continue;
            if (WIFSTOPPED(status)) dprintf(control, "stopped %d\n", WSTOPSIG(status));
            else if (WIFEXITED(status)) dprintf(control, "exit %d\n", WEXITSTATUS(status));
            else dprintf(control, "signal %d\n", WTERMSIG(status));
        }
        if (ready[0].revents) {
            kill_children();
            return 0;
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Programs that report
// ---------------------------------------------------------------------------------------------------------------------

static int do_wait(void) {
    say("ready %d\n", (int)getpid());
    while (pause())
        ;
    return 0;
}

// Prints the number of each signal.
static int do_report(void) {
    block_all();
    say("ready %d\n", (int)getpid());
    int signal;
    while ((signal = next_signal()))
        say("%d\n", signal);
    return 0;
}

// Makes `count` orphans, then prints `ready`. They end when a byte was read, and then it prints `gone` and waits for the
// end of standard input. With `together` it ends at the same moment as they do.
static int do_orphans(int count, int together) {
    int go[2], hold[2];
    make_pipe(go);
    make_pipe(hold);
    for (int i = 0; i < count; i++) {
        pid_t parent = split();
        if (parent == 0) {
            if (split() == 0) {
                close(hold[0]);
                close(go[1]);
                wait_for_end(go[0]);
            }
            _exit(0);
        }
        waitpid(parent, NULL, 0);
    }
    close(hold[1]);
    say("ready\n");
    char byte;
    if (read(0, &byte, 1) != 1 || together)
        _exit(7);
    close(go[1]);
    wait_for_end(hold[0]);
    say("gone\n");
    wait_for_end(0);
    return 0;
}

// Zombies that become orphans: their parent does not reap them, and ends.
static int do_zombies(int count) {
    pid_t parent = split();
    if (parent == 0) {
        for (int i = 0; i < count; i++) {
            pid_t child = split();
            if (child == 0)
                _exit(0);
            siginfo_t info;
            waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
        }
        _exit(0);
    }
    waitpid(parent, NULL, 0);
    say("gone\n");
    wait_for_end(0);
    return 0;
}

// For each byte that it reads: very many orphans, a few at a time, and `gone` when all have ended.
static int do_storm(int count) {
    char byte;
    say("ready\n");
    while (read(0, &byte, 1) == 1) {
        int hold[2];
        make_pipe(hold);
        for (int i = 0; i < count; i += 50) {
            pid_t parent = split();
            if (parent == 0) {
                for (int j = 0; j < 50; j++)
                    if (vfork() == 0)
                        _exit(0);
                _exit(0);
            }
            waitpid(parent, NULL, 0);
        }
        close(hold[1]);
        wait_for_end(hold[0]);
        close(hold[0]);
        say("gone\n");
    }
    return 0;
}

// Ignores USR1; its child does not.
static int do_deaf(void) {
    dispose(SIGUSR1, SIG_IGN);
    pid_t child = split();
    if (child == 0) {
        dispose(SIGUSR1, SIG_DFL);
        return do_wait();
    }
    waitpid(child, NULL, 0);
    return 0;
}

// Four processes of one group. Each prints the signal that it receives, and the first one ends last.
static int do_pipeline(void) {
    block_all();
    int ready[2];
    make_pipe(ready);
    for (int i = 0; i < 3; i++)
        if (split() == 0) {
            close(ready[0]);
            close(ready[1]);
            say("%d\n", next_signal());
            _exit(0);
        }
    close(ready[1]);
    wait_for_end(ready[0]);
    say("ready\n");
    int signal;
    while ((signal = next_signal()) == SIGCHLD)
        ;
    say("%d\n", signal);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    return 0;
}

// Has a child in the same group, which receives USR1 from its parent when that has received a signal.
static int do_pair(void) {
    block_all();
    pid_t child = split();
    if (child == 0) {
        say("child %d\n", next_signal());
        for (int signal; (signal = next_pending());)
            say("child %d\n", signal);
        _exit(0);
    }
    say("ready\n");
    say("main %d\n", next_signal());
    kill(child, SIGUSR1);
    waitpid(child, NULL, 0);
    return 0;
}

// Ends and leaves a child, which prints the signals that it receives and ends with the first.
static int do_leave(void) {
    block_all();
    int ready[2];
    make_pipe(ready);
    if (split() == 0) {
        close(ready[0]);
        say("ready %d\n", (int)getpid());
        close(ready[1]);
        int signal = next_signal();
        say("%d\n", signal);
        while ((signal = next_pending()))
            say("%d\n", signal);
        _exit(0);
    }
    close(ready[1]);
    wait_for_end(ready[0]);
    return 0;
}

// Leaves its process group for another one.
static int do_elsewhere(void) {
    int ready[2];
    make_pipe(ready);
    pid_t child = split();
    if (child == 0) {
        setpgid(0, 0);
        close(ready[0]);
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    wait_for_end(ready[0]);
    need(setpgid(0, child) == 0, "another group");
    return do_wait();
}

// Whether it can read its parent's environment. It tries at once, before the parent can do anything about it.
static int do_peek(void) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)getppid());
    int file = open(path, O_RDONLY);
    say(file < 0 ? "closed\n" : "open\n");
    return 0;
}

static void print_signal(int signal) { say("%d\n", signal); }

// Ends and leaves a child in a session of its own, which prints TERM, does not end, and has a zombie.
static int do_stubborn(void) {
    int ready[2];
    make_pipe(ready);
    if (split() == 0) {
        close(ready[0]);
        dispose(SIGTERM, print_signal);
        dispose(SIGINT, SIG_IGN);
        setsid();
        pid_t zombie = split();
        if (zombie == 0)
            _exit(0);
        siginfo_t info;
        waitid(P_PID, (id_t)zombie, &info, WEXITED | WNOWAIT);
        say("ready %d\n", (int)getpid());
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    wait_for_end(ready[0]);
    return 3;
}

// Is ended by TERM. It leaves one process in its group, which has received that TERM too, and one in another session,
// which only the init can reach. When the latter has received TERM, the former prints what else it received.
static int do_twice(void) {
    int ready[2], terminated[2], gone[2];
    make_pipe(ready);
    make_pipe(terminated);
    make_pipe(gone);
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    if (split() == 0) {
        close(ready[0]);
        close(ready[1]);
        close(terminated[1]);
        block_all();
        say("group %d\n", next_signal());
        wait_for_end(terminated[0]);
        for (int signal; (signal = next_pending());)
            say("group %d\n", signal);
        _exit(0);
    }
    if (split() == 0) {
        close(terminated[0]);
        block_all();
        setsid();
        close(gone[1]);
        close(ready[0]);
        close(ready[1]);
        say("session %d\n", next_signal());
        close(terminated[1]);
        wait_for_end(gone[0]);
        for (int signal; (signal = next_pending());)
            say("session %d\n", signal);
        _exit(0);
    }
    close(ready[1]);
    wait_for_end(ready[0]);
    close(terminated[1]);
    say("ready\n");
    sigprocmask(SIG_UNBLOCK, &term, NULL);
    for (;;)
        pause();
}

// Executes a program for which close_range(2) fails as on an old kernel.
static int do_without_close_range(char **words) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    need(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
    need(syscall(SYS_close_range, 900, 900, 0) == -1 && errno == ENOSYS, "close_range exists");
    execvp(words[0], words);
    need(0, words[0]);
    return 0;
}

static const char *clean;

static void stop_slowly(int signal) {
    (void)signal;
    struct timespec left = {.tv_sec = 1};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
    int file = open(clean, O_CREAT | O_WRONLY, 0600);
    _exit(file < 0 ? 93 : 0);
}

// Takes a second to stop on TERM, and then creates a file: it is absent if the process was killed before.
static int do_database(const char *file) {
    clean = file;
    struct sigaction action = {.sa_handler = stop_slowly};
    sigfillset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    return do_wait();
}

// Closes every descriptor that it inherited, and keeps running.
static int do_let_go(void) {
    say("ready\n");
    for (int fd = 0; fd < 64; fd++)
        close(fd);
    while (pause())
        ;
    return 0;
}

// Counts the signals that arrive before USR2, which is sent last, and prints the numbers.
static int do_count(void) {
    int counts[65] = {0}, signal;
    block_all();
    say("ready\n");
    // Real-time signals are delivered last, but USR2 is only sent after all of them were.
    while ((signal = next_signal()) != SIGUSR2) {
        counts[signal]++;
        if (signal == SIGRTMAX)
            say("last\n");
    }
    for (int i = 1; i < 65; i++)
        if (counts[i])
            say("%d %d\n", i, counts[i]);
    return 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// What a process has inherited
// ---------------------------------------------------------------------------------------------------------------------

static void say_fields(const char *path, const char *const *names) {
    FILE *file = fopen(path, "r");
    char line[512];
    while (file && fgets(line, sizeof line, file))
        for (const char *const *name = names; *name; name++)
            if (strncmp(line, *name, strlen(*name)) == 0)
                say("%s", line);
    if (file)
        fclose(file);
}

static int do_state(void) {
    static const char *const status[] = {"SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd", "Umask", "Uid", "Gid",
                                         "Groups", "Cap", "NoNewPrivs", "Seccomp:", "Cpus_allowed:", "THP", NULL};
    static const char *const every[] = {"", NULL};
    char text[4096];
    for (int fd = 0; fd < 64; fd++) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, text, sizeof text - 1);
        if (length < 0)
            continue;
        text[length] = 0;
        say("fd %d %s %d %d\n", fd, text, fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
    }
    say_fields("/proc/self/status", status);
    say_fields("/proc/self/limits", every);
    say_fields("/proc/self/oom_score_adj", every);
    say("cwd %s\n", getcwd(text, sizeof text));
    say("nice %d\n", getpriority(PRIO_PROCESS, 0));
    say("scheduler %d\n", sched_getscheduler(0));
    say("dumpable %d keepcaps %d slack %d\n", prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS), prctl(PR_GET_TIMERSLACK));
    int subreaper = -1;
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    say("subreaper %d\n", subreaper);
    extern char **environ;
    for (char **entry = environ; *entry; entry++)
        say("env %s\n", *entry);
    return 0;
}

int main(int count, char **words) {
    need(count >= 2, "usage: probe PROGRAM …");
    const char *what = words[1];
    int number = count > 2 ? atoi(words[2]) : 0;
    if (strcmp(what, "run") == 0) return run(words + 2);
    if (strcmp(what, "wait") == 0) return do_wait();
    if (strcmp(what, "report") == 0) return do_report();
    if (strcmp(what, "orphans") == 0) return do_orphans(number, 0);
    if (strcmp(what, "together") == 0) return do_orphans(number, 1);
    if (strcmp(what, "zombies") == 0) return do_zombies(number);
    if (strcmp(what, "storm") == 0) return do_storm(number);
    if (strcmp(what, "deaf") == 0) return do_deaf();
    if (strcmp(what, "pipeline") == 0) return do_pipeline();
    if (strcmp(what, "pair") == 0) return do_pair();
    if (strcmp(what, "leave") == 0) return do_leave();
    if (strcmp(what, "stubborn") == 0) return do_stubborn();
    if (strcmp(what, "twice") == 0) return do_twice();
    if (strcmp(what, "database") == 0) return do_database(words[2]);
    if (strcmp(what, "without-close-range") == 0) return do_without_close_range(words + 2);
    if (strcmp(what, "elsewhere") == 0) return do_elsewhere();
    if (strcmp(what, "peek") == 0) return do_peek();
    if (strcmp(what, "let-go") == 0) return do_let_go();
    if (strcmp(what, "count") == 0) return do_count();
    if (strcmp(what, "state") == 0) return do_state();
    need(0, what);
}
