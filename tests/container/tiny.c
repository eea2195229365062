// The smallest program that akv-init can become: prints who it is and one variable, and ends. Static, so that it runs
// in an image that holds nothing but akv-init and itself. With a second argument it first writes to that many MiB of
// memory, which shows that a container's memory limit is really in force.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc > 2) {
        size_t size = (size_t)atoi(argv[2]) << 20;
        char *memory = malloc(size);
        if (!memory)
            return 3;
        memset(memory, 1, size);
        // Read back, or the compiler leaves the writing out.
        if (memory[size / 2] != 1)
            return 3;
    }
    const char *value = argc > 1 ? getenv(argv[1]) : NULL;
    printf("pid %d uid %d gid %d %s=%s\n", getpid(), getuid(), getgid(), argc > 1 ? argv[1] : "", value ? value : "");
    return 0;
}
