/* Burns CPU for argv[1] milliseconds of wall time. */
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static volatile uint64_t sink;

__attribute__((noinline)) void burn_a_while(void)
{
    for (int i = 0; i < 100000; i++)
        sink += i;
}

int main(int count, char **arguments)
{
    struct timespec start, now;
    long milliseconds = count > 1 ? atol(arguments[1]) : 1000;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        burn_a_while();
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < milliseconds);
    return 0;
}
