/* Waits in a known way and says what it came to, by the kernel's own account of each thread.
 *
 * waits sleep|mutex|pipe|file|pool [path]: reads a line, does it, prints a line "waited_ns voluntary involuntary", the
 * sums over its threads, and waits for another line. file reads `path` round the page cache.
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

static int64_t waited_ns, voluntary, involuntary;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ends[2];

struct account {
    int64_t wall, cpu;
    struct rusage usage;
};

static int64_t clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void open_account(struct account *account)
{
    getrusage(RUSAGE_THREAD, &account->usage);
    account->wall = clock_ns(CLOCK_MONOTONIC);
    account->cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void close_account(struct account *account)
{
    struct account end;
    open_account(&end);
    __sync_fetch_and_add(&waited_ns, (end.wall - account->wall) - (end.cpu - account->cpu));
    __sync_fetch_and_add(&voluntary, end.usage.ru_nvcsw - account->usage.ru_nvcsw);
    __sync_fetch_and_add(&involuntary, end.usage.ru_nivcsw - account->usage.ru_nivcsw);
}

static void nap(int milliseconds)
{
    struct timespec time = {0, milliseconds * 1000000L};
    nanosleep(&time, NULL);
}

static void *sleeper(void *unused)
{
    struct account account;
    open_account(&account);
    for (int i = 0; i < TIMES; i++)
        nap(50);
    close_account(&account);
    return unused;
}

/* Each holds the lock while it sleeps, so all the others queue up. */
static void *convoy(void *unused)
{
    struct account account;
    open_account(&account);
    for (int i = 0; i < TIMES; i++) {
        pthread_mutex_lock(&lock);
        nap(5);
        pthread_mutex_unlock(&lock);
    }
    close_account(&account);
    return unused;
}

static void *pipe_reader(void *unused)
{
    char byte;
    struct account account;
    open_account(&account);
    while (read(ends[0], &byte, 1) == 1)
        ;
    close_account(&account);
    return unused;
}

static void *pipe_writer(void *unused)
{
    struct account account;
    open_account(&account);
    for (int i = 0; i < TIMES; i++) {
        nap(20);
        if (write(ends[1], "x", 1) != 1)
            abort();
    }
    close(ends[1]);
    close_account(&account);
    return unused;
}

static void *file_reader(void *path)
{
    void *buffer;
    struct account account;
    int file = open(path, O_RDONLY | O_DIRECT);
    if (file < 0 || posix_memalign(&buffer, 4096, 1 << 20))
        abort();
    open_account(&account);
    for (int i = 0; i < TIMES; i++)
        if (pread(file, buffer, 1 << 20, (off_t)i << 20) != 1 << 20)
            abort();
    close_account(&account);
    return NULL;
}

static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int jobs, closed;

static void *pool_worker(void *unused)
{
    struct account account;
    open_account(&account);
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
    close_account(&account);
    return unused;
}

static void *pool_feeder(void *unused)
{
    struct account account;
    open_account(&account);
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
    close_account(&account);
    return unused;
}

typedef void *(*Role)(void *);

static const struct {
    const char *name;
    Role roles[THREADS + 1];
} modes[] = {
    {"sleep", {sleeper}},
    {"mutex", {convoy, convoy, convoy, convoy}},
    {"pipe", {pipe_reader, pipe_writer}},
    {"file", {file_reader}},
    {"pool", {pool_worker, pool_worker, pool_worker, pool_worker, pool_feeder}},
};

int main(int count, char **arguments)
{
    struct account account;
    pthread_t threads[THREADS + 1];
    if (count < 2 || pipe(ends))
        return 2;
    getchar();
    open_account(&account);
    for (size_t mode = 0; mode < sizeof(modes) / sizeof(*modes); mode++) {
        if (strcmp(modes[mode].name, arguments[1]))
            continue;
        int started = 0;
        while (started <= THREADS && modes[mode].roles[started]) {
            pthread_create(&threads[started], NULL, modes[mode].roles[started], arguments[2]);
            started++;
        }
        while (started)
            pthread_join(threads[--started], NULL);
    }
    close_account(&account);
    printf("%lld %lld %lld\n", (long long)waited_ns, (long long)voluntary, (long long)involuntary);
    fflush(stdout);
    getchar();
    return 0;
}
