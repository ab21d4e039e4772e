/* The load that off-CPU profilers are compared over: two processes that hand a byte to and fro through pipes.
 *
 * Works for argv[1] milliseconds, prints "units wall_ns cpu_ns". A unit is a round trip, which is two waits and at least
 * two context switches: both are on one processor, so that each has to leave it for the other.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int64_t cpu_ns(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

static int answer(int from, int to)
{
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(from, &byte, 1) == 1)
        if (write(to, &byte, 1) != 1)
            return 1;
    return 0;
}

int main(int count, char **arguments)
{
    char byte = 0;
    int there[2], back[2];
    int64_t units = 0, start_ns, end_ns;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    if (sched_setaffinity(0, sizeof(one), &one) || pipe(there) || pipe(back))
        return 1;
    if (!fork()) {
        close(there[1]);
        return answer(there[0], back[1]);
    }
    start_ns = now_ns();
    end_ns = start_ns + (count > 1 ? atoll(arguments[1]) : 1000) * 1000000LL;
    for (; now_ns() < end_ns; units++)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            return 1;
    end_ns = now_ns();
    close(there[1]);
    wait(NULL);
    printf("%lld %lld %lld\n", (long long)units, (long long)(end_ns - start_ns),
           (long long)(cpu_ns(RUSAGE_SELF) + cpu_ns(RUSAGE_CHILDREN)));
    return 0;
}
