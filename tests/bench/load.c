/* The load that profilers are compared over: two threads that count what they get done.
 *
 * Works for argv[1] milliseconds of wall-clock time, prints "units wall_ns cpu_ns". A unit is the same work each time:
 * one way through eight levels of two functions, so 256 different stacks, each with 4 000 rounds at its leaf.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define THREADS 2
#define LEVELS 8
#define NOINLINE __attribute__((noinline))
/* GCC gives leaf functions no frame, whatever the options, unless they are not optimized. */
#define LEAF __attribute__((noinline, optimize("O0")))

static int64_t end_ns;

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

LEAF uint32_t leaf(uint32_t state)
{
    for (int i = 0; i < 4000; i++)
        state = state * 1664525 + 1013904223;
    return state;
}

uint32_t left(uint32_t path, int level, uint32_t state);

/* The addition afterwards keeps each a real call. */
NOINLINE uint32_t right(uint32_t path, int level, uint32_t state)
{
    if (!level)
        return leaf(state) + 1;
    return (path & 1 ? left : right)(path >> 1, level - 1, state) + 1;
}

NOINLINE uint32_t left(uint32_t path, int level, uint32_t state)
{
    if (!level)
        return leaf(state) + 2;
    return (path & 1 ? right : left)(path >> 1, level - 1, state) + 2;
}

static void *work(void *units)
{
    uint32_t state = 1;
    int64_t done = 0;
    for (; now_ns(CLOCK_MONOTONIC) < end_ns; done++)
        state = left(done, LEVELS, state);
    *(int64_t *)units = done;
    return state == 42 ? units : NULL;
}

int main(int count, char **arguments)
{
    pthread_t threads[THREADS];
    int64_t units[THREADS], total = 0, start_ns = now_ns(CLOCK_MONOTONIC);
    end_ns = start_ns + (count > 1 ? atoll(arguments[1]) : 1000) * 1000000LL;
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, &units[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        total += units[i];
    }
    printf("%lld %lld %lld\n", (long long)total, (long long)(now_ns(CLOCK_MONOTONIC) - start_ns),
           (long long)now_ns(CLOCK_PROCESS_CPUTIME_ID));
    return 0;
}
