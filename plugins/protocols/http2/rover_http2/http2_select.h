/* Which bytes of a frame are wanted: all, but of DATA the head alone. Pure C: compiled natively by the tests, and for the
 * kernel.
 */
#ifndef ROVER_HTTP2_SELECT_H
#define ROVER_HTTP2_SELECT_H

#define HTTP2_SELECT_HEAD 9

/* head: the first bytes of a frame. Says how many of them, and of what is behind them, are wanted, and how many behind
 * those are not. 0 if that is no frame. */
static inline __attribute__((always_inline)) int http2_select(const unsigned char *head, unsigned long long *ship,
							      unsigned long long *skip)
{
	unsigned long long length = head[0] << 16 | head[1] << 8 | head[2];
	unsigned int stream = head[5] | head[6] | head[7] | head[8];
	unsigned char kind = head[3], flags = head[4];

	*ship = 24;
	*skip = 0;
	if (head[0] == 'P' && head[1] == 'R' && head[2] == 'I' && head[3] == ' ' && head[4] == '*')
		return 1; /* the preface */
	*ship = HTTP2_SELECT_HEAD;
	if (kind == 0) {
		*skip = length;
		return length <= 0x100000 && !(flags & 0xf6) && head[5] < 0x80 && stream;
	}
	*ship += length;
	return length <= 65000 && head[5] < 0x80 && (kind <= 9 || kind == 0x0a || kind == 0x0c || kind == 0x10);
}

#endif
