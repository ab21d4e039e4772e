/* datagrams FAMILY CLIENTS ROUNDS BATCH: after a line on standard input, CLIENTS sockets ask a server on a socket of its
 * own, and all in one process: in each round every client sends two questions of DNS by one sendmmsg, and then, with one
 * empty datagram among them, the server takes all of them by recvmmsg, BATCH at a time, and answers by sendmmsg.
 *
 * FAMILY: 4, 6, or 64: the server's socket is of IPv6, the clients' of IPv4. Clients ask for A and AAAA of `x<letter><letter>.test`;
 * every other one does not exist. Output: "<server's port> <recvmmsg> <sendmmsg>", calls of the server, and
 * " <port>:<bytes received from it>:<bytes sent to it>" for each client.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 512, SIZE = 600 };
struct end {
    int fd, port;
    long received, sent;
};
static struct end clients[MOST];
static struct mmsghdr messages[MOST];
static struct iovec pieces[MOST];
static struct sockaddr_in6 names[MOST];
static unsigned char data[MOST][SIZE];

static long must(long result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static int port_of(int fd)
{
    struct sockaddr_in6 name;
    socklen_t size = sizeof name;
    must(getsockname(fd, (struct sockaddr *)&name, &size), "getsockname");
    return ntohs(name.sin6_port); /* where sockaddr_in has it, too */
}

/* Bound to the loopback interface; to all if it is for both families. */
static int bound(int six, int both)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = must(socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), "socket");
    if (both)
        name.sin6_addr = in6addr_any;
    must(bind(fd, six ? (void *)&name : (void *)&four, six ? sizeof name : sizeof four), "bind");
    return fd;
}

static int client_of(int six, int port)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = bound(six, 0);
    must(connect(fd, six ? (void *)&name : (void *)&four, six ? sizeof name : sizeof four), "connect");
    return fd;
}

/* A question, with as much behind it, in an option of EDNS, as tells clients apart. Returns its length. */
static int question(unsigned char *to, int client, int type, int id)
{
    static const unsigned char head[] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1};
    static const unsigned char option[] = {0, 0, 41, 4, 208, 0, 0, 0, 0};
    unsigned char *at = to + sizeof head;
    int padding = client * 3;
    memcpy(to, head, sizeof head);
    to[0] = id >> 8, to[1] = id;
    *at++ = 3, *at++ = 'x', *at++ = 'a' + client / 26, *at++ = 'a' + client % 26;
    memcpy(at, "\4test\0\0", 7), at += 7;
    *at++ = type, *at++ = 0, *at++ = 1;
    memcpy(at, option, sizeof option), at += sizeof option;
    *at++ = (padding + 4) >> 8, *at++ = padding + 4;
    *at++ = 0, *at++ = 12, *at++ = padding >> 8, *at++ = padding;
    memset(at, 0, padding);
    return at + padding - to;
}

/* How many messages, of which each has room for its name if it is wanted. */
static void prepare(int count, int named)
{
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < count; i++) {
        pieces[i] = (struct iovec){data[i], SIZE};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
        if (named)
            messages[i].msg_hdr.msg_name = &names[i], messages[i].msg_hdr.msg_namelen = sizeof names[i];
    }
}

static struct end *end_of(int port, int count)
{
    for (int i = 0; i < count; i++)
        if (clients[i].port == port)
            return &clients[i];
    fprintf(stderr, "nobody has port %d\n", port);
    exit(1);
}

static void ask(int client, int round)
{
    prepare(2, 0);
    for (int i = 0; i < 2; i++)
        pieces[i].iov_len = question(data[i], client, i ? 28 : 1, round * 2 + i + 1);
    if (must(sendmmsg(clients[client].fd, messages, 2, 0), "sendmmsg") != 2)
        exit(1);
}

/* Takes what there is, and answers it. Returns how many questions it were. */
static int serve(int fd, int batch, int count, int *sends)
{
    prepare(batch, 1);
    int got = must(recvmmsg(fd, messages, batch, MSG_DONTWAIT, NULL), "recvmmsg"), answers = 0;
    for (int i = 0; i < got; i++) {
        unsigned length = messages[i].msg_len;
        if (!length)
            continue;
        struct end *client = end_of(ntohs(names[i].sin6_port), count);
        client->received += length;
        client->sent += length;
        data[i][2] |= 0x80;
        data[i][3] = (client - clients) % 2 ? 3 : 0;
        pieces[answers] = (struct iovec){data[i], length};
        struct mmsghdr answer = {.msg_hdr = {.msg_iov = &pieces[answers], .msg_iovlen = 1}};
        answer.msg_hdr.msg_name = &names[i], answer.msg_hdr.msg_namelen = messages[i].msg_hdr.msg_namelen;
        messages[answers++] = answer;
    }
    if (answers && must(sendmmsg(fd, messages, answers, 0), "sendmmsg") != answers)
        exit(1);
    *sends += answers > 0;
    return answers;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    int family = atoi(argv[1]), count = atoi(argv[2]), rounds = atoi(argv[3]), batch = atoi(argv[4]);
    int server = bound(family != 4, family == 64), port = port_of(server), silent = client_of(family == 6, port);
    int receives = 0, sends = 0, room = 1 << 22;
    char line[8];
    setsockopt(server, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    for (int i = 0; i < count; i++) {
        clients[i].fd = client_of(family == 6, port);
        clients[i].port = port_of(clients[i].fd);
    }
    if (!fgets(line, sizeof line, stdin))
        return 1;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++) {
            if (i == count / 2)
                must(send(silent, "", 0, 0), "send");
            ask(i, round);
        }
        for (int left = 2 * count; left > 0; receives++)
            left -= serve(server, batch, count, &sends);
        for (int i = 0; i < count; i++) {
            prepare(2, 0);
            if (must(recvmmsg(clients[i].fd, messages, 2, MSG_DONTWAIT, NULL), "recvmmsg") != 2)
                return 1;
        }
    }
    printf("%d %d %d", port, receives, sends);
    for (int i = 0; i < count; i++)
        printf(" %d:%ld:%ld", clients[i].port, clients[i].received, clients[i].sent);
    printf("\n");
    fflush(stdout);
    getchar(); /* until the test has looked */
    return 0;
}
