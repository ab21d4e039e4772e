/* The demo workload: three threads with call stacks worth looking at, one of which waits. Ends by itself after an hour. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define NUMBERS 40000
/* GCC gives leaf functions no frame, whatever the options, unless they are not optimized; then callers go missing. */
#define LEAF __attribute__((noinline, optimize("O0")))

static volatile uint64_t sink;
static time_t end;
static int results[2]; /* a pipe */

LEAF static int is_prime(uint32_t number)
{
    for (uint32_t divisor = 2; divisor * divisor <= number; divisor++)
        if (number % divisor == 0)
            return 0;
    return number > 1;
}

static uint32_t count_primes(uint32_t limit)
{
    uint32_t count = 0;
    for (uint32_t number = 0; number < limit; number++)
        count += is_prime(number);
    return count;
}

LEAF static void merge(uint32_t *to, const uint32_t *left, const uint32_t *middle, const uint32_t *end)
{
    const uint32_t *right = middle;
    while (left < middle || right < end)
        *to++ = right == end || (left < middle && *left <= *right) ? *left++ : *right++;
}

/* Its own, not qsort: libraries are built without frame pointers, and callers of what they call go missing. */
static void merge_sort(uint32_t *numbers, uint32_t *scratch, int count)
{
    if (count < 2)
        return;
    merge_sort(numbers, scratch, count / 2);
    merge_sort(numbers + count / 2, scratch, count - count / 2);
    merge(scratch, numbers, numbers + count / 2, numbers + count);
    memcpy(numbers, scratch, count * sizeof(*numbers));
}

static void shuffle(uint32_t *numbers)
{
    uint32_t state = 88172645;
    for (int i = 0; i < NUMBERS; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        numbers[i] = state;
    }
}

static void sort_numbers(uint32_t *numbers)
{
    static uint32_t scratch[NUMBERS];
    shuffle(numbers);
    merge_sort(numbers, scratch, NUMBERS);
    sink += numbers[NUMBERS / 2];
}

static void read_from_kernel(char *buffer, size_t size)
{
    int zero = open("/dev/zero", O_RDONLY);
    for (int i = 0; zero >= 0 && i < 64; i++)
        sink += read(zero, buffer, size);
    close(zero);
}

/* Libraries have no frame pointers, so the caller of read goes missing: it is this one, not the one that tells. */
static char take_result(void)
{
    char result = 0;
    return read(results[0], &result, 1) == 1 ? result : 0;
}

static void wait_for_primes(void)
{
    sink += take_result();
}

static int rest(long milliseconds)
{
    struct timespec time = {0, milliseconds * 1000000};
    return nanosleep(&time, NULL);
}

static void publish_report(void)
{
    sink += rest(3); /* a slow receiver */
}

static void *report(void *unused)
{
    while (time(NULL) < end) {
        wait_for_primes();
        publish_report();
    }
    return unused;
}

static void *search(void *unused)
{
    while (time(NULL) < end) {
        sink += count_primes(60000);
        sink += write(results[1], "!", 1);
    }
    return unused;
}

static void *crunch(void *unused)
{
    static uint32_t numbers[NUMBERS];
    static char buffer[1 << 18];
    while (time(NULL) < end) {
        sort_numbers(numbers);
        read_from_kernel(buffer, sizeof(buffer));
    }
    return unused;
}

int main(void)
{
    pthread_t threads[3];
    void *(*const work[])(void *) = {search, crunch, report};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it must not outlive a Rover that is killed */
    end = time(NULL) + 3600;
    if (pipe(results))
        return 1;
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, work[i], NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
