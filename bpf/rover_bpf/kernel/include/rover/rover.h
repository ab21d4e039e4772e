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

/* Hides a value from the optimizer, so that the register the verifier saw checked is the one that is used. */
#define ROVER_OPAQUE(value) asm volatile("" : "+r"(value))
