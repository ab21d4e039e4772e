/* The demo workload: two threads with call stacks worth looking at. Ends by itself after an hour. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NUMBERS 40000
/* GCC gives leaf functions no frame, whatever the options, unless they are not optimized; then callers go missing. */
#define LEAF __attribute__((noinline, optimize("O0")))

static volatile uint64_t sink;
static time_t end;

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

LEAF static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
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
    shuffle(numbers);
    qsort(numbers, NUMBERS, sizeof(*numbers), compare);
    sink += numbers[NUMBERS / 2];
}

static void copy_from_kernel(char *buffer, size_t size)
{
    FILE *zero = fopen("/dev/zero", "r");
    if (!zero)
        return;
    for (int i = 0; i < 64; i++)
        sink += fread(buffer, 1, size, zero);
    fclose(zero);
}

static void *search(void *unused)
{
    while (time(NULL) < end)
        sink += count_primes(60000);
    return unused;
}

static void *process(void *unused)
{
    static uint32_t numbers[NUMBERS];
    static char buffer[1 << 18];
    while (time(NULL) < end) {
        sort_numbers(numbers);
        copy_from_kernel(buffer, sizeof(buffer));
    }
    return unused;
}

int main(void)
{
    pthread_t threads[2];
    end = time(NULL) + 3600;
    pthread_create(&threads[0], NULL, search, NULL);
    pthread_create(&threads[1], NULL, process, NULL);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    return 0;
}
