/* Registers as perf and uprobe programs see them: arch/x86/include/uapi/asm/ptrace.h, arch/arm64/.../ptrace.h */
#pragma once

#if defined(__aarch64__) || defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
    u64 regs[31], sp, pc, pstate;
};
typedef struct user_pt_regs rover_regs;
struct pt_regs {
    struct user_pt_regs user_regs;
};
#define ROVER_FIRST_ARGUMENT(ctx) ((ctx)->user_regs.regs[0])
#else
struct pt_regs {
    unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
typedef struct pt_regs rover_regs;
#define ROVER_FIRST_ARGUMENT(ctx) ((ctx)->di)
#endif
