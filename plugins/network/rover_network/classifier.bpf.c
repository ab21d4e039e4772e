/* A protocol's classifier as a program of its own, so that one that does not compile, or that the kernel refuses, takes
 * nobody along. Says yes by calling what ships, no by calling the next.
 *
 * Defined for each: ROVER_CLASSIFIER (its header), ROVER_CLASSIFY (its function), ROVER_PROTOCOL (its number).
 */
#include <rover/call.h>
#include ROVER_CLASSIFIER

BPF_TABLE("extern", u32, struct rover_call, rover_calls, ROVER_THREADS);
BPF_TABLE("extern", u32, u32, rover_slots, ROVER_SLOTS);

/* The slot of the program that goes on; none that is one if there is nothing to look at. */
static __always_inline u32 rover_classify(void)
{
    u32 thread = bpf_get_current_pid_tgid();
    struct rover_call *call = rover_calls.lookup(&thread);
    if (!call)
        return ROVER_SLOTS;
    struct rover_piece *piece = &call->piece;
    piece->said = ROVER_CLASSIFY(piece->head, piece->size);
    if (piece->said) {
        piece->protocol = ROVER_PROTOCOL;
        return ROVER_WANT;
    }
    return ++piece->slot;
}

int rover_on_classify(void *ctx)
{
    rover_slots.call(ctx, rover_classify());
    return 0;
}
