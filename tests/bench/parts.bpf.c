/* One event into each of two rings for each getppid of the process ROVER_BENCH_PID: one for either reader. */
struct event {
    u64 fields[6];
};

struct place {
    u64 left, right;
};

BPF_HASH(counts, struct place, u64, 16384);
BPF_RINGBUF_OUTPUT(for_bcc, 1024);
BPF_RINGBUF_OUTPUT(for_rover, 1024);

#define SYS_getppid 110 /* x86_64; arm64: 173 */
#ifdef __TARGET_ARCH_arm64
#undef SYS_getppid
#define SYS_getppid 173
#endif

int on_syscall(struct bpf_raw_tracepoint_args *context)
{
    if (bpf_get_current_pid_tgid() >> 32 != ROVER_BENCH_PID || context->args[1] != SYS_getppid)
        return 0;
    struct event event = {};
    event.fields[0] = bpf_ktime_get_ns();
    event.fields[1] = 1;
    for_bcc.ringbuf_output(&event, sizeof(event), BPF_RB_NO_WAKEUP);
    for_rover.ringbuf_output(&event, sizeof(event), BPF_RB_NO_WAKEUP);
    return 0;
}
