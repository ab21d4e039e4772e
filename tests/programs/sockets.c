/* sockets MODE [TIMES]: after a line on standard input, does 23 times, or TIMES, what MODE names on a socket and prints its own account.
 *
 * Output: "<calls> <bytes>" of what was sent, or else received, as the system calls returned it. The connection is made
 * before the line comes, unless MODE is about making it. At the other end is a child that sends plenty and reads all.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 1009, PLENTY = 65536 };
static int times = 23;
static char data[PLENTY];
static struct sockaddr_in6 there;
static socklen_t there_size;
static int pipes[2], file;

static void must(long result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static pid_t spawn(void)
{
    pid_t child = fork();
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it never outlives a test */
    return child;
}

static long many(int fd, int sends)
{
    struct iovec piece[3];
    struct mmsghdr messages[3];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < 3; i++) {
        piece[i] = (struct iovec){data, 101};
        messages[i].msg_hdr.msg_iov = &piece[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    long bytes = 0, done = sends ? sendmmsg(fd, messages, 3, 0) : recvmmsg(fd, messages, 3, MSG_WAITALL, NULL);
    for (long i = 0; i < done; i++)
        bytes += messages[i].msg_len;
    return bytes;
}

static long once(const char *mode, int fd)
{
    struct iovec pieces[2] = {{data, 500}, {data + 500, SIZE - 500}};
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
#define IS(name) (strcmp(mode, name) == 0)
    if (IS("write") || IS("dup") || IS("shared"))
        return write(fd, data, SIZE);
    if (IS("writev"))
        return writev(fd, pieces, 2);
    if (IS("pwritev2"))
        return pwritev2(fd, pieces, 2, -1, 0);
    if (IS("send") || IS("unix") || IS("udp-connected"))
        return send(fd, data, SIZE, 0);
    if (IS("sendto") || IS("udp") || IS("udp6"))
        return sendto(fd, data, SIZE, 0, there_size ? (struct sockaddr *)&there : NULL, there_size);
    if (IS("sendmsg"))
        return sendmsg(fd, &message, 0);
    if (IS("sendmmsg"))
        return many(fd, 1);
    if (IS("sendfile"))
        return sendfile(fd, file, &(off_t){0}, PLENTY);
    if (IS("splice-out"))
        return write(pipes[1], data, SIZE) == SIZE ? splice(pipes[0], NULL, fd, NULL, SIZE, 0) : -1;
    if (IS("read"))
        return read(fd, data, SIZE);
    if (IS("readv"))
        return readv(fd, pieces, 2);
    if (IS("preadv2"))
        return preadv2(fd, pieces, 2, -1, 0);
    if (IS("recv"))
        return recv(fd, data, SIZE, MSG_WAITALL);
    if (IS("peek"))
        return recv(fd, data, SIZE, MSG_PEEK) < 0 ? -1 : recv(fd, data, SIZE, MSG_WAITALL);
    if (IS("recvmsg"))
        return recvmsg(fd, &message, MSG_WAITALL);
    if (IS("recvmmsg"))
        return many(fd, 0);
    if (IS("splice-in")) {
        long bytes = splice(fd, NULL, pipes[1], NULL, SIZE, 0);
        return bytes > 0 ? read(pipes[0], data, bytes) : bytes;
    }
    if (IS("file")) /* no socket at all */
        return pwrite(file, data, SIZE, 0) < 0 || lseek(file, 0, SEEK_SET) < 0 ? -1 : write(file, data, SIZE);
    fprintf(stderr, "no mode %s\n", mode);
    exit(2);
}

static void serve_child(int fd)
{
    static char sink[PLENTY];
    signal(SIGPIPE, SIG_IGN);
    if (write(fd, data, PLENTY) < 0)
        _exit(0);
    while (read(fd, sink, sizeof sink) > 0)
        ;
    _exit(0);
}

static int listener(int family, int type)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, type, 0);
    must(bind(fd, family == AF_INET ? (void *)&four : (void *)&six, family == AF_INET ? sizeof four : sizeof six), "bind");
    if (type == SOCK_STREAM)
        must(listen(fd, 4096), "listen");
    there_size = sizeof there;
    must(getsockname(fd, (struct sockaddr *)&there, &there_size), "getsockname");
    return fd;
}

/* The end of a connection whose other end a child has. */
static int connected(int family)
{
    int fd = listener(family, SOCK_STREAM);
    if (spawn() == 0) {
        int other = socket(family, SOCK_STREAM, 0);
        must(connect(other, (struct sockaddr *)&there, there_size), "connect");
        serve_child(other);
    }
    there_size = 0;
    return accept(fd, NULL, NULL);
}

static int connect_to(struct sockaddr *address, socklen_t size, int type)
{
    int fd = socket(address->sa_family, type, 0);
    if (connect(fd, address, size) && errno == EINPROGRESS) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        must(poll(&wait, 1, 10000), "poll");
        must(connect(fd, address, size), "connect again");
    }
    return fd;
}

static void go(void)
{
    char line[8];
    if (!fgets(line, sizeof line, stdin))
        exit(1);
}

/* MODE connect, connect6, connect-mapped, connect-nonblocking: `times` connections that are closed at once. */
static void make_connections(const char *mode)
{
    int six = IS("connect6"), fd = listener(six ? AF_INET6 : AF_INET, SOCK_STREAM);
    int type = SOCK_STREAM | (IS("connect-nonblocking") ? SOCK_NONBLOCK : 0);
    if (IS("connect-mapped")) {
        struct sockaddr_in *four = (void *)&there;
        struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = four->sin_port};
        inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
        there = mapped, there_size = sizeof mapped;
    }
    if (spawn() == 0)
        for (;;)
            close(accept(fd, NULL, NULL));
    close(fd);
    go();
    for (int i = 0; i < times; i++)
        close(connect_to((struct sockaddr *)&there, there_size, type));
    printf("%d 0\n", times);
}

/* MODE accept, accept4: `times` connections accepted, of which one byte is read. */
static void take_connections(const char *mode)
{
    int fd = listener(AF_INET, SOCK_STREAM);
    if (spawn() == 0) {
        for (int i = 0; i < times; i++) {
            int other = connect_to((struct sockaddr *)&there, there_size, SOCK_STREAM);
            if (write(other, "x", 1) != 1 || read(other, data, 1))
                _exit(1);
            close(other);
        }
        _exit(0);
    }
    go();
    for (int i = 0; i < times; i++) {
        int other = IS("accept") ? accept(fd, NULL, NULL) : accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (read(other, data, 1) != 1)
            exit(1);
        close(other);
    }
    printf("%d %d\n", times, times);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    times = argc > 2 ? atoi(argv[2]) : times;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGCHLD, SIG_IGN);
    must(pipe(pipes), "pipe");
    file = memfd_create("data", 0);
    must(write(file, data, PLENTY), "write");
    if (strncmp(mode, "connect", 7) == 0) {
        make_connections(mode);
    } else if (strncmp(mode, "accept", 6) == 0) {
        take_connections(mode);
    } else {
        int fd, both[2];
        if (IS("unix")) {
            must(socketpair(AF_UNIX, SOCK_STREAM, 0, both), "socketpair");
            if (spawn() == 0)
                serve_child(both[1]);
            close(both[1]);
            fd = both[0];
        } else if (strncmp(mode, "udp", 3) == 0) {
            int server = listener(IS("udp6") ? AF_INET6 : AF_INET, SOCK_DGRAM);
            if (spawn() == 0)
                while (recv(server, data, sizeof data, 0) > 0)
                    ;
            fd = socket(IS("udp6") ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
            if (IS("udp-connected"))
                must(connect(fd, (struct sockaddr *)&there, there_size), "connect");
        } else {
            fd = connected(AF_INET);
        }
        if (IS("dup"))
            fd = dup(fd);
        go();
        long bytes = 0;
        for (int i = 0; i < times; i++) {
            long done = once(mode, fd);
            must(done, mode);
            bytes += done;
        }
        printf("%d %ld\n", times, bytes);
    }
    getchar(); /* until the test has looked */
    return 0;
}
