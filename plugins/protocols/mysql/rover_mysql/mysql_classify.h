/* Whether a call's data begin a command or an answer of MySQL's protocol. Pure C: compiled natively by the tests, and
 * for the kernel.
 *
 * A statement is known by its first word, a login by what it leaves empty, a greeting by a server's version, an error
 * by its SQLSTATE, a result set by its first column's catalog, which is always `def`. Servers read a packet's header
 * with one call and the rest with another, so a statement's may be missing.
 */
#ifndef ROVER_MYSQL_CLASSIFY_H
#define ROVER_MYSQL_CLASSIFY_H

static inline __attribute__((always_inline)) int mysql_word(const unsigned char *at, const char *word, unsigned int length)
{
	for (unsigned int i = 0; i < length; i++)
		if ((at[i] | 0x20) != (unsigned char)word[i])
			return 0;
	return (unsigned char)((at[length] | 0x20) - 'a') >= 26 && at[length] != '_' && at[length] < 0x80;
}

#define MYSQL_WORD(text) mysql_word(at, text, sizeof(text) - 1)

static inline __attribute__((always_inline)) int mysql_statement(const unsigned char *at)
{
	return MYSQL_WORD("select") || MYSQL_WORD("insert") || MYSQL_WORD("update") || MYSQL_WORD("delete") ||
	       MYSQL_WORD("replace") || MYSQL_WORD("set") || MYSQL_WORD("show") || MYSQL_WORD("begin") ||
	       MYSQL_WORD("commit") || MYSQL_WORD("rollback") || MYSQL_WORD("call") || MYSQL_WORD("with") ||
	       MYSQL_WORD("create") || MYSQL_WORD("drop") || MYSQL_WORD("alter") || MYSQL_WORD("start transaction") ||
	       MYSQL_WORD("truncate") || MYSQL_WORD("explain");
}

/* Whether at `begin` of the head there is COM_QUERY, with or without a list of attributes that is empty, or
 * COM_STMT_PREPARE. The compiler is not to know where that is: one copy of all these words is enough. */
static inline __attribute__((always_inline)) int mysql_command(const unsigned char *head, unsigned int begin,
							       unsigned int size)
{
	asm volatile("" : "+r"(begin));
	const unsigned char *payload = head + (begin & 15);
	unsigned int word = payload[1] == 0 && payload[2] == 1 ? 3 : 1;

	if (size < begin + 7 || (payload[0] != 0x03 && payload[0] != 0x16))
		return 0;
	asm volatile("" : "+r"(word));
	return mysql_statement(payload + (word & 3));
}

/* COM_STMT_EXECUTE: id, flags, and how often, which is always once. */
static inline __attribute__((always_inline)) int mysql_execute(const unsigned char *payload, unsigned int size,
							       unsigned int length)
{
	return length >= 10 && size >= 10 && payload[0] == 0x17 && payload[3] == 0 && payload[4] == 0 && payload[5] < 9 &&
	       payload[6] == 1 && payload[7] == 0 && payload[8] == 0 && payload[9] == 0;
}

/* Protocol 4.1: capabilities, longest packet, character set, and nothing. */
static inline __attribute__((always_inline)) int mysql_login(const unsigned char *payload, unsigned int size)
{
	if (size < 32 || !(payload[1] & 0x02))
		return 0;
	for (unsigned int i = 9; i < 28; i++)
		if (payload[i])
			return 0;
	return 1;
}

static inline __attribute__((always_inline)) int mysql_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

static inline __attribute__((always_inline)) int mysql_greeting(const unsigned char *payload, unsigned int size)
{
	int dot = payload[2] == '.' || (mysql_digit(payload[2]) && payload[3] == '.');

	return size > 20 && payload[0] == 10 && mysql_digit(payload[1]) && dot;
}

static inline __attribute__((always_inline)) int mysql_error(const unsigned char *payload, unsigned int size)
{
	if (size < 9 || payload[0] != 0xff || payload[3] != '#')
		return 0;
	for (unsigned int i = 4; i < 9; i++)
		if (!mysql_digit(payload[i]) && (payload[i] < 'A' || payload[i] > 'Z'))
			return 0;
	return 1;
}

static inline __attribute__((always_inline)) int mysql_columns(const unsigned char *head, unsigned int size)
{
	return size >= 13 && head[0] == 1 && head[1] == 0 && head[2] == 0 && head[3] == 1 && head[6] == 0 && head[7] == 0 &&
	       head[8] == 2 && head[9] == 3 && head[10] == 'd' && head[11] == 'e' && head[12] == 'f';
}

static inline __attribute__((always_inline)) int mysql_classify(const unsigned char *head, unsigned int size)
{
	unsigned int length = head[0] | (unsigned int)head[1] << 8 | (unsigned int)head[2] << 16;

	if (mysql_command(head, 0, size))
		return 1;
	if (size < 9 || length < 3)
		return mysql_columns(head, size) ? 2 : 0;
	if (head[3] == 0) {
		/* A compressed packet may have one in it that is not. */
		unsigned int packed = size > 16 && !head[4] && !head[5] && !head[6] && !head[10];

		if (mysql_command(head, packed ? 11 : 4, size) || mysql_execute(head + 4, size - 4, length))
			return 1;
		return mysql_greeting(head + 4, size - 4) ? 2 : 0;
	}
	if (head[3] < 3 && mysql_login(head + 4, size - 4))
		return 1;
	return length < 600 && mysql_error(head + 4, size - 4) ? 2 : 0;
}

#endif
