/* What the thread that runs does to a socket, and what its calls come to. */
#pragma once

#include <rover/datagrams.h>

/* include/linux/socket.h */
#define MSG_PEEK 2
#define MSG_ERRQUEUE 0x2000
/* include/uapi/asm-generic/errno.h */
#define EINTR 4
#define EAGAIN 11
#define EISCONN 106
#define EALREADY 114
#define EINPROGRESS 115
#define ERESTARTSYS 512 /* include/linux/errno.h: from here on the kernel's own */

/* Connections are met, and rows begun, where a socket is at hand. 0 if no process holds it. */
static __always_inline int rover_identify(struct rover_key *key, u64 sk)
{
    key->tgid = bpf_get_current_pid_tgid() >> 32;
    key->inode = sk ? rover_inode(sk) : 0;
    key->peer = 0;
    return key->inode != 0;
}

static __always_inline u64 rover_since(struct rover_call *call)
{
    u64 ns = bpf_ktime_get_ns() - call->since_ns;
    return ns ? ns : 1;
}

static __always_inline int rover_failed(s64 result)
{
    return result < 0 && result > -ERESTARTSYS && result != -EAGAIN && result != -EINTR && result != -EINPROGRESS &&
           result != -EALREADY && result != -EISCONN;
}
