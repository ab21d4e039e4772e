/* Compiles, and is refused by the verifier: it reads through a pointer that may be null. */
#include <rover/rover.h>

BPF_TABLE("hash", int, u64, numbers, 1);

int never_checked(void *ctx)
{
    int zero = 0;
    u64 *number = numbers.lookup(&zero);
    return *number;
}

int harmless(void *ctx)
{
    return 0;
}
