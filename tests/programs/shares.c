/* Spends 3/4 of its CPU time in one function and 1/4 in another, 23 calls deep, and says how much it really was.
 *
 * Reads a line (start), works for argv[1] milliseconds of CPU time, prints "three_quarters_ns one_quarter_ns".
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOINLINE __attribute__((noinline))
/* GCC gives leaf functions no frame, whatever the options, unless they are not optimized. */
#define LEAF __attribute__((noinline, optimize("O0")))

static volatile uint64_t sink;
static int64_t spent[2], end_ns;

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

LEAF int three_quarters(int rounds)
{
    for (int i = 0; i < rounds * 3; i++)
        sink += i * i;
    return (int)sink;
}

LEAF int one_quarter(int rounds)
{
    for (int i = 0; i < rounds; i++)
        sink += i * i;
    return (int)sink;
}

NOINLINE int work(void)
{
    int result = 0;
    while (cpu_ns() < end_ns) {
        int64_t start = cpu_ns();
        result += three_quarters(200003);
        int64_t middle = cpu_ns();
        result += one_quarter(200003);
        spent[0] += middle - start;
        spent[1] += cpu_ns() - middle;
    }
    return result;
}

/* call_23 calls call_22 calls ... call_1 calls work; the addition afterwards keeps each a real call. */
#define CALL(name, next) NOINLINE int name(void) { return next() + 1; }
CALL(call_1, work) CALL(call_2, call_1) CALL(call_3, call_2) CALL(call_4, call_3) CALL(call_5, call_4)
CALL(call_6, call_5) CALL(call_7, call_6) CALL(call_8, call_7) CALL(call_9, call_8) CALL(call_10, call_9)
CALL(call_11, call_10) CALL(call_12, call_11) CALL(call_13, call_12) CALL(call_14, call_13) CALL(call_15, call_14)
CALL(call_16, call_15) CALL(call_17, call_16) CALL(call_18, call_17) CALL(call_19, call_18) CALL(call_20, call_19)
CALL(call_21, call_20) CALL(call_22, call_21) CALL(call_23, call_22)

int main(int count, char **arguments)
{
    int64_t duration_ns = (count > 1 ? atoll(arguments[1]) : 1000) * 1000000LL;
    getchar();
    end_ns = cpu_ns() + duration_ns;
    int result = call_23();
    printf("%lld %lld\n", (long long)spent[0], (long long)spent[1]);
    fflush(stdout);
    return result == 42;
}
