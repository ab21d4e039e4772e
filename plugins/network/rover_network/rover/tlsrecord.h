/* What TLS puts in front of encrypted bytes: a record's type, version and length (RFC 8446 section 5.1, RFC 5246 6.2.1).
 *
 * A connection is taken for an encrypted one when a call moved bytes that begin like records do and are as many as they
 * say: whole records, or, as OpenSSL reads them, the 5 bytes of a header alone. */
#pragma once

#include <rover/call.h>

#define ROVER_TLS_HEADER 5
#define ROVER_TLS_MOST (16384 + 2048)

enum rover_content { ROVER_CHANGE_CIPHER = 20, ROVER_ALERT, ROVER_HANDSHAKE, ROVER_APPLICATION };

/* The length of the record whose header this is, without the header; 0 if it is none. */
static __always_inline u32 rover_tls_record(u8 *head)
{
    u32 length = (u32)head[3] << 8 | head[4];
    if (head[0] < ROVER_CHANGE_CIPHER || head[0] > ROVER_APPLICATION || head[1] != 3 || head[2] > 4)
        return 0;
    return length <= ROVER_TLS_MOST ? length : 0;
}

/* Whether a piece, whose head was read, is TLS and nothing else. */
static __always_inline int rover_begins_tls(struct rover_piece *piece)
{
    u8 *head = piece->head;
    u32 length = rover_tls_record(head);
    if (piece->size < ROVER_TLS_HEADER || !length)
        return 0;
    if (head[0] != ROVER_HANDSHAKE && head[0] != ROVER_APPLICATION)
        return 0;
    if (piece->length == ROVER_TLS_HEADER)
        return 1;
    if (head[0] == ROVER_HANDSHAKE && ((head[5] != 1 && head[5] != 2) || head[6])) /* ClientHello, ServerHello; below 64 KB */
        return 0;
    u64 end = ROVER_TLS_HEADER + length;
    u8 next[ROVER_TLS_HEADER] = {};
    if (end >= piece->length || piece->segments)
        return end <= piece->length;
    rover_read_user(next, sizeof(next), (void *)(piece->address + end));
    return next[0] >= ROVER_CHANGE_CIPHER && next[0] <= ROVER_APPLICATION && next[1] == 3;
}
