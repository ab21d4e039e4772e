/* Counts, for one process, what it is attached to, and sends a numbered record for each. */
#include <rover/rover.h>

struct record {
    u64 number;
    u8 filling[40];
};

BPF_TABLE("hash", u32, u64, counts, 64);
BPF_TABLE("percpu_array", int, u64, percpu, 2);
BPF_TABLE("hash", u64, u64, many, 10000);
BPF_RINGBUF_OUTPUT(records, 4);

static __always_inline int count(void *ctx)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    if (pid != ROVER_TEST_PID)
        return 0;
    u64 zero = 0, *seen = counts.lookup_or_try_init(&pid, &zero);
    if (!seen)
        return 0;
    u64 number = __sync_fetch_and_add(seen, 1);
    int first = 0;
    u64 *mine = percpu.lookup(&first);
    if (mine)
        (*mine)++;
    many.update(&number, &number);
    struct record *record = records.ringbuf_reserve(sizeof(*record));
    if (!record)
        return 0;
    record->number = number;
    /* Every fifth is given back, as a program that changes its mind does. */
    if (number % 5 == 4)
        records.ringbuf_discard(record, BPF_RB_NO_WAKEUP);
    else
        records.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
    return 0;
}

struct raw_arguments {
    u64 arguments[12];
};

int on_raw(struct raw_arguments *ctx)
{
    return ctx->arguments[1] == ROVER_TEST_SYSCALL ? count(ctx) : 0;
}

int on_tracepoint(void *ctx)
{
    return count(ctx);
}

int on_probe(struct pt_regs *ctx)
{
    return count(ctx);
}
