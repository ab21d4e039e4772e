/* Off-CPU time: how long threads were switched out, by where they were.
 *
 * Two ways to the same numbers. finish_task_switch runs in the thread that was switched in, so its stack (still the one
 * it was switched out with) is taken only for waits that count; that of a thread which has not come back when a profile
 * ends is taken from outside, by an iterator. The sched_switch tracepoint runs in the thread that is about to be switched
 * out, so every switch of a watched thread has its stack taken.
 */
#include <rover/stackcount.h>

/* include/linux/sched.h */
#define TASK_RUNNING 0x00
#define TASK_INTERRUPTIBLE 0x01
#define TASK_UNINTERRUPTIBLE 0x02
#define TASK_DEAD 0x80
#define TASK_WAKING 0x200

/* Tags of keys; profiler.py names them. */
enum { ROVER_INTERRUPTIBLE = 1, ROVER_UNINTERRUPTIBLE, ROVER_PREEMPTED, ROVER_OTHER };

/* A thread that is off CPU. The stacks of its key are 0 where they are only taken when it comes back. */
struct rover_off {
    u64 since_ns;
    struct rover_key key;
};

BPF_F_TABLE("hash", u32, struct rover_off, rover_off, ROVER_COUNTS, ROVER_HASH_FLAGS);
BPF_TABLE("percpu_array", int, struct rover_off, rover_off_scratch, 1);

static __always_inline u32 rover_state(u64 task, int preempted)
{
    u32 state = 0; /* task_struct.__state: unsigned int since 5.14, the low half of a long before */
    ROVER_READ(state, task, ROVER_OFFSET_task_struct___state);
    if (state & TASK_DEAD)
        return 0;
    if (preempted || state == TASK_RUNNING)
        return ROVER_PREEMPTED;
    if (state & TASK_WAKING) {
        /* Woken while it was still leaving, a disk's quick answer: what is left of its state is the account of load. */
        u8 bits = 0;
        ROVER_READ(bits, task, ROVER_OFFSET_task_struct_sched_contributes_to_load);
        return bits >> ROVER_BIT_task_struct_sched_contributes_to_load & 1 ? ROVER_UNINTERRUPTIBLE : ROVER_INTERRUPTIBLE;
    }
    if (state & TASK_INTERRUPTIBLE)
        return ROVER_INTERRUPTIBLE;
    return state & TASK_UNINTERRUPTIBLE ? ROVER_UNINTERRUPTIBLE : ROVER_OTHER;
}

/* The thread leaves its processor now; a thread that exits never comes back.
 *
 * One that is still noted as off CPU came back unseen: there are kernels that do not report every switch. How long that
 * wait was cannot be known any more, but that it was there can.
 */
static __always_inline void rover_leave(u32 thread, u32 tag, struct rover_key *key)
{
    int zero = 0;
    struct rover_off *off = rover_off_scratch.lookup(&zero);
    if (rover_off.lookup(&thread)) {
        rover_tell(ROVER_MISSED);
        rover_off.delete(&thread);
    }
    if (!off || !tag)
        return;
    off->since_ns = bpf_ktime_get_ns();
    off->key = *key;
    off->key.tag = tag;
    rover_tell(ROVER_MATCHED);
    if (rover_off.update(&thread, off))
        rover_tell(ROVER_COUNTS_FULL);
}

/* Whether this wait counts, by length and state; `value` receives it. */
static __always_inline int rover_counts(struct rover_config *config, struct rover_off *off, struct rover_value *value)
{
    value->events = 1;
    value->total = bpf_ktime_get_ns() - off->since_ns;
    return value->total >= config->minimum && config->tags >> (off->key.tag & 63) & 1;
}

/* raw_tracepoint sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next, ...): current is prev. */
struct rover_switch {
    u64 preempt;
    u64 prev;
    u64 next;
};

int rover_on_switch(struct rover_switch *ctx)
{
    int zero = 0;
    u32 thread = 0, tgid = bpf_get_current_pid_tgid() >> 32;
    rover_tell(ROVER_EVENTS);
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_scratch *scratch = rover_scratch.lookup(&zero);
    if (!config || !scratch)
        return 0;
    ROVER_READ(thread, ctx->next, ROVER_OFFSET_task_struct_pid);
    struct rover_off *off = thread ? rover_off.lookup(&thread) : NULL;
    if (off) {
        if (rover_counts(config, off, &scratch->value)) {
            scratch->key = off->key;
            rover_count(config, &scratch->key, &scratch->value);
        }
        rover_off.delete(&thread);
    }
    if (!rover_watched(config, tgid))
        return 0;
    rover_identify(&scratch->key, tgid);
    rover_capture(ctx, config, scratch);
    rover_leave((u32)bpf_get_current_pid_tgid(), rover_state(ctx->prev, ctx->preempt & 1), &scratch->key);
    return 0;
}

/* kprobe finish_task_switch(struct task_struct *prev): current was switched in, prev was switched out. */
int rover_on_finish(struct pt_regs *ctx)
{
    int zero = 0;
    u32 tgid = 0, prev_thread = 0, thread = (u32)bpf_get_current_pid_tgid();
    u64 prev = ROVER_FIRST_ARGUMENT(ctx);
    rover_tell(ROVER_EVENTS);
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_scratch *scratch = rover_scratch.lookup(&zero);
    if (!config || !scratch)
        return 0;
    ROVER_READ(tgid, prev, ROVER_OFFSET_task_struct_tgid);
    ROVER_READ(prev_thread, prev, ROVER_OFFSET_task_struct_pid);
    if (rover_watched(config, tgid)) {
        rover_identify_task(&scratch->key, prev, tgid);
        scratch->key.user = scratch->key.kernel = 0;
        rover_leave(prev_thread, rover_state(prev, 0), &scratch->key);
    }
    struct rover_off *off = thread ? rover_off.lookup(&thread) : NULL;
    if (!off)
        return 0;
    if (rover_counts(config, off, &scratch->value)) {
        scratch->key = off->key;
        rover_capture(ctx, config, scratch);
        rover_count(config, &scratch->key, &scratch->value);
    }
    rover_off.delete(&thread);
    return 0;
}

#if !defined(__aarch64__) && !defined(__TARGET_ARCH_arm64) /* as rover/unwind.h */
/* A wait without stacks that goes on, and where it is: what user space reads from the iterator. */
struct rover_late {
    u64 since_ns;
    u64 start_ns; /* with tgid, the process: as in rover_key */
    u32 tgid;
    u32 thread;
    struct pt_regs regs; /* on entry to the kernel; all 0 for a kernel thread */
    u64 depth;
    u64 ip[ROVER_FRAMES + 1]; /* as in /proc/<pid>/stack: without functions of the section .sched.text */
};

BPF_TABLE("percpu_array", int, struct rover_late, rover_late_scratch, 1);

/* struct bpf_iter__task and struct bpf_iter_meta of kernel/bpf/task_iter.c and include/linux/bpf.h */
struct rover_iterator {
    u64 meta;
    u64 task;
};
struct rover_iterator_meta {
    u64 seq;
};

/* task_pt_regs(): at the end of the task's kernel stack. */
static __always_inline u64 rover_place_of_regs(u64 task)
{
#if LINUX_VERSION_CODE >= (5 << 16) + (15 << 8)
    return (u64)bpf_task_pt_regs((struct task_struct *)task);
#else
    u64 stack = 0;
    ROVER_READ(stack, task, ROVER_OFFSET_task_struct_stack);
    return stack + 16384 - sizeof(struct pt_regs); /* THREAD_SIZE of kernels without KASAN */
#endif
}

static __always_inline void rover_regs_on_entry(struct pt_regs *regs, u64 task)
{
    u64 mm = 0;
    __builtin_memset(regs, 0, sizeof(*regs));
    ROVER_READ(mm, task, ROVER_OFFSET_task_struct_mm);
    if (mm)
        bpf_probe_read_kernel(regs, sizeof(*regs), (const void *)rover_place_of_regs(task));
}

/* Every task, one call for each; BCC finds the kind of iterator in the function's name. Kernel 5.9 for
 * bpf_get_task_stack(). */
int bpf_iter__task(struct rover_iterator *ctx)
{
    int zero = 0;
    u32 thread = 0;
    u64 task = ctx->task;
    struct rover_config *config = rover_config.lookup(&zero);
    struct rover_late *late = rover_late_scratch.lookup(&zero);
    struct rover_value one;
    if (!task || !config || !late)
        return 0;
    ROVER_READ(thread, task, ROVER_OFFSET_task_struct_pid);
    struct rover_off *off = thread ? rover_off.lookup(&thread) : NULL;
    if (!off || off->key.kernel || !rover_counts(config, off, &one))
        return 0;
    late->since_ns = off->since_ns;
    late->start_ns = off->key.start_ns;
    late->tgid = off->key.tgid;
    late->thread = thread;
    rover_regs_on_entry(&late->regs, task);
    long bytes = bpf_get_task_stack((struct task_struct *)task, late->ip, ROVER_FRAMES * sizeof(u64), 0);
    late->depth = bytes > 0 ? (u64)bytes / sizeof(u64) : 0;
    u64 seq = ((struct rover_iterator_meta *)ctx->meta)->seq;
    bpf_seq_write((struct seq_file *)seq, late, sizeof(*late));
    return 0;
}
#endif
