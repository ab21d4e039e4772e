/* Unwinding by rules that user space has taught.
 *
 * How to get from a frame to its caller depends on nothing but the place in the code: the call frame information of
 * that place, made into a rule (rover_bpf/unwind/rules.py). User space can make rules, which takes files and memory; the
 * kernel can follow them, which takes a look-up and two reads a frame. So it begins with none, and ships the stacks that
 * it cannot walk (rover/ship.h); user space unwinds them and teaches the rules of all places it came by. Soon nothing is
 * shipped any more but what has a place not seen before, and the few kinds of frames whose rules are not taught.
 *
 * A walk follows the very rules user space would, so its result is the same. Only stacks that reach their outermost
 * frame count as walked, or those of as many frames as a stack may have.
 *
 * User side: rover_bpf/unwind/kernelrules.py; keep the structures in step. Included by rover/stackcount.h.
 */
#pragma once

/* What rules hold for: the code of one process, as long as it is the same. mm differs after an exec, exec_vm (pages of
 * executable mappings) after a library was opened or closed. */
struct rover_code {
    u64 start_ns; /* with tgid, the process: as in rover_key */
    u64 mm;
    u64 exec_vm;
};

/* How a process's stacks are walked. space: under which its rules are; 0: frame pointers are good enough. */
struct rover_way {
    struct rover_code code;
    u64 space;
};

/* address: of the instruction; of a caller, one less than the return address. */
struct rover_place {
    u64 address;
    u64 space;
};

/* CHAIN: nothing is known but that a frame pointer may be there. BARE: the same in a file that has tables, where a frame
 * pointer is likely but in the innermost frame. */
enum rover_rule_kind { ROVER_BY_SP, ROVER_BY_FP, ROVER_CHAIN, ROVER_BARE, ROVER_OUTERMOST };

/* cfa: offset of the canonical frame address from the stack or frame pointer. ra, fp: offsets from the CFA of where the
 * return address and the caller's frame pointer are; fp is 0 where that still is in its register. */
struct rover_rule {
    s32 cfa;
    s32 ra;
    s32 fp;
    u32 kind;
};

BPF_TABLE("lru_hash", u32, struct rover_way, rover_ways, 16384);
BPF_TABLE("lru_hash", struct rover_place, struct rover_rule, rover_rules, 32768);

#include <rover/ship.h>

/* Walks from the registers in `raw`; whether it came to an end. If not, raw->unknown may say where it was at a loss. */
static __always_inline int rover_walk(struct rover_raw *raw, u64 space, struct rover_stack *stack)
{
    struct rover_place place = {.address = raw->regs.ip, .space = space};
    u64 ip = raw->regs.ip, sp = raw->regs.sp, fp = raw->regs.bp;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < ROVER_FRAMES; i++) {
        u32 index = i;
        ROVER_OPAQUE(index);
        stack->ip[index & ROVER_FRAMES] = ip;
        stack->depth = i + 1;
        struct rover_rule *rule = rover_rules.lookup(&place);
        if (!rule) {
            raw->unknown = place.address;
            return 0;
        }
        /* Whoever starts a thread clears the frame pointer; in the innermost frame it may be 0 by chance. */
        u32 kind = rule->kind;
        if (kind == ROVER_OUTERMOST || (kind == ROVER_CHAIN && !fp && i))
            return 1;
        u64 cfa = (kind == ROVER_BY_SP ? sp : fp) + rule->cfa;
        if (cfa <= sp || (kind == ROVER_BARE && !i))
            return 0;
        if (cfa + rule->ra < raw->regs.sp || rover_read_user(&ip, sizeof(ip), (const void *)(cfa + rule->ra)))
            return 0;
        /* A slot below the stack pointer was popped: the register has it again. */
        u64 saved = cfa + rule->fp;
        if (rule->fp && saved >= raw->regs.sp && rover_read_user(&fp, sizeof(fp), (const void *)saved))
            return 0;
        if (!ip)
            return 1;
        sp = cfa;
        place.address = ip - 1;
    }
    return 1;
}

/* Walks the current task's user stack, or ships it. Whether that was possible: `user` is its hash or id then. */
static __always_inline int rover_unwind(struct rover_config *config, struct rover_scratch *scratch, u64 *user)
{
    int zero = 0;
    u32 tgid = scratch->key.tgid;
    u64 task = (u64)bpf_get_current_task();
    struct rover_raw *raw = rover_raw_scratch.lookup(&zero);
    if (!raw)
        return 0;
    ROVER_READ(raw->code.mm, task, ROVER_OFFSET_task_struct_mm);
    if (!raw->code.mm)
        return 0; /* a kernel thread */
    ROVER_READ(raw->code.exec_vm, raw->code.mm, ROVER_OFFSET_mm_struct_exec_vm);
    raw->code.start_ns = scratch->key.start_ns;
    raw->tgid = tgid;
    raw->unknown = 0;
    struct rover_way *way = rover_ways.lookup(&tgid);
    int known = way && way->code.mm == raw->code.mm && way->code.exec_vm == raw->code.exec_vm &&
                way->code.start_ns == raw->code.start_ns;
    if (known && !way->space)
        return 0;
    /* User registers are the first thing on the kernel stack, wherever in the kernel the task is. */
    bpf_probe_read_kernel(&raw->regs, sizeof(raw->regs), (const void *)bpf_task_pt_regs(bpf_get_current_task_btf()));
    if (known && rover_walk(raw, way->space, &scratch->user)) {
        *user = rover_stored(&scratch->user, config->epoch & 1);
        return 1;
    }
    *user = rover_ship(config, raw, &scratch->user);
    return *user != 0;
}
