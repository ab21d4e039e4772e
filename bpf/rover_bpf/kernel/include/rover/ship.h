/* Shipping what only user space can unwind: the current task's user registers and the top of its user stack.
 *
 * A shipped stack has an id, which stands in a key where the hash of a stack walked in the kernel would stand. Those
 * hashes are odd and ids are even, so they never meet.
 *
 * Knobs, defined before the include: ROVER_RAW_PAGES (of the ring); ROVER_EVERY_STACK where each event is to have its
 * own stack shipped. Without it, a thread whose registers and innermost KB of stack are as they were earlier in the same
 * epoch is taken to be where it was then: a switch-heavy program would ship gigabytes of the same.
 *
 * A record is as long as what could be copied: bpf_ringbuf_output() takes any length, bpf_ringbuf_reserve() only
 * constant ones. User side: rover_bpf/unwind/raw.py; keep the structures in step.
 * Included by rover/unwind.h. Kernel 5.15 for bpf_task_pt_regs().
 */
#pragma once

#if defined(__aarch64__) || defined(__TARGET_ARCH_arm64)
#error "stacks are shipped on x86-64 only: AArch64 needs its own registers and page size"
#endif

#define ROVER_PAGE 4096
#define ROVER_STACK_BYTES 16384

struct rover_raw {
    u64 id;
    struct rover_code code;
    u64 unknown; /* the place that the walk in the kernel had no rule for, 0: none */
    u32 tgid;
    u32 unused;
    /* All of them: a leaf's caller may be where only a scratch register tells, as in glibc's longjmp (rdx, r8, r9). */
    struct pt_regs regs;
    /* One page more than is shipped: the last piece is copied before it is known to be too long. */
    u8 stack[ROVER_STACK_BYTES + ROVER_PAGE];
};

BPF_TABLE("percpu_array", int, struct rover_raw, rover_raw_scratch, 1);
BPF_TABLE("lru_hash", u64, u32, rover_shipped, 16384);
BPF_RINGBUF_OUTPUT(rover_raw, ROVER_RAW_PAGES);

/* Copies from the stack pointer upwards, page by page, as far as it is there: what is above it is in use, so it is
 * in memory, but for what was swapped out and for the end of the mapping. Returns bytes. */
static __always_inline u32 rover_copy_stack(struct rover_raw *raw)
{
    u32 size = 0;
#pragma unroll
    for (int i = 0; i <= ROVER_STACK_BYTES / ROVER_PAGE; i++) {
        u64 from = raw->regs.sp + size;
        u32 piece = ROVER_PAGE - (from & (ROVER_PAGE - 1));
        u32 at = size;
        ROVER_OPAQUE(at);
        ROVER_OPAQUE(piece);
        if (at > ROVER_STACK_BYTES || piece > ROVER_PAGE)
            break;
        if (rover_read_user(&raw->stack[at], piece, (const void *)from))
            break;
        size = at + piece;
    }
    return size < ROVER_STACK_BYTES ? size : ROVER_STACK_BYTES;
}

#ifdef ROVER_EVERY_STACK
static __always_inline u64 rover_stack_id(struct rover_raw *raw, struct rover_stack *innermost)
{
    return (bpf_ktime_get_ns() << 9 | (bpf_get_smp_processor_id() & 0xff) << 1) + 2;
}
#else
/* By the registers that a call preserves, and the innermost KB of the stack; 0 if that could not be read. */
static __always_inline u64 rover_stack_id(struct rover_raw *raw, struct rover_stack *innermost)
{
    struct pt_regs *regs = &raw->regs;
    innermost->depth = ROVER_FRAMES;
    if (rover_read_user(innermost->ip, ROVER_FRAMES * sizeof(u64), (const void *)regs->sp))
        return 0;
    innermost->ip[0] ^= regs->ip * 0x9e3779b97f4a7c15ULL ^ regs->sp ^ bpf_get_current_pid_tgid();
    innermost->ip[1] ^= regs->bp ^ regs->bx * 3 ^ regs->r12 * 5 ^ regs->r13 * 7 ^ regs->r14 * 11 ^ regs->r15 * 13;
    return (rover_hash(innermost) & ~1ULL) | 2;
}
#endif

/* Ships the stack below the registers in `raw` unless that was done. Returns its id, 0 if that is impossible. */
static __always_inline u64 rover_ship(struct rover_config *config, struct rover_raw *raw, struct rover_stack *innermost)
{
    u64 id = rover_stack_id(raw, innermost);
#ifndef ROVER_EVERY_STACK
    u32 *generation = id ? rover_shipped.lookup(&id) : NULL;
    if (generation && *generation == config->generation)
        return id;
#endif
    raw->id = id;
    u32 size = rover_copy_stack(raw);
    ROVER_OPAQUE(size);
    if (size > ROVER_STACK_BYTES || !id)
        return 0;
    if (rover_raw.ringbuf_output(raw, __builtin_offsetof(struct rover_raw, stack) + size, BPF_RB_NO_WAKEUP)) {
        rover_tell(ROVER_RAW_FULL);
        return 0;
    }
#ifndef ROVER_EVERY_STACK
    u32 now = config->generation;
    rover_shipped.update(&id, &now);
#endif
    return id;
}
