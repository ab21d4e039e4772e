/* Waits in a known way and says what it came to, by the kernel's own account of each thread.
 *
 * waits sleep|mutex|pipe|file|pool [path]: reads a line, does it, prints a line, and waits for another line. What it
 * prints is, for each thread, the function that all it does is in, and what it came to: waited ns, voluntary and
 * involuntary switches, ns on CPU. file reads `path` round the page cache.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TIMES 23 /* a prime, so that no multiple of anything else passes for it */
#define THREADS 4
#define READS (5 * TIMES) /* they are short, and are to come to more than what a busy processor adds to one */

typedef void (*Role)(void);

/* One thread's; see the function of that name below. */
struct account {
    const char *name;
    Role role;
    int64_t waited_ns, voluntary, involuntary, cpu_ns;
};

static const char *path;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ends[2];

static int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* What the thread came to so far. */
static struct account so_far(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    int64_t wall = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    return (struct account){0, 0, wall - cpu, usage.ru_nvcsw, usage.ru_nivcsw, cpu};
}

static void keep(struct account *account, const char *name)
{
    struct account begin = so_far();
    account->role();
    struct account end = so_far();
    account->name = name;
    account->waited_ns = end.waited_ns - begin.waited_ns;
    account->voluntary = end.voluntary - begin.voluntary;
    account->involuntary = end.involuntary - begin.involuntary;
    account->cpu_ns = end.cpu_ns - begin.cpu_ns;
}

static void nap(int milliseconds)
{
    struct timespec time = {0, milliseconds * 1000000L};
    nanosleep(&time, NULL);
}

static void sleeper(void)
{
    for (int i = 0; i < TIMES; i++)
        nap(50);
}

/* Each holds the lock while it sleeps, so all the others queue up. */
static void convoy(void)
{
    for (int i = 0; i < TIMES; i++) {
        pthread_mutex_lock(&lock);
        nap(5);
        pthread_mutex_unlock(&lock);
    }
}

static void pipe_reader(void)
{
    char byte;
    while (read(ends[0], &byte, 1) == 1)
        ;
}

static void pipe_writer(void)
{
    for (int i = 0; i < TIMES; i++) {
        nap(20);
        if (write(ends[1], "x", 1) != 1)
            abort();
    }
    close(ends[1]);
}

static void file_reader(void)
{
    void *buffer;
    int file = open(path, O_RDONLY | O_DIRECT);
    if (file < 0 || posix_memalign(&buffer, 4096, 1 << 20))
        abort();
    for (int i = 0; i < READS; i++)
        if (pread(file, buffer, 1 << 20, (off_t)(i % TIMES) << 20) != 1 << 20)
            abort();
}

static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int jobs, closed;

static void pool_worker(void)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!jobs && !closed)
            pthread_cond_wait(&more, &lock);
        if (!jobs)
            break;
        jobs--;
        pthread_mutex_unlock(&lock);
        nap(10);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
}

static void pool_feeder(void)
{
    for (int i = 0; i < TIMES * THREADS; i++) {
        nap(3);
        pthread_mutex_lock(&lock);
        jobs++;
        pthread_cond_signal(&more);
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    closed = 1;
    pthread_cond_broadcast(&more);
    pthread_mutex_unlock(&lock);
}

static struct account accounts[THREADS + 2]; /* the last is the main thread's */

/* Each thread works in a function of its own, by which its stacks are told from the others'. */
#define THREAD(number)                                   \
    static void *thread_##number(void *unused)           \
    {                                                    \
        keep(&accounts[number], "thread_" #number);      \
        return unused;                                   \
    }
THREAD(0)
THREAD(1)
THREAD(2)
THREAD(3)
THREAD(4)

static void *(*const functions[])(void *) = {thread_0, thread_1, thread_2, thread_3, thread_4};

static const struct {
    const char *name;
    Role roles[THREADS + 2];
} modes[] = {
    {"sleep", {sleeper}},
    {"mutex", {convoy, convoy, convoy, convoy}},
    {"pipe", {pipe_reader, pipe_writer}},
    {"file", {file_reader}},
    {"pool", {pool_worker, pool_worker, pool_worker, pool_worker, pool_feeder}},
};
static const Role *roles;

static void run_threads(void)
{
    pthread_t threads[THREADS + 1];
    int started = 0;
    for (; roles[started]; started++) {
        accounts[started].role = roles[started];
        pthread_create(&threads[started], NULL, functions[started], NULL);
    }
    while (started)
        pthread_join(threads[--started], NULL);
}

static void __attribute__((noinline)) all_threads(void)
{
    accounts[THREADS + 1].role = run_threads;
    keep(&accounts[THREADS + 1], "all_threads");
}

int main(int count, char **arguments)
{
    if (count < 2 || pipe(ends))
        return 2;
    for (size_t mode = 0; mode < sizeof(modes) / sizeof(*modes); mode++)
        if (!strcmp(modes[mode].name, arguments[1]))
            roles = modes[mode].roles;
    if (!roles)
        return 2;
    path = arguments[2];
    getchar();
    all_threads();
    for (struct account *a = accounts; a < accounts + THREADS + 2; a++)
        if (a->name)
            printf("%s %lld %lld %lld %lld ", a->name, (long long)a->waited_ns, (long long)a->voluntary,
                   (long long)a->involuntary, (long long)a->cpu_ns);
    putchar('\n');
    fflush(stdout);
    getchar();
    return 0;
}
