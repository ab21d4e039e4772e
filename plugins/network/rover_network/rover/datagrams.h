/* UDP sockets without a fixed other end: each peer gets a row of its own, by the address in the system call.
 *
 * Where something goes to is known from the start of the call; whom it came from only when the call has written it to
 * user memory: at its end, or, of several, before the next one comes.
 */
#pragma once

#include <rover/flows.h>

#define IPPROTO_UDP 17

/* Where in user space the current call has its peer's address; 0 if it has none. message: which of several. */
static __always_inline u64 rover_address_in(struct rover_call *call, u64 message)
{
    u64 header = 0, address = 0;
    if (call->where & ROVER_IN_ARGUMENT) {
        ROVER_READ(address, call->regs, ROVER_SYSCALL_ARGUMENT(4));
    } else if (call->where & ROVER_IN_HEADER) {
        ROVER_READ(header, call->regs, ROVER_SYSCALL_ARGUMENT(1));
        rover_read_user(&address, sizeof(address), (void *)(header + 64 * message)); /* msg_name comes first */
    }
    return address;
}

/* Reads a struct sockaddr_in or sockaddr_in6 of user space. 0 if it is neither. */
static __always_inline int rover_read_address(struct rover_facts *facts, u64 address)
{
    u16 head[2] = {}; /* family, port */
    if (rover_read_user(head, sizeof(head), (void *)address))
        return 0;
    facts->remote_port = rover_big_endian(head[1]);
    if (head[0] == AF_INET6)
        return !rover_read_user(facts->remote, 16, (void *)(address + 8));
    facts->remote[10] = facts->remote[11] = 0xff;
    return head[0] == AF_INET && !rover_read_user(facts->remote + 12, 4, (void *)(address + 4));
}

/* Tells the peers of one socket apart; never 0. */
static __always_inline u64 rover_peer_of(struct rover_facts *facts)
{
    u64 *halves = (u64 *)facts->remote;
    u64 hash = (halves[0] * 0xff51afd7ed558ccdULL ^ halves[1]) * 0xc4ceb9fe1a85ec53ULL;
    return (hash ^ hash >> 29 ^ (u64)facts->remote_port << 1) | 1;
}

/* Who sends to one peer alone need not ask where the answers come from: what has no address is of that one. */
static __always_inline void rover_only_peer(struct rover_key *key)
{
    struct rover_connection *own = rover_connections.lookup(key);
    if (own && own->stream.only != ROVER_MANY_PEERS)
        key->peer = own->stream.only;
}

/* A peer has been sent to for the first time. */
static __always_inline void rover_note_peer(struct rover_key *key)
{
    u64 peer = key->peer;
    key->peer = 0;
    struct rover_connection *own = rover_connections.lookup(key);
    key->peer = peer;
    if (own && own->stream.only != peer)
        own->stream.only = own->stream.only ? ROVER_MANY_PEERS : peer;
}

/* The key of what this socket, whose own key it is, exchanges with the peer at a user's address; whoever sends first is
 * the client. */
static __always_inline void rover_address_key(struct rover_key *key, u64 sk, u64 address, int sends)
{
    struct rover_connection fresh = {};
    if (address)
        rover_read_ends(sk, &fresh.facts);
    if (!address || !rover_read_address(&fresh.facts, address)) {
        rover_only_peer(key);
        return;
    }
    key->peer = rover_peer_of(&fresh.facts);
    if (rover_connections.lookup(key))
        return;
    if (sends)
        rover_note_peer(key);
    rover_read_owner(&fresh.facts);
    fresh.facts.role = sends ? ROVER_CLIENT : ROVER_SERVER;
    if (rover_connections.insert(key, &fresh) == 0)
        rover_tell(ROVER_NEW_CONNECTIONS);
}
