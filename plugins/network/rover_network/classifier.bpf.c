/* A protocol's classifier as a program of its own, so that one that does not compile, or that the kernel refuses, takes
 * nobody along. Says yes by calling what ships, no by calling the next.
 *
 * Defined for each: ROVER_CLASSIFIER (its header), ROVER_CLASSIFY (its function), ROVER_PROTOCOL (its number).
 */
#include <rover/call.h>
#include ROVER_CLASSIFIER

BPF_TABLE("extern", u32, struct rover_call, rover_calls, ROVER_THREADS);
BPF_TABLE("extern", u32, u32, rover_slots, ROVER_SLOTS);

int rover_on_classify(void *ctx)
{
    u32 thread = bpf_get_current_pid_tgid();
    struct rover_call *call = rover_calls.lookup(&thread);
    if (!call)
        return 0;
    struct rover_piece *piece = &call->piece;
    piece->said = ROVER_CLASSIFY(piece->head, piece->size);
    if (piece->said) {
        piece->protocol = ROVER_PROTOCOL;
        rover_slots.call(ctx, ROVER_WANT);
        return 0;
    }
    piece->slot++;
    rover_slots.call(ctx, piece->slot);
    return 0;
}
