/* Shipping what user space unwinds by .eh_frame: the current task's user registers and the top of its user stack.
 *
 * A record is as long as what could be copied: bpf_ringbuf_output() takes any length, bpf_ringbuf_reserve() only
 * constant ones. User side: rover_bpf/unwind/raw.py; keep the structures in step.
 * Include after rover/stackcount.h. Kernel 5.15 for bpf_task_pt_regs().
 */
#pragma once

#if defined(__aarch64__) || defined(__TARGET_ARCH_arm64)
#error "stacks are shipped on x86-64 only: AArch64 needs its own registers and page size"
#endif

#define ROVER_PAGE 4096
#define ROVER_STACK_BYTES 16384

#ifndef ROVER_RAW_PAGES
#define ROVER_RAW_PAGES 1024 /* of the ring: 4 MB hold 250 stacks of full length */
#endif

/* All of them, in the order of their DWARF numbers: a leaf's caller may be where only a scratch register tells, as in
 * glibc's longjmp (rdx, r8, r9). */
struct rover_user_regs {
    u64 ax, dx, cx, bx, si, di, bp, sp, r8, r9, r10, r11, r12, r13, r14, r15, ip;
};

struct rover_raw {
    struct rover_key key;     /* user is 0: that hash is not known yet */
    struct rover_value value; /* one event, and how long it was */
    struct rover_user_regs regs;
    /* One page more than is shipped: the last piece is copied before it is known to be too long. */
    u8 stack[ROVER_STACK_BYTES + ROVER_PAGE];
};

BPF_TABLE("percpu_array", int, struct rover_raw, rover_raw_scratch, 1);
BPF_RINGBUF_OUTPUT(rover_raw, ROVER_RAW_PAGES);

/* User registers of the current task. They are the first thing on its kernel stack, wherever it is in the kernel. */
static __always_inline void rover_user_regs(struct rover_user_regs *to)
{
    struct pt_regs from = {};
    bpf_probe_read_kernel(&from, sizeof(from), (const void *)bpf_task_pt_regs(bpf_get_current_task_btf()));
    to->ax = from.ax;
    to->dx = from.dx;
    to->cx = from.cx;
    to->bx = from.bx;
    to->si = from.si;
    to->di = from.di;
    to->bp = from.bp;
    to->sp = from.sp;
    to->r8 = from.r8;
    to->r9 = from.r9;
    to->r10 = from.r10;
    to->r11 = from.r11;
    to->r12 = from.r12;
    to->r13 = from.r13;
    to->r14 = from.r14;
    to->r15 = from.r15;
    to->ip = from.ip;
}

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
        if (bpf_probe_read_user(&raw->stack[at], piece, (const void *)from))
            break;
        size = at + piece;
    }
    return size < ROVER_STACK_BYTES ? size : ROVER_STACK_BYTES;
}

/* Ships the current task's registers and stack under a key and a value that the caller has filled in. Returns 0, or
 * an error if the ring is full. */
static __always_inline int rover_ship(struct rover_raw *raw)
{
    rover_user_regs(&raw->regs);
    u32 size = rover_copy_stack(raw);
    ROVER_OPAQUE(size);
    if (size > ROVER_STACK_BYTES)
        return 0;
    return rover_raw.ringbuf_output(raw, __builtin_offsetof(struct rover_raw, stack) + size, BPF_RB_NO_WAKEUP);
}
