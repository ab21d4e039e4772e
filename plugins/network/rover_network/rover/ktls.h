/* Sockets that the kernel encrypts: which of what system calls move is not what programs say. */
#pragma once

#include <rover/tlsrecord.h>

#define SOL_TLS 282 /* include/linux/socket.h */

/* Whether a call of kTLS has moved another record than one of application data, as its ancillary data say
 * (Documentation/networking/tls.rst). */
static __always_inline int rover_is_control(struct rover_call *call)
{
    u64 place = 0, control[2] = {}; /* of struct msghdr: msg_control and its length */
    struct {
        u64 length;
        u32 level;
        u32 type;
        u64 content;
    } said = {}; /* struct cmsghdr, and what is behind it */
    if (!(call->where & ROVER_IN_HEADER))
        return 0;
    ROVER_READ(place, call->regs, ROVER_SYSCALL_ARGUMENT(1));
    rover_read_user(control, sizeof(control), (void *)(place + 32));
    if (!control[0] || control[1] <= 16 || rover_read_user(&said, 17, (void *)control[0]))
        return 0;
    return said.level == SOL_TLS && (u8)said.content != ROVER_APPLICATION;
}
