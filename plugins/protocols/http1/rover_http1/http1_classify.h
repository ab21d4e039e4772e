/* Whether a call's data begin an HTTP/1.x message. Pure C: compiled natively by the tests, and for the kernel.
 *
 * A request is a method, a space, and what a target can begin with; that tells it from FTP, SMTP, SIP, RTSP and Redis,
 * which have words in common with it. A response is a version and a status.
 */
#ifndef ROVER_HTTP1_CLASSIFY_H
#define ROVER_HTTP1_CLASSIFY_H

/* The kernel has no memcmp for programs to call, so the comparison is spelled out; it unrolls into constants. */
static inline __attribute__((always_inline)) int http1_starts(const unsigned char *head, const char *text,
							      unsigned int length)
{
	for (unsigned int i = 0; i < length; i++)
		if (head[i] != (unsigned char)text[i])
			return 0;
	return 1;
}

#define HTTP1_STARTS(text) http1_starts(head, text, sizeof(text) - 1)
#define HTTP1_METHOD(text) if (HTTP1_STARTS(text " ")) return http1_target(head + sizeof(text), size, sizeof(text))

static inline __attribute__((always_inline)) int http1_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

static inline __attribute__((always_inline)) int http1_letter(unsigned char byte)
{
	return (unsigned char)((byte | 0x20) - 'a') < 26;
}

/* origin-form, asterisk-form or absolute-form (RFC 9112 section 3.2). */
static inline __attribute__((always_inline)) int http1_target(const unsigned char *head, unsigned int size,
							      unsigned int before)
{
	if (size <= before)
		return 0;
	return head[0] == '/' || (head[0] == '*' && head[1] == ' ') || HTTP1_STARTS("http://") || HTTP1_STARTS("https://");
}

static inline __attribute__((always_inline)) int http1_classify(const unsigned char *head, unsigned int size)
{
	if (HTTP1_STARTS("HTTP/1.")) {
		int fits = (head[7] == '0' || head[7] == '1') && head[8] == ' ' && head[9] >= '1' && head[9] <= '9' &&
			   http1_digit(head[10]) && http1_digit(head[11]);
		return size >= 12 && fits ? 2 : 0;
	}
	HTTP1_METHOD("GET");
	HTTP1_METHOD("POST");
	HTTP1_METHOD("PUT");
	HTTP1_METHOD("HEAD");
	HTTP1_METHOD("DELETE");
	HTTP1_METHOD("PATCH");
	HTTP1_METHOD("OPTIONS");
	HTTP1_METHOD("TRACE");
	HTTP1_METHOD("PROPFIND");
	HTTP1_METHOD("PROPPATCH");
	HTTP1_METHOD("MKCOL");
	HTTP1_METHOD("COPY");
	HTTP1_METHOD("MOVE");
	HTTP1_METHOD("LOCK");
	HTTP1_METHOD("UNLOCK");
	HTTP1_METHOD("REPORT");
	HTTP1_METHOD("SEARCH");
	if (HTTP1_STARTS("CONNECT ")) /* authority-form: a host's first byte */
		return size > 8 && (http1_letter(head[8]) || http1_digit(head[8]) || head[8] == '[');
	return 0;
}

#endif
