/* What the kernel knows of a socket: from a descriptor to its struct sock, and from that to both of its ends.
 *
 * A socket's identity is its inode number (net/socket.c, sock_alloc: get_next_ino, unique while it lives), the one that
 * /proc/<pid>/fd, /proc/net and ss(8) show: the address of a struct sock is used again at once, a descriptor may be
 * duplicated or sent to another process.
 */
#pragma once

#include <rover/rover.h>

#define AF_UNIX 1 /* include/linux/socket.h */
#define AF_INET 2
#define AF_INET6 10
#define S_IFMT 0170000 /* include/uapi/linux/stat.h */
#define S_IFSOCK 0140000
#define IPPROTO_TCP 6

enum rover_role { ROVER_UNKNOWN, ROVER_CLIENT, ROVER_SERVER };

/* What is known of a connection's encryption: that there is some; that a library tells its plain text; that the kernel
 * encrypts what is sent, or decrypts what is received (kTLS), so that system calls move plain text. */
enum rover_tls { ROVER_TLS = 1, ROVER_TLS_TOLD = 2, ROVER_KTLS_SENDS = 4, ROVER_KTLS_RECEIVES = 8 };

/* Both ends of a socket, and whose it is. Addresses as IPv6 has them, IPv4 as ::ffff:a.b.c.d; ports in host order. */
struct rover_facts {
    u64 start_ns; /* task_struct.start_boottime of the group leader, 0: not known */
    u8 local[16];
    u8 remote[16];
    char comm[16];
    u32 speaks; /* number of its layer-7 protocol, 0: not known */
    u16 tls;    /* enum rover_tls */
    u16 shared; /* 1: of a row that several connections are counted in, see flows.h */
    u32 netns; /* inode number of its network namespace */
    u32 peer;  /* inode number of a Unix socket's other end, 0: none, or not accepted yet */
    u16 local_port; /* from here on looked at with every message: next to a row's first figure */
    u16 remote_port;
    u16 family;
    u8 protocol;
    u8 role;
};

#define ROVER_SK(destination, sk, member) ROVER_READ(destination, sk, ROVER_OFFSET_sock___sk_common_##member)

/* The struct sock behind a descriptor of the current process; 0 if it is none, or no socket. */
static __always_inline u64 rover_socket(u32 fd)
{
    u64 files = 0, table = 0, slots = 0, file = 0, inode = 0, socket = 0, sk = 0;
    u32 room = 0;
    u16 mode = 0;
    ROVER_READ(files, bpf_get_current_task(), ROVER_OFFSET_task_struct_files);
    ROVER_READ(table, files, ROVER_OFFSET_files_struct_fdt);
    ROVER_READ(room, table, ROVER_OFFSET_fdtable_max_fds);
    if (fd >= room)
        return 0;
    ROVER_READ(slots, table, ROVER_OFFSET_fdtable_fd);
    ROVER_READ(file, slots, 8 * (u64)fd);
    if (!file)
        return 0;
    ROVER_READ(inode, file, ROVER_OFFSET_file_f_inode);
    ROVER_READ(mode, inode, ROVER_OFFSET_inode_i_mode);
    if ((mode & S_IFMT) != S_IFSOCK)
        return 0;
    ROVER_READ(socket, file, ROVER_OFFSET_file_private_data);
    ROVER_READ(sk, socket, ROVER_OFFSET_socket_sk);
    return sk;
}

/* The inode number of a socket; 0 where no process holds it (any more). */
static __always_inline u32 rover_inode(u64 sk)
{
    u64 socket = 0;
    u32 inode = 0; /* unsigned long in the kernel, of which get_next_ino fills 32 bits */
    ROVER_READ(socket, sk, ROVER_OFFSET_sock_sk_socket);
    if (socket)
        ROVER_READ(inode, socket, ROVER_OFFSET_socket_alloc_vfs_inode_i_ino - ROVER_OFFSET_socket_alloc_socket);
    return inode;
}

static __always_inline u16 rover_big_endian(u16 value)
{
    return (u16)(value << 8 | value >> 8);
}

/* An accepted Unix socket has the name of the one that listened (unix_stream_connect, newu->addr): where one end has a
 * name and the other none, the named one is the server. */
static __always_inline void rover_read_names(u64 sk, u64 other, struct rover_facts *facts)
{
    u64 ours = 0, theirs = 0;
    if (!other || facts->role)
        return;
    ROVER_READ(ours, sk, ROVER_OFFSET_unix_sock_addr);
    ROVER_READ(theirs, other, ROVER_OFFSET_unix_sock_addr);
    if (!ours != !theirs)
        facts->role = ours ? ROVER_SERVER : ROVER_CLIENT;
}

static __always_inline void rover_read_ends(u64 sk, struct rover_facts *facts)
{
    u64 net = 0, other = 0;
    u16 port = 0;
    ROVER_SK(facts->family, sk, skc_family);
    ROVER_READ(facts->protocol, sk, ROVER_OFFSET_sock_sk_protocol); /* of MPTCP, 262, the low byte is TCP's 6 */
    ROVER_SK(net, sk, skc_net);
    ROVER_READ(facts->netns, net, ROVER_OFFSET_net_ns_inum);
    if (facts->family == AF_UNIX) {
        ROVER_READ(other, sk, ROVER_OFFSET_unix_sock_peer);
        facts->peer = other ? rover_inode(other) : 0;
        rover_read_names(sk, other, facts);
        return;
    }
    ROVER_SK(facts->local_port, sk, skc_num);
    ROVER_SK(port, sk, skc_dport);
    facts->remote_port = rover_big_endian(port);
    if (facts->family == AF_INET6) {
        ROVER_SK(facts->local, sk, skc_v6_rcv_saddr);
        ROVER_SK(facts->remote, sk, skc_v6_daddr);
    } else {
        facts->local[10] = facts->local[11] = facts->remote[10] = facts->remote[11] = 0xff;
        bpf_probe_read_kernel(facts->local + 12, 4, (void *)(sk + ROVER_OFFSET_sock___sk_common_skc_rcv_saddr));
        bpf_probe_read_kernel(facts->remote + 12, 4, (void *)(sk + ROVER_OFFSET_sock___sk_common_skc_daddr));
    }
}

/* Who the current task's process is. */
static __always_inline void rover_read_owner(struct rover_facts *facts)
{
    u64 leader = 0;
    ROVER_READ(leader, bpf_get_current_task(), ROVER_OFFSET_task_struct_group_leader);
    ROVER_READ(facts->start_ns, leader, ROVER_OFFSET_task_struct_start_boottime);
    ROVER_READ(facts->comm, leader, ROVER_OFFSET_task_struct_comm);
}
