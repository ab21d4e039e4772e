/* Programs that read a message's length or header with a call of its own: classifiers are shown both calls as one, and
 * what the first one moved is shipped after all, so that the first message of a connection is whole.
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

/* Puts a short call, behind which this one of the same connection follows at once, in front of its head. */
static __always_inline void rover_join(struct rover_before *before, struct rover_piece *piece)
{
    u8 own[ROVER_HEAD - ROVER_BEFORE];
    u32 behind = before->size, size = piece->size < sizeof(own) ? piece->size : sizeof(own);
    ROVER_OPAQUE(behind);
    if (before->way != piece->way || before->position + behind != piece->position || behind > ROVER_BEFORE)
        return;
    __builtin_memcpy(own, piece->head, sizeof(own));
    __builtin_memset(piece->head, 0, sizeof(piece->head));
    __builtin_memcpy(piece->head, before->data, ROVER_BEFORE);
    __builtin_memcpy(piece->head + behind, own, sizeof(own));
    piece->size = behind + size;
    piece->behind = behind;
    piece->behind_ns = before->ended_ns;
}

/* A call of a connection whose protocol is not known, and whose head has been read. turned: the other end has spoken
 * since the call before. */
static __always_inline void rover_look_back(struct rover_key *key, struct rover_piece *piece, int turned)
{
    struct rover_before this = {.position = piece->position, .ended_ns = piece->ended_ns, .way = piece->way};
    struct rover_before *before = turned ? NULL : rover_before.lookup(key);
    int is_short = piece->length <= ROVER_BEFORE && piece->size == piece->length;
    this.size = piece->size;
    __builtin_memcpy(this.data, piece->head, ROVER_BEFORE);
    if (before)
        rover_join(before, piece);
    if (is_short)
        rover_before.update(key, &this);
}

/* The connection has been recognised by this call, for which `head` is filled in but for place and time. */
static __always_inline void rover_ship_before(struct rover_config *config, struct rover_piece *piece,
                                              struct rover_record *head)
{
    u32 number = rover_ring_of(config, &head->key);
    void *ring = rover_rings.lookup(&number);
    u64 *shipped = rover_shipped.lookup(&number);
    if (!piece->behind || !ring || !shipped)
        return;
    struct rover_before_record *record = bpf_ringbuf_reserve(ring, sizeof(*record), 0);
    if (!record) {
        rover_tell(ROVER_RING_FULL);
        return;
    }
    record->head = *head;
    record->head.position = piece->position - piece->behind;
    record->head.began_ns = record->head.ended_ns = piece->behind_ns;
    record->head.length = piece->behind;
    __builtin_memcpy(record->data, piece->head, ROVER_BEFORE);
    bpf_ringbuf_submit(record, 0);
    (*shipped)++;
}
