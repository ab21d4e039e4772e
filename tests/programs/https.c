/* An HTTPS client that asks on one connection: https PORT PATH... Waits for a line first. To be linked statically. */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **words)
{
    char text[16384];
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    puts("ready");
    fflush(stdout);
    if (!fgets(text, sizeof(text), stdin))
        return 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SSL *ssl = SSL_new(SSL_CTX_new(TLS_client_method()));
    if (connect(fd, (struct sockaddr *)&there, sizeof(there)) || !SSL_set_fd(ssl, fd) || SSL_connect(ssl) != 1)
        return 2;
    for (int i = 2; i < count; i++) {
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: here\r\n\r\n", words[i]);
        if (SSL_write(ssl, text, strlen(text)) <= 0 || SSL_read(ssl, text, sizeof(text)) <= 0)
            return 3;
    }
    puts("done");
    fflush(stdout);
    return fgets(text, sizeof(text), stdin) == NULL;
}
