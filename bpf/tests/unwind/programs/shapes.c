/* Busy for ever in the shape that the first argument names. Compiled without frame pointers, at -O2. */
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define NOINLINE __attribute__((noinline, noclone))
static volatile double sink;
static volatile int zero;

NOINLINE static double work(int n)
{
    double sum = 0;
    for (int i = 1; i < 20 + n % 50; i++)
        sum += sqrt(i + sum) / i;
    return sum;
}

NOINLINE static double recurse(int depth)
{
    double here = work(depth);
    return depth ? recurse(depth - 1) + here : here;
}

static int compare(const void *a, const void *b)
{
    sink = work(*(const int *)a);
    return *(const int *)a - *(const int *)b;
}

NOINLINE static void callbacks(void)
{
    int numbers[64];
    for (int i = 0; i < 64; i++)
        numbers[i] = rand() % 1000;
    qsort(numbers, 64, sizeof(int), compare);
}

NOINLINE static double variable(int n)
{
    char *room = alloca(n * 16 + 16);
    memset(room, n, n * 16);
    sink = work(n) + room[n];
    return n ? variable(n - 1) + room[0] : 0;
}

NOINLINE static double tail_two(int n) { return work(n) + work(n / 2); }
NOINLINE static double tail_one(int n) { sink = n; return tail_two(n + 1); }

static jmp_buf back;
NOINLINE __attribute__((noreturn)) static void leave(int n)
{
    sink = work(n);
    longjmp(back, 1);
}
NOINLINE static void no_return(void)
{
    if (!setjmp(back))
        leave(7 + zero);
}

NOINLINE static void leaves(void)
{
    static char from[8192], to[8192];
    memset(from, 'x', sizeof from - 1);
    memcpy(to, from, sizeof to);
    sink = strlen(to) + pow(1.0 + strlen(from), 0.5 + zero) + sin(strlen(to));
}

NOINLINE static void clock_reads(void)
{
    struct timespec now;
    for (int i = 0; i < 1000; i++)
        sink = clock_gettime(CLOCK_MONOTONIC, &now);
}

typedef double vector __attribute__((vector_size(32)));
NOINLINE static double realigned(int n)
{
    volatile vector aligned = {n, work(n), 1, 2};
    char *room = alloca(n + 32);
    room[n] = (char)n;
    sink = work(room[n]);
    return aligned[1] + (n ? realigned(n - 1) : 0);
}

NOINLINE static void handler(int number)
{
    for (int i = 0; i < 200; i++)
        sink = recurse(number % 5);
}

static void on_alarm(int alternate)
{
    static char stack[65536];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = handler, .sa_flags = alternate ? SA_ONSTACK : 0};
    struct itimerval often = {{0, 300}, {0, 300}};
    if (alternate)
        sigaltstack(&other, 0);
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &often, 0);
}

NOINLINE static void *thread(void *argument)
{
    for (;;)
        sink = recurse(5 + (int)(long)argument);
}

NOINLINE static void threads(void)
{
    pthread_t ids[3];
    for (long i = 0; i < 3; i++)
        pthread_create(&ids[i], 0, thread, (void *)i);
    pthread_join(ids[0], 0);
}

NOINLINE static void shape(const char *name, const char *more)
{
    void *library = strcmp(name, "library") ? 0 : dlopen(more, RTLD_NOW);
    double (*outside)(double (*)(int)) = library ? (double (*)(double (*)(int)))dlsym(library, "call_back") : 0;
    if (!strncmp(name, "signal", 6))
        on_alarm(!strcmp(name, "signal-alternate"));
    if (!strcmp(name, "threads"))
        threads();
    for (;;) {
        if (!strcmp(name, "recursion") || !strncmp(name, "signal", 6)) sink = recurse(30);
        if (!strcmp(name, "callbacks")) callbacks();
        if (!strcmp(name, "alloca")) sink = variable(20);
        if (!strcmp(name, "tail")) sink = tail_one(9);
        if (!strcmp(name, "noreturn")) no_return();
        if (!strcmp(name, "leaves")) leaves();
        if (!strcmp(name, "realigned")) sink = realigned(9);
        if (!strcmp(name, "vdso")) clock_reads();
        if (outside) sink = outside(work);
    }
}

int main(int argc, char **argv)
{
    puts("ready");
    fflush(stdout);
    shape(argv[1], argc > 2 ? argv[2] : "");
    return 0;
}
