/* Makes a new call stack for every few microseconds of work: each level of a 30-deep recursion goes left or right
 * by one bit of a random number. Works on argv[1] threads for argv[2] milliseconds of CPU time
 * (however long that takes on a busy machine) after a line was read.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOINLINE __attribute__((noinline))
#define DEPTH 30

static int64_t end_ns;
static __thread volatile uint64_t sink;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int right(uint64_t path, int depth);

NOINLINE int descend(uint64_t path, int depth);

NOINLINE int left(uint64_t path, int depth)
{
    return descend(path >> 1, depth - 1) + 1;
}

NOINLINE int right(uint64_t path, int depth)
{
    return descend(path >> 1, depth - 1) + 2;
}

NOINLINE int descend(uint64_t path, int depth)
{
    if (depth == 0) {
        for (int i = 0; i < 20000; i++)
            sink += i;
        return 0;
    }
    return (path & 1 ? left(path, depth) : right(path, depth)) + 1;
}

static void *run(void *seed)
{
    uint64_t state = (uint64_t)seed * 0x9e3779b97f4a7c15ULL + 1;
    while (now_ns() < end_ns) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        descend(state >> 20, DEPTH);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    pthread_t ids[64];
    getchar();
    end_ns = now_ns() + (count > 2 ? atoll(arguments[2]) : 1000) * 1000000LL;
    for (int i = 0; i < threads && i < 64; i++)
        pthread_create(&ids[i], NULL, run, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < threads && i < 64; i++)
        pthread_join(ids[i], NULL);
    return 0;
}
