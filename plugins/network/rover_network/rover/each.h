/* Datagrams of one call where no tracepoint tells of each (before 6.3): at the call's end, one behind the other.
 *
 * Each goes through the chain of programs before the next one has its turn, as long as all together make no more tail
 * calls than the kernel follows. What is left then is counted, and told to be missing in layer 7.
 */
#pragma once

#include <rover/capture.h>
#include <rover/current.h>

#define ROVER_FOLLOWED 33 /* MAX_TAIL_CALL_CNT */
#define ROVER_VECTOR 1024 /* UIO_MAXIOV: messages of a call */

/* The length of the message of that number: struct mmsghdr has 64 bytes, msg_len is behind a 56-byte msghdr. */
static __always_inline u32 rover_length_of(u64 vector, u64 number)
{
    u32 length = 0;
    rover_read_user(&length, sizeof(length), (void *)(vector + 64 * number + 56));
    return length;
}

/* The bytes of those messages of struct mmsghdr[], the first included, the last not. */
static __always_inline u64 rover_many(u64 vector, u64 first, u64 last)
{
    u64 bytes = 0;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < ROVER_VECTOR; i++) {
        if (first + i >= last)
            break;
        bytes += rover_length_of(vector, first + i);
    }
    return bytes;
}

static __always_inline u64 rover_vector(struct rover_call *call)
{
    u64 vector = 0;
    ROVER_READ(vector, call->regs, ROVER_SYSCALL_ARGUMENT(1));
    return vector;
}

static __always_inline void rover_add_part(struct rover_call *call, struct rover_row *row, int figure, u64 bytes, int last)
{
    if (last)
        rover_add(row, figure, bytes, rover_since(call->since_ns));
    else
        __sync_fetch_and_add(&row->sums[figure].bytes, bytes);
}

/* Bytes that the call moved are counted; with the last of them the call itself. */
static __always_inline void rover_count_part(struct rover_config *config, struct rover_call *call, struct rover_key *key,
                                             u64 bytes, int last)
{
    struct rover_row *row = rover_row(config->epoch & 1, key);
    if (row && call->kind == ROVER_WRITING_MANY)
        rover_add_part(call, row, ROVER_WRITE, bytes, last);
    else if (row)
        rover_add_part(call, row, ROVER_READ_, bytes, last);
}

/* Counts the next message, which is exchanged in `key`. Returns its length. */
static __always_inline u64 rover_take_next(struct rover_config *config, struct rover_call *call, struct rover_key *key)
{
    u64 number = call->next++, length = rover_length_of(rover_vector(call), number);
    int last = call->next == call->count;
    key->inode = call->key.inode;
    key->tgid = call->key.tgid;
    if (call->anybody && length)
        rover_address_key(key, call->sk, rover_address_in(call, number), call->kind == ROVER_WRITING_MANY);
    if (length || last)
        rover_count_part(config, call, key, length, last);
    return length;
}

/* Nobody looks at the last so many datagrams. One is missed where others of the call are of a protocol that is read. */
static __always_inline void rover_pass_over(struct rover_call *call, u64 datagrams)
{
    if (call->speaks)
        rover_tell_many(ROVER_PASSED_OVER, datagrams);
}

/* What the kernel follows no further is of an unknown peer. */
static __always_inline void rover_pass_rest(struct rover_config *config, struct rover_call *call)
{
    struct rover_key key = {.inode = call->key.inode, .tgid = call->key.tgid};
    u64 bytes = rover_many(rover_vector(call), call->next, call->count);
    rover_count_part(config, call, &key, bytes, 1);
    rover_pass_over(call, call->count - call->next);
}

/* How many tail calls there have been since the message before had its turn, and whether it is of a protocol. */
static __always_inline void rover_account(struct rover_call *call)
{
    struct rover_piece *piece = &call->piece;
    struct rover_connection *connection = rover_connections.lookup(&call->key);
    call->followed += 1 + piece->shipped + (piece->slot ? 3 + piece->slot - ROVER_CLASSIFIERS : 0);
    if (connection && connection->stream.protocol)
        call->speaks = 1;
}

/* As many as a datagram may need: every classifier is asked, ROVER_WANT follows twice, each segment is shipped, and an end
 * that is cut off looked for; then the next one has its turn. */
static __always_inline u64 rover_longest(struct rover_config *config, struct rover_piece *piece)
{
    return config->protocols + 6 + (piece->segments < ROVER_PIECES ? piece->segments : ROVER_PIECES);
}

/* Tail-called: the next message of the call has its turn. */
int rover_on_each(void *ctx)
{
    int zero = 0;
    struct rover_key key = {};
    struct rover_call *call = rover_current_call();
    struct rover_config *config = rover_config.lookup(&zero);
    if (!config || config->lengths || !call || call->next >= call->count)
        return 0;
    rover_account(call);
    if (call->followed >= ROVER_FOLLOWED) {
        rover_pass_rest(config, call);
        return 0;
    }
    call->piece.slot = call->piece.shipped = 0;
    rover_locate(call, call->kind, call->next);
    u64 length = rover_take_next(config, call, &key);
    if (length && !call->tls && call->followed + rover_longest(config, &call->piece) <= ROVER_FOLLOWED) {
        call->followed++;
        rover_pass_on(ctx, config, call, &key, call->kind, call->kind == ROVER_WRITING_MANY, length);
    } else if (length) {
        rover_pass_by(config, &key, call->kind == ROVER_WRITING_MANY, length);
        rover_pass_over(call, 1);
    }
    rover_slots.call(ctx, ROVER_EACH);
    return 0;
}

/* A call of several datagrams is over. Does not return where that program is. */
static __always_inline void rover_go_through(void *ctx, struct rover_call *call, u64 sk, u64 count, int anybody)
{
    call->sk = sk;
    call->count = count;
    call->anybody = anybody;
    call->followed = call->speaks = call->piece.slot = call->piece.shipped = 0;
    rover_slots.call(ctx, ROVER_EACH);
}
