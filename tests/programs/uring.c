/* uring: after a line on standard input, sends 23 messages through a socket by io_uring, without any other call for it.
 * Prints "<calls> <bytes>"; "0 0" where the kernel refuses io_uring.
 */
#define _GNU_SOURCE
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TIMES = 23, SIZE = 1009 };

int main(void)
{
    struct io_uring_params params;
    static char data[SIZE], sink[SIZE];
    int both[2];
    long bytes = 0;
    memset(&params, 0, sizeof params);
    setvbuf(stdout, NULL, _IOLBF, 0);
    int ring = syscall(SYS_io_uring_setup, 8, &params);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, both) || !fgets(sink, sizeof sink, stdin))
        return 1;
    if (ring >= 0) {
        size_t sq_size = params.sq_off.array + params.sq_entries * sizeof(unsigned);
        size_t cq_size = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
        int use = PROT_READ | PROT_WRITE;
        char *sq = mmap(NULL, sq_size, use, MAP_SHARED, ring, IORING_OFF_SQ_RING);
        char *cq = mmap(NULL, cq_size, use, MAP_SHARED, ring, IORING_OFF_CQ_RING);
        struct io_uring_sqe *entries = mmap(NULL, params.sq_entries * sizeof *entries, use, MAP_SHARED, ring, IORING_OFF_SQES);
        unsigned mask = *(unsigned *)(sq + params.sq_off.ring_mask);
        for (int i = 0; i < TIMES; i++) {
            unsigned *tail = (unsigned *)(sq + params.sq_off.tail), at = *tail & mask;
            unsigned *head = (unsigned *)(cq + params.cq_off.head);
            entries[at] = (struct io_uring_sqe){.opcode = IORING_OP_SEND, .fd = both[0], .addr = (unsigned long)data, .len = SIZE};
            ((unsigned *)(sq + params.sq_off.array))[at] = at;
            __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
            if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
                return 1;
            struct io_uring_cqe *done = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
            bytes += done[*head & (params.cq_entries - 1)].res;
            __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
            if (recv(both[1], sink, SIZE, MSG_WAITALL) != SIZE)
                return 1;
        }
    }
    printf("%d %ld\n", ring >= 0 ? TIMES : 0, bytes);
    getchar();
    return 0;
}
