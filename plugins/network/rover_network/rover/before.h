/* Programs that read a message's length or header with a call of its own: what the call before the recognised one moved
 * is shipped after all, so that the first message of a connection is whole.
 *
 * Included by capture.h, behind its records.
 */
#pragma once

#define ROVER_BEFORE 16 /* bytes of the longest header that is read alone (MongoDB's) */

struct rover_before {
    u64 position;
    u64 ended_ns;
    u32 way;
    u32 size;
    u8 data[ROVER_BEFORE];
};

struct rover_before_record {
    struct rover_record head;
    u8 data[ROVER_BEFORE];
};

BPF_TABLE("lru_hash", struct rover_key, struct rover_before, rover_before, 4096);

static __always_inline int rover_precedes(struct rover_before *before, struct rover_piece *piece)
{
    return before->way == piece->way && before->position + before->size == piece->position;
}

/* A short call of a connection whose protocol is not known. What stands in front of it is left, for this call may be
 * the one that is recognised. */
static __always_inline void rover_keep(struct rover_key *key, struct rover_piece *piece)
{
    struct rover_before before = {.position = piece->position, .ended_ns = piece->ended_ns, .way = piece->way};
    if (piece->length > ROVER_BEFORE || piece->size != piece->length)
        return;
    struct rover_before *known = rover_before.lookup(key);
    if (known && rover_precedes(known, piece))
        return;
    before.size = piece->size;
    __builtin_memcpy(before.data, piece->head, ROVER_BEFORE);
    rover_before.update(key, &before);
}

/* The connection has been recognised by this call, for which `head` is filled in but for place and time. */
static __always_inline void rover_ship_before(struct rover_config *config, struct rover_piece *piece,
                                              struct rover_record *head)
{
    struct rover_before *before = rover_before.lookup(&head->key);
    if (!before)
        return;
    u32 number = rover_ring_of(config, &head->key);
    void *ring = rover_rings.lookup(&number);
    u64 *shipped = rover_shipped.lookup(&number);
    if (rover_precedes(before, piece) && ring && shipped) {
        struct rover_before_record *record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
        if (record) {
            record->head = *head;
            record->head.position = before->position;
            record->head.began_ns = record->head.ended_ns = before->ended_ns;
            record->head.length = before->size;
            __builtin_memcpy(record->data, before->data, ROVER_BEFORE);
            bpf_ringbuf_submit(record, 0);
            (*shipped)++;
        } else {
            rover_tell(ROVER_RING_FULL);
        }
    }
    rover_before.delete(&head->key);
}
