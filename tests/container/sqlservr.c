// A stand-in for SQL Server's `sqlservr`, for what a program that starts it can get wrong: when the password counts,
// which signal ends it and how long that takes, which capability its file carries (setcap, in container.sh), whose
// files it writes. Like the real one it
//
//   * wants ACCEPT_EULA=Y, and MSSQL_SA_PASSWORD for an empty volume only,
//   * refuses a password that breaks the policy with exit code 1,
//   * keeps the first password in the volume and ignores a later one,
//   * listens, and takes a second to stop on SIGTERM.
//
// What it does not do is SQL. A client sends one line, the sa password, and gets a reply that says whether it may log in.

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DATA "/var/opt/mssql/data"
#define MASTER DATA "/master"
#define CLEAN DATA "/clean-shutdown"

static int wake[2];

static void on_term(int signal) {
    (void)signal;
    char byte = 0;
    if (write(wake[1], &byte, 1) != 1)
        _exit(3);
}

static void fail(const char *what) {
    fprintf(stderr, "sqlservr: %s: %s\n", what, strerror(errno));
    exit(1);
}

// FNV-1a over the volume's salt and the password: enough for the volume not to hold the password itself.
static uint64_t hash(uint64_t salt, const char *password) {
    uint64_t sum = 14695981039346656037u ^ salt;
    for (; *password; password++)
        sum = (sum ^ (unsigned char)*password) * 1099511628211u;
    return sum;
}

// https://learn.microsoft.com/sql/relational-databases/security/password-policy
static const char *against_policy(const char *password) {
    int upper = 0, lower = 0, digit = 0, other = 0;
    for (const char *c = password; *c; c++) {
        if (isupper((unsigned char)*c)) upper = 1;
        else if (islower((unsigned char)*c)) lower = 1;
        else if (isdigit((unsigned char)*c)) digit = 1;
        else other = 1;
    }
    if (strlen(password) < 8)
        return "because it is too short. The password must be at least 8 characters";
    if (strlen(password) > 128)
        return "because it is too long. The password must be at most 128 characters";
    if (upper + lower + digit + other < 3)
        return "because it is not complex enough. The password must contain characters from three of the following "
               "four sets: uppercase letters, lowercase letters, digits, and symbols";
    return NULL;
}

struct master {
    uint64_t salt;
    uint64_t hash;
};

static struct master create_master(const char *password) {
    const char *reason = password ? against_policy(password) : "because it is missing";
    if (reason) {
        fprintf(stderr, "ERROR: Unable to set system administrator password: Password validation failed. The password "
                        "does not meet SQL Server password policy requirements %s.\n", reason);
        exit(1);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct master master = {.salt = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec};
    master.hash = hash(master.salt, password);
    int file = open(MASTER, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (file < 0 || write(file, &master, sizeof master) != sizeof master || fsync(file) || close(file))
        fail(MASTER);
    printf("sqlservr: the volume is new; the sa password is set\n");
    return master;
}

static struct master open_master(const char *password) {
    if (mkdir(DATA, 0700) && errno != EEXIST)
        fail(DATA);
    int file = open(MASTER, O_RDONLY);
    if (file < 0)
        return create_master(password);
    struct master master;
    if (read(file, &master, sizeof master) != sizeof master || close(file))
        fail(MASTER);
    printf("sqlservr: the volume has its sa password already; it was %s\n",
           unlink(CLEAN) == 0 ? "shut down cleanly" : "not shut down cleanly");
    return master;
}

static int listen_on(int port) {
    int one = 1, door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (door < 0 || setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
        bind(door, (struct sockaddr *)&address, sizeof address) || listen(door, 16))
        fail("listening");
    return door;
}

// One client at a time, two seconds for its line: a probe that connects and says nothing does not hold up the others
// for longer.
static void serve(int client, struct master master) {
    char line[512];
    size_t length = 0;
    struct timeval patience = {.tv_sec = 2};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    while (length < sizeof line - 1 && recv(client, line + length, 1, 0) == 1 && line[length] != '\n')
        length++;
    line[length] = 0;
    const char *answer = length == 0 ? ""
                         : hash(master.salt, line) == master.hash ? "login succeeded\n"
                                                                  : "Login failed for user 'sa'.\n";
    send(client, answer, strlen(answer), MSG_NOSIGNAL);
    close(client);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const char *eula = getenv("ACCEPT_EULA"), *port = getenv("MSSQL_TCP_PORT");
    if (!eula || strcasecmp(eula, "Y") != 0) {
        fprintf(stderr, "The SQL Server End-User License Agreement (EULA) must be accepted: ACCEPT_EULA=Y\n");
        return 1;
    }
    struct master master = open_master(getenv("MSSQL_SA_PASSWORD"));

    // A handler and a pipe, and the signal mask left as it came: a starter that leaves SIGTERM blocked leaves us deaf,
    // as it would the real one.
    struct sigaction stop = {.sa_handler = on_term};
    if (pipe(wake) || sigaction(SIGTERM, &stop, NULL))
        fail("signals");

    int door = listen_on(port ? atoi(port) : 1433);
    printf("sqlservr: SQL Server is now ready for client connections\n");
    struct pollfd ready[] = {{.fd = door, .events = POLLIN}, {.fd = wake[0], .events = POLLIN}};
    for (;;) {
        if (poll(ready, 2, -1) < 0) {
            if (errno == EINTR)
                continue;
            fail("poll");
        }
        if (ready[1].revents)
            break;
        int client = accept(door, NULL, NULL);
        if (client >= 0)
            serve(client, master);
    }

    // Writing the buffers out.
    struct timespec left = {.tv_sec = 1};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
    int clean = open(CLEAN, O_CREAT | O_WRONLY, 0600);
    if (clean < 0 || fsync(clean) || close(clean))
        fail(CLEAN);
    printf("sqlservr: shut down cleanly\n");
    return 0;
}
