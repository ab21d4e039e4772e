/* Whether a call's data begin with HTTP/2. Pure C: compiled natively by the tests, and for the kernel.
 *
 * The client's preface, or a frame that tells who sent it: HEADERS with a pseudo header of a request or a response in
 * front, PUSH_PROMISE. SETTINGS, PING, WINDOW_UPDATE and RST_STREAM may stand before them. These tell nothing, nor does
 * DATA, nor does a response that begins with a field of the dynamic table: the next call is asked again.
 */
#ifndef ROVER_HTTP2_CLASSIFY_H
#define ROVER_HTTP2_CLASSIFY_H

#define HTTP2_HEAD 9
#define HTTP2_DYNAMIC 0xbe /* an indexed field that is not in the static table; 0xff: its number goes on */
#define HTTP2_LAST 40 /* where a frame may begin, so that what is looked at of it is within 64 bytes */

/* HPACK's first byte: an indexed field, or a literal whose name is in the static table (RFC 7541 section 6). */
static inline __attribute__((always_inline)) int http2_field(unsigned char byte)
{
	unsigned int index = byte & 0x80 ? byte & 0x7f : byte & 0x40 ? byte & 0x3f : byte & 0xe0 ? 0 : byte & 0x0f;

	if (index >= 1 && index <= 7) /* :authority, :method, :path, :scheme */
		return 1;
	return index >= 8 && index <= 14 ? 2 : 0; /* :status */
}

/* The block of HEADERS, which may begin with the size of the dynamic table. Fields of that may be anything; but a response
 * has one pseudo header, which comes first, so what has one of a request's behind them is a request. */
static inline __attribute__((always_inline)) int http2_block(const unsigned char *head, unsigned long long at)
{
	unsigned int i;

	if (head[at] >> 5 == 1)
		at += head[at] != 0x3f ? 1 : head[at + 1] < 0x80 ? 2 : head[at + 2] < 0x80 ? 3 : 4;
	if (head[at] < HTTP2_DYNAMIC)
		return http2_field(head[at]);
	for (i = 0; i < 3 && at < 62 && head[at] >= HTTP2_DYNAMIC; i++)
		at += head[at] == 0xff ? 2 : 1;
	return http2_field(head[at]) == 1;
}

/* A frame with its beginning at `at`. 3: it tells nothing, but frames may follow. */
static inline __attribute__((always_inline)) int http2_frame(const unsigned char *head, unsigned long long at)
{
	unsigned int length = head[at + 1] << 8 | head[at + 2];
	unsigned char kind = head[at + 3], flags = head[at + 4];
	unsigned int connection = !(head[at + 5] | head[at + 6] | head[at + 7] | head[at + 8]);
	unsigned int odd = head[at + 8] & 1;
	unsigned long long first = at + HTTP2_HEAD;

	if (head[at] || head[at + 5]) /* longer than anybody sends unasked; a stream beyond 2^24 */
		return 0;
	if (kind == 1 && (flags & 0xd6) == 4 && odd && length && length <= 0x4000) {
		if (flags & 8)
			first++;
		if (flags & 0x20)
			first += 5;
		return http2_block(head, first);
	}
	if (kind == 5 && flags == 4 && odd && length > 4 && length <= 0x4000)
		return !head[first] && !(head[first + 3] & 1) && http2_field(head[first + 4]) == 1 ? 2 : 0;
	if (kind == 8 && !flags && length == 4)
		return head[first] < 0x80 && (head[first] | head[first + 1] | head[first + 2] | head[first + 3]) ? 3 : 0;
	if (kind == 3 && !flags && length == 4 && odd)
		return !(head[first] | head[first + 1] | head[first + 2]) && head[first + 3] < 14 ? 3 : 0;
	if (kind == 4 && connection && flags == 1 && !length)
		return 3;
	if (kind == 6 && connection && flags < 2 && length == 8)
		return 3;
	if (kind == 4 && connection && !flags && length <= 60 && length % 6 == 0)
		return !length || (!head[first] && head[first + 1] && head[first + 1] <= 9) ? 3 : 0;
	return 0;
}

/* It unrolls into constants. */
static inline __attribute__((always_inline)) int http2_starts(const unsigned char *head, const char *text,
							      unsigned int length)
{
	for (unsigned int i = 0; i < length; i++)
		if (head[i] != (unsigned char)text[i])
			return 0;
	return 1;
}

static inline __attribute__((always_inline)) int http2_classify(const unsigned char *head, unsigned int size)
{
	unsigned long long at = 0; /* as wide as a register, so that what is checked is what the verifier sees used */
	unsigned int i;
	int said;

	if (http2_starts(head, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24))
		return size >= 24;
	for (i = 0; i < 3; i++) {
		if (at > HTTP2_LAST || at + HTTP2_HEAD > size)
			return 0;
		said = http2_frame(head, at);
		if (said != 3)
			return said;
		at += HTTP2_HEAD + head[at + 2];
	}
	return 0;
}

#endif
