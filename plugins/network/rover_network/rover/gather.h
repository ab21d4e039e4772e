/* Calls of several short segments, as servers make them that write a head and its body (nginx), or gather answers (Netty):
 * one record takes several, since each costs the worker, and a call has but ROVER_PIECES of them.
 *
 * Included by capture.h. */
#pragma once

#define ROVER_SHORT 1024    /* bytes of one that is gathered */
#define ROVER_GATHERED 4096 /* bytes of a record beyond which nothing is added */
#define ROVER_AT_ONCE 16    /* segments of a record */

/* Whether what comes next is worth it. */
static __always_inline int rover_is_scattered(struct rover_piece *piece)
{
    return piece->segment < piece->segments && piece->room < ROVER_SHORT && piece->left > piece->room;
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

/* Ships a record of several segments. 0 if the ring is full, -1 if it is for others to do: somebody who was interrupted
 * has this processor's memory. */
static __always_inline int rover_gather(struct rover_config *config, struct rover_piece *piece,
                                        struct rover_record *head, int last)
{
    int zero = 0;
    u32 number = rover_ring_of(config, &head->key);
    void *ring = rover_rings.lookup(&number);
    u64 *shipped = rover_shipped.lookup(&number);
    struct rover_runs *gathered = rover_gathered.lookup(&zero);
    if (!ring || !shipped || !gathered || !rover_claim(&gathered->users))
        return -1;
    rover_append(piece, gathered->data);
    u64 size = piece->size;
    if (!size) { /* out of reach */
        rover_release(&gathered->users);
        return -1;
    }
    piece->length -= size;
    piece->position += size;
    gathered->record = *head;
    gathered->record.length = size;
    gathered->record.after = !piece->left || last ? piece->length : 0;
    ROVER_OPAQUE(size);
    if (size > ROVER_GATHERED + ROVER_SHORT) /* it never is, which the verifier cannot know */
        size = 0;
    s64 failed = bpf_ringbuf_output(ring, &gathered->record, sizeof(struct rover_record) + size, 0);
    rover_release(&gathered->users);
    if (failed)
        rover_tell(ROVER_RING_FULL);
    else
        (*shipped)++;
    return !failed;
}
