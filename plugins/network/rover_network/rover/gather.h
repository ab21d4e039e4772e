/* Calls of many short segments, as servers make them that gather answers (Netty: a header and a body of each): one
 * record takes several, since a call has but ROVER_PIECES records.
 *
 * Included by capture.h. */
#pragma once

#define ROVER_MANY 4        /* segments; who writes fewer writes a head and its body */
#define ROVER_SHORT 1024    /* bytes of one that is gathered */
#define ROVER_GATHERED 4096 /* bytes of a record beyond which nothing is added */
#define ROVER_AT_ONCE 16    /* segments of a record */

struct rover_gathered {
    struct rover_record head;
    u8 data[ROVER_GATHERED + ROVER_SHORT];
};

/* Whether what comes next is worth it. */
static __always_inline int rover_is_scattered(struct rover_piece *piece)
{
    return piece->segments > ROVER_MANY && piece->segment < piece->segments && piece->room < ROVER_SHORT &&
           piece->left > piece->room;
}

/* Appends segments while they are short, and counts their bytes in piece->size: the verifier forgets what is in memory,
 * and so does not follow every sum of lengths there may be. */
static __always_inline void rover_append(struct rover_piece *piece, u8 *data)
{
    piece->size = 0;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < ROVER_AT_ONCE; i++) {
        u64 from = piece->size;
        u64 bytes = piece->room;
        if (bytes > piece->left)
            bytes = piece->left;
        ROVER_OPAQUE(from);
        ROVER_OPAQUE(bytes);
        if (from > ROVER_GATHERED || bytes > ROVER_SHORT)
            break;
        if (rover_read_user(data + from, bytes, (void *)piece->base))
            break;
        piece->size = from + bytes;
        piece->left -= bytes;
        piece->room = 0;
        if (!piece->left || piece->segment >= piece->segments)
            break;
        piece->room = rover_segment(piece, piece->segment, &piece->base);
        piece->segment++;
    }
}

/* Ships a record of several segments. 0 if the ring is full. */
static __always_inline int rover_gather(struct rover_config *config, struct rover_piece *piece,
                                        struct rover_record *head, int last)
{
    u32 number = rover_ring_of(config, &head->key);
    void *ring = rover_rings.lookup(&number);
    u64 *shipped = rover_shipped.lookup(&number);
    if (!ring || !shipped)
        return 0;
    struct rover_gathered *record = bpf_ringbuf_reserve(ring, sizeof(struct rover_gathered), 0);
    if (!record) {
        rover_tell(ROVER_RING_FULL);
        return 0;
    }
    rover_append(piece, record->data);
    u32 size = piece->size;
    piece->length -= size;
    piece->position += size;
    record->head = *head;
    record->head.length = size;
    record->head.after = !piece->left || last ? piece->length : 0;
    bpf_ringbuf_submit(record, 0);
    (*shipped)++;
    return 1;
}
