/* Whether a call's data begin a message of RESP. Pure C: compiled natively by the tests, and for the kernel.
 *
 * A request is an array whose first string is a command. Answers may be arrays of strings too, so only words that
 * commands begin with count, each connection uses one of them soon. POP3 says "+OK" and "-ERR" as well: of those, only
 * answers that it never gives are taken.
 */
#ifndef ROVER_REDIS_CLASSIFY_H
#define ROVER_REDIS_CLASSIFY_H

static inline __attribute__((always_inline)) int redis_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

/* How long a number of one to three digits and the end of its line are; 0 if that is not what is there. */
static inline __attribute__((always_inline)) unsigned int redis_line(const unsigned char *at)
{
	if (!redis_digit(at[0]))
		return 0;
	if (at[1] == '\r')
		return at[2] == '\n' ? 3 : 0;
	if (!redis_digit(at[1]))
		return 0;
	if (at[2] == '\r')
		return at[3] == '\n' ? 4 : 0;
	return redis_digit(at[2]) && at[3] == '\r' && at[4] == '\n' ? 5 : 0;
}

/* The first four bytes of a word, in capitals, as one number. */
#define REDIS_WORD(a, b, c, d) \
	((unsigned int)(a) << 24 | (unsigned int)(b) << 16 | (unsigned int)(c) << 8 | (unsigned int)(d))

/* at: behind the command's length. Words of three letters have an end of line in the fourth place. */
static inline __attribute__((always_inline)) int redis_command(const unsigned char *at)
{
	unsigned int word = 0;
	for (unsigned int i = 0; i < 4; i++)
		word = word << 8 | (at[i] >= 'a' && at[i] <= 'z' ? at[i] - 32u : at[i]);
	switch (word) {
	case REDIS_WORD('G', 'E', 'T', '\r'):
	case REDIS_WORD('S', 'E', 'T', '\r'):
	case REDIS_WORD('D', 'E', 'L', '\r'):
	case REDIS_WORD('T', 'T', 'L', '\r'):
	case REDIS_WORD('A', 'U', 'T', 'H'):
	case REDIS_WORD('B', 'L', 'P', 'O'):
	case REDIS_WORD('B', 'R', 'P', 'O'):
	case REDIS_WORD('C', 'L', 'I', 'E'): /* CLIENT */
	case REDIS_WORD('C', 'L', 'U', 'S'): /* CLUSTER */
	case REDIS_WORD('C', 'O', 'M', 'M'): /* COMMAND */
	case REDIS_WORD('C', 'O', 'N', 'F'): /* CONFIG */
	case REDIS_WORD('D', 'E', 'C', 'R'):
	case REDIS_WORD('E', 'V', 'A', 'L'):
	case REDIS_WORD('E', 'X', 'I', 'S'): /* EXISTS */
	case REDIS_WORD('E', 'X', 'P', 'I'): /* EXPIRE */
	case REDIS_WORD('G', 'E', 'T', 'E'):
	case REDIS_WORD('H', 'D', 'E', 'L'):
	case REDIS_WORD('H', 'E', 'L', 'L'): /* HELLO */
	case REDIS_WORD('H', 'G', 'E', 'T'):
	case REDIS_WORD('H', 'I', 'N', 'C'): /* HINCRBY */
	case REDIS_WORD('H', 'M', 'G', 'E'):
	case REDIS_WORD('H', 'S', 'E', 'T'):
	case REDIS_WORD('I', 'N', 'C', 'R'):
	case REDIS_WORD('I', 'N', 'F', 'O'):
	case REDIS_WORD('L', 'P', 'O', 'P'):
	case REDIS_WORD('L', 'P', 'U', 'S'): /* LPUSH */
	case REDIS_WORD('L', 'R', 'A', 'N'): /* LRANGE */
	case REDIS_WORD('M', 'G', 'E', 'T'):
	case REDIS_WORD('M', 'S', 'E', 'T'):
	case REDIS_WORD('M', 'U', 'L', 'T'): /* MULTI */
	case REDIS_WORD('P', 'I', 'N', 'G'):
	case REDIS_WORD('P', 'S', 'U', 'B'): /* PSUBSCRIBE */
	case REDIS_WORD('P', 'U', 'B', 'L'): /* PUBLISH */
	case REDIS_WORD('R', 'E', 'P', 'L'): /* REPLCONF */
	case REDIS_WORD('R', 'P', 'O', 'P'):
	case REDIS_WORD('R', 'P', 'U', 'S'): /* RPUSH */
	case REDIS_WORD('S', 'A', 'D', 'D'):
	case REDIS_WORD('S', 'C', 'A', 'N'):
	case REDIS_WORD('S', 'E', 'L', 'E'): /* SELECT */
	case REDIS_WORD('S', 'E', 'T', 'E'):
	case REDIS_WORD('S', 'E', 'T', 'N'):
	case REDIS_WORD('S', 'M', 'E', 'M'): /* SMEMBERS */
	case REDIS_WORD('S', 'U', 'B', 'S'): /* SUBSCRIBE */
	case REDIS_WORD('X', 'A', 'D', 'D'):
	case REDIS_WORD('X', 'R', 'E', 'A'): /* XREAD, XREADGROUP */
	case REDIS_WORD('Z', 'A', 'D', 'D'):
	case REDIS_WORD('Z', 'R', 'A', 'N'): /* ZRANGE */
		return 1;
	}
	return 0;
}

static inline __attribute__((always_inline)) int redis_classify(const unsigned char *head, unsigned int size)
{
	unsigned int line, length;
	if (size < 4)
		return 0;
	line = redis_line(head + 1);
	if (head[0] == '*') {
		if (!line || head[1 + line] != '$')
			return 0;
		length = redis_line(head + 2 + line);
		return length && redis_command(head + 2 + line + length);
	}
	if (head[0] == ':' || head[0] == '$')
		return line && (head[0] == '$' || size == 1 + line) ? 2 : 0;
	if (head[0] == '%')
		return line && (head[1 + line] == '$' || head[1 + line] == '+') ? 2 : 0;
	if (head[0] == '+')
		return size == 7 && head[1] == 'P' && head[2] == 'O' && head[3] == 'N' && head[4] == 'G' ? 2 : 0;
	return 0;
}

#endif
