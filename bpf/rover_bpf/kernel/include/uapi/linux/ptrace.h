/* Registers as perf and uprobe programs see them: arch/x86/include/uapi/asm/ptrace.h, arch/arm64/.../ptrace.h */
#pragma once

#if defined(__aarch64__) || defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
    u64 regs[31], sp, pc, pstate;
};
typedef struct user_pt_regs rover_regs;
struct pt_regs {
    struct user_pt_regs user_regs;
    u64 orig_x0;
    s32 syscallno;
};
#define ROVER_FIRST_ARGUMENT(ctx) ((ctx)->user_regs.regs[0])
/* Of a function where a uprobe is: its arguments from 0 to 4, its result, the stack pointer. What the caller's return
 * address takes of the stack: nothing, it is in a register. */
#define ROVER_ARGUMENT(ctx, n) ((ctx)->user_regs.regs[n])
#define ROVER_RESULT(ctx) ((ctx)->user_regs.regs[0])
#define ROVER_STACK(ctx) ((ctx)->user_regs.sp)
#define ROVER_RETURN_SIZE 0
/* Of a system call, where pt_regs has its number and its arguments: byte offsets. */
#define ROVER_SYSCALL_NUMBER __builtin_offsetof(struct pt_regs, syscallno)
#define ROVER_SYSCALL_ARGUMENT(n) (__builtin_offsetof(struct pt_regs, user_regs.regs) + 8 * (n))
#else
struct pt_regs {
    unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
typedef struct pt_regs rover_regs;
#define ROVER_FIRST_ARGUMENT(ctx) ((ctx)->di)
#define ROVER_ARGUMENT(ctx, n) \
    ((n) == 0 ? (ctx)->di : (n) == 1 ? (ctx)->si : (n) == 2 ? (ctx)->dx : (n) == 3 ? (ctx)->cx : (ctx)->r8)
#define ROVER_RESULT(ctx) ((ctx)->ax)
#define ROVER_STACK(ctx) ((ctx)->sp)
#define ROVER_RETURN_SIZE 8
#define ROVER_SYSCALL_NUMBER __builtin_offsetof(struct pt_regs, orig_ax)
#define ROVER_SYSCALL_ARGUMENT(n) \
    ((n) == 0 ? __builtin_offsetof(struct pt_regs, di) \
     : (n) == 1 ? __builtin_offsetof(struct pt_regs, si) \
     : (n) == 2 ? __builtin_offsetof(struct pt_regs, dx) \
     : (n) == 3 ? __builtin_offsetof(struct pt_regs, r10) : __builtin_offsetof(struct pt_regs, r8))
#endif
