// A stand-in for `sqlcmd`: logs in at the stand-in for SQL Server and says how that went. Like the real one it takes
// the password from SQLCMDPASSWORD and ends with 1 when it is refused. Of the real one's options it knows those that
// the example's README uses.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "S:U:CQ:")) != -1) {
        if (option == '?' || (option == 'S' && strcmp(optarg, "localhost") != 0) ||
            (option == 'U' && strcmp(optarg, "sa") != 0)) {
            fprintf(stderr, "sqlcmd: only -S localhost -U sa -C -Q QUERY\n");
            return 2;
        }
    }
    const char *password = getenv("SQLCMDPASSWORD");
    if (!password) {
        fprintf(stderr, "sqlcmd: SQLCMDPASSWORD is not set\n");
        return 2;
    }
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(1433)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (connect(server, (struct sockaddr *)&address, sizeof address)) {
        perror("sqlcmd: 127.0.0.1,1433");
        return 2;
    }
    char line[512], answer[64] = "";
    int length = snprintf(line, sizeof line, "%s\n", password);
    if (send(server, line, length, MSG_NOSIGNAL) != length) {
        perror("sqlcmd: send");
        return 2;
    }
    if (recv(server, answer, sizeof answer - 1, MSG_WAITALL) < 0) {
        perror("sqlcmd: receive");
        return 2;
    }
    fputs(answer, stdout);
    return strcmp(answer, "login succeeded\n") == 0 ? 0 : 1;
}
