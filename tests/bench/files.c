/* Writes and reads a file for so many milliseconds: calls that are no network. Prints pairs of calls, wall and CPU ns. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static long long now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int argc, char **argv)
{
    static char data[512];
    int file = memfd_create("data", 0);
    long long start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID), done = 0;
    long long end = start + (argc > 1 ? atoll(argv[1]) : 1000) * 1000000;
    while (now(CLOCK_MONOTONIC) < end)
        for (int i = 0; i < 1000; i++, done++) {
            lseek(file, 0, SEEK_SET);
            if (write(file, data, sizeof data) < 0 || lseek(file, 0, SEEK_SET) < 0 || read(file, data, sizeof data) < 0)
                return 1;
        }
    printf("%lld %lld %lld\n", done, now(CLOCK_MONOTONIC) - start, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    return 0;
}
