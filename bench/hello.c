/* The least that a static program is charged for: what bench/memory takes away from every figure. */
#include <stdio.h>

int main(void) {
    puts("hello, world");
    return 0;
}
