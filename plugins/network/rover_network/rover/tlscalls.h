/* System calls that matter to TLS: who may have got a library that encrypts, and sockets that the kernel encrypts. */
#pragma once

#include <rover/tls.h>

#define TLS_TX 1 /* include/uapi/linux/tls.h */
#define PROT_EXEC 4 /* include/uapi/asm-generic/mman-common.h */
#define MAP_ANONYMOUS 0x20
#define MAX_ERRNO 4095 /* include/linux/err.h */

BPF_TABLE("hash", u32, u32, rover_mapped, 4096); /* processes that have mapped a file's code lately */

/* A process has mapped a file to be executed, or has become another program. regs: of the call, 0: not known. */
static __always_inline void rover_after_mapping(u64 id, u32 kind, u64 regs, s64 result)
{
    u32 tgid = id >> 32, yes = 1;
    u64 protection = PROT_EXEC, flags = 0;
    if (result < 0 && result >= -MAX_ERRNO)
        return;
    if (kind == ROVER_MAPPING && regs) {
        ROVER_READ(protection, regs, ROVER_SYSCALL_ARGUMENT(2));
        ROVER_READ(flags, regs, ROVER_SYSCALL_ARGUMENT(3));
    }
    if (protection & PROT_EXEC && !(flags & MAP_ANONYMOUS))
        rover_mapped.update(&tgid, &yes);
}

/* The kernel encrypts, or decrypts, from now on (Documentation/networking/tls.rst). */
static __always_inline void rover_after_setting(struct rover_config *config, u64 regs, s64 result)
{
    struct rover_key key = {};
    u64 fd = 0, level = 0, option = 0;
    if (!regs || result)
        return;
    ROVER_READ(fd, regs, ROVER_SYSCALL_ARGUMENT(0));
    ROVER_READ(level, regs, ROVER_SYSCALL_ARGUMENT(1));
    ROVER_READ(option, regs, ROVER_SYSCALL_ARGUMENT(2));
    u64 sk = (u32)level == SOL_TLS ? rover_socket(fd) : 0;
    struct rover_connection *connection = rover_identify(&key, sk) ? rover_meet(&key, sk) : NULL;
    if (connection)
        rover_tls_mark(config, connection, &key,
                       ROVER_TLS | ((u32)option == TLS_TX ? ROVER_KTLS_SENDS : ROVER_KTLS_RECEIVES));
}
