/* What every program of Rover includes first. */
#pragma once

#include <linux/types.h>
#include <uapi/linux/ptrace.h>

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* include/uapi/linux/bpf_perf_event.h */
struct bpf_perf_event_data {
    rover_regs regs;
    u64 sample_period;
    u64 addr;
};

/* BCC's rewriter turns member accesses into reads only for types it knows in full; ours come from BTF as byte
 * offsets, so every member is read explicitly, and with the _kernel form: lockdown refuses the generic one. */
#define ROVER_READ(destination, base, offset) \
    bpf_probe_read_kernel(&(destination), sizeof(destination), (const void *)((u64)(base) + (offset)))

/* The helper bpf_probe_read_user. For each call that goes by that name BCC looks through the names of all of the kernel's
 * functions whether there is one (check_bpf_probe_read_user), 35 ms; and there is, since 5.5. */
static long (*rover_read_user)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_user;

/* Hides a value from the optimizer, so that the register the verifier saw checked is the one that is used. */
#define ROVER_OPAQUE(value) asm volatile("" : "+r"(value))
