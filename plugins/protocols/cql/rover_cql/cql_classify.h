/* Whether a call's data begin a CQL message. Pure C: compiled natively by the tests, and for the kernel.
 *
 * An envelope says its version and direction, flags, stream, opcode and length; what its body begins with depends on the
 * opcode, and is looked at too. A frame of v5 has a checksum in its header, and begins with an envelope unless it is in
 * the middle of a long message: then it says nothing of who sent it.
 *
 * Everything is found by its index, of which the verifier knows the bounds, and each function is used once or twice: what
 * is inlined ten times makes a program too large.
 */
#ifndef ROVER_CQL_CLASSIFY_H
#define ROVER_CQL_CLASSIFY_H

#define CQL_HEAD 64
#define CQL_ENVELOPE 9
#define CQL_LOOKED_AT 11 /* bytes of a body */

static inline __attribute__((always_inline)) unsigned int cql_u8(const unsigned char *head, unsigned int at)
{
	return head[at & (CQL_HEAD - 1)];
}

static inline __attribute__((always_inline)) unsigned int cql_u16(const unsigned char *head, unsigned int at)
{
	return cql_u8(head, at) << 8 | cql_u8(head, at + 1);
}

static inline __attribute__((always_inline)) unsigned int cql_u32(const unsigned char *head, unsigned int at)
{
	return cql_u16(head, at) << 16 | cql_u16(head, at + 2);
}

/* Printable, or space of any kind: one comparison, since the verifier follows each. */
static inline __attribute__((always_inline)) int cql_is_text(unsigned int byte)
{
	return byte - 9 < 118;
}

/* Two bytes of length and a word that begins with a letter. */
static inline __attribute__((always_inline)) int cql_word(const unsigned char *head, unsigned int at, unsigned int room)
{
	unsigned int size = cql_u16(head, at), first = cql_u8(head, at + 2) | 32;

	return size - 2 < 254 && size + 2 <= room && first - 'a' < 26 && cql_is_text(cql_u8(head, at + 3));
}

/* Four bytes of length and a statement. */
static inline __attribute__((always_inline)) int cql_text(const unsigned char *head, unsigned int at, unsigned int room)
{
	unsigned int size = cql_u32(head, at);

	return size - 3 < room - 6 && cql_is_text(cql_u8(head, at + 4)) && cql_is_text(cql_u8(head, at + 5)) &&
	       cql_is_text(cql_u8(head, at + 6));
}

/* Whether a body that is not compressed is what the opcode says. */
static inline __attribute__((always_inline)) int cql_fits(unsigned int opcode, const unsigned char *head, unsigned int at,
							  unsigned int length)
{
	unsigned int number = cql_u32(head, at), count = cql_u16(head, at), word = at, text = at;

	switch (opcode) {
	case 0x02: /* READY */
	case 0x05: /* OPTIONS */
		return length == 0;
	case 0x00: /* ERROR: a code and a text */
		return length >= 6 && number <= 0x2500 && (number & 0xff) <= 10 && cql_u16(head, at + 4) + 6 <= length;
	case 0x0a: /* EXECUTE: ids are MD5 */
		return length >= 21 && count == 16;
	case 0x0e: /* AUTH_CHALLENGE */
	case 0x0f: /* AUTH_RESPONSE */
	case 0x10: /* AUTH_SUCCESS: tokens */
		return length >= 4 && (number == length - 4 || number == 0xffffffff);
	case 0x08: /* RESULT: its kind */
		if (number == 1)
			return length == 4;
		if (number == 2) /* rows: flags and columns */
			return length >= 16 && cql_u32(head, at + 4) < 16 && !cql_u16(head, at + 8);
		if (number == 4) /* prepared */
			return length > 22 && cql_u16(head, at + 4) == 16;
		if (number != 3 && number != 5)
			return 0;
		word += 4;
		break;
	case 0x01: /* STARTUP: options */
	case 0x06: /* SUPPORTED */
	case 0x0b: /* REGISTER: events */
		if (!count || count > 64)
			return 0;
		word += 2;
		break;
	case 0x0d: /* BATCH: its type, how many, and the first of them */
		if (number >> 24 > 2 || number << 8 >> 16 > 1024 || (number & 0xff) > 1)
			return 0;
		if (number & 1)
			return length >= 25 && cql_u16(head, at + 4) == 16;
		text += 4;
		break;
	}
	if (opcode == 0x07 || opcode == 0x09 || opcode == 0x0d) /* QUERY, PREPARE */
		return length >= 7 + text - at && cql_text(head, text, length - (text - at));
	return length >= 4 + word - at && cql_word(head, word, length - (word - at));
}

/* A compressed body: LZ4 has its length in front in four bytes, Snappy in bytes of seven bits; then come literals. */
static inline __attribute__((always_inline)) int cql_unpacks(unsigned int opcode, const unsigned char *head,
							     unsigned int at, unsigned int length)
{
	unsigned int plain = cql_u32(head, at), token, literals;

	if (opcode == 2 || opcode == 5)
		return length <= 5 && cql_u8(head, at) == 0;
	if (length < 6)
		return 0;
	if (cql_u8(head, at) == 0) {
		token = cql_u8(head, at + 4);
		literals = token >> 4;
		at += literals == 15 ? 6 : 5;
		if (length > plain + plain / 128 + 20)
			return 0;
	} else {
		plain = cql_u8(head, at++);
		if (plain & 0x80)
			plain = (plain & 0x7f) | cql_u8(head, at++) << 7;
		if (plain & 0x4000)
			plain = (plain & 0x3fff) | cql_u8(head, at++) << 14;
		token = cql_u8(head, at++);
		if (token & 3 || token > 0xf4)
			return 0;
		literals = (token >> 2) + 1;
		at += token < 0xf0 ? 0 : token == 0xf0 ? 1 : 2;
		if (length > plain + plain / 4 + 40)
			return 0;
	}
	if (plain < 4 || plain / 256 > length || !literals)
		return 0;
	if (literals < CQL_LOOKED_AT)
		return cql_u8(head, at) <= 2;
	return cql_fits(opcode, head, at, plain);
}

/* An envelope that begins at head[at]. framed: inside a frame of v5. */
static inline __attribute__((always_inline)) int cql_envelope(const unsigned char *head, unsigned int size, unsigned int at,
							      int framed)
{
	unsigned int version = cql_u8(head, at) & 0x7f, flags = cql_u8(head, at + 1), stream = cql_u16(head, at + 2);
	unsigned int opcode = cql_u8(head, at + 4), length = cql_u32(head, at + 5);
	int verdict = cql_u8(head, at) & 0x80 ? 2 : 1;
	unsigned int known = 1u << (opcode & 31);

	if (size < at + CQL_ENVELOPE || opcode > 16 || flags > 31 || length > 1 << 28)
		return 0;
	/* STARTUP, OPTIONS, QUERY, PREPARE, EXECUTE, REGISTER, BATCH, AUTH_RESPONSE; all others but 4 */
	if (!((verdict == 1 ? 0x0aea2 & known : 0x1514d & known)))
		return 0;
	if (version - 3 > 2 || (version == 5 ? !framed && !(known & 0x6f) : framed))
		return 0;
	if ((verdict == 1 || opcode != 12) && stream > 0x7fff)
		return 0;
	if (opcode == 12 && stream != 0xffff)
		return 0;
	at += CQL_ENVELOPE;
	if (size < at + (length < CQL_LOOKED_AT ? length : CQL_LOOKED_AT))
		return 0;
	if (flags & 1 && version != 5)
		return cql_unpacks(opcode, head, at, length) ? verdict : 0;
	if (verdict == 2 && flags & 2) { /* a trace's id: a UUID of time */
		if (length < 16 || cql_u8(head, at + 6) >> 4 != 1)
			return 0;
		at += 16;
		length -= 16;
		if (size < at + (length < CQL_LOOKED_AT ? length : CQL_LOOKED_AT))
			return 0;
	}
	if (flags & 4 || (verdict == 2 && flags & 8)) /* warnings are texts, a payload has names */
		return length > 8 && cql_u16(head, at) - 1 < 64 && cql_u16(head, at + 2) < length &&
				       cql_is_text(cql_u8(head, at + 4)) && cql_is_text(cql_u8(head, at + 5))
			       ? verdict
			       : 0;
	return cql_fits(opcode, head, at, length) ? verdict : 0;
}

/* Whether `count` bytes have the checksum that is behind them. */
static inline __attribute__((always_inline)) int cql_checked(const unsigned char *head, unsigned int count)
{
	unsigned int crc = 0x875060;

	for (unsigned int i = 0; i < count; i++) {
		crc ^= (unsigned int)head[i] << 16;
		for (unsigned int bit = 0; bit < 8; bit++) {
			unsigned int carry = crc >> 23;

			__asm__("" : "+r"(carry)); /* or the compiler makes a branch of it, and the verifier follows each */
			crc = (crc << 1) ^ 0x1974F0B * carry;
		}
	}
	return crc == (head[count] | (unsigned int)head[count + 1] << 8 | (unsigned int)head[count + 2] << 16);
}

static inline __attribute__((always_inline)) int cql_classify(const unsigned char *head, unsigned int size)
{
	unsigned int at = 0;

	if (size >= 15 && head[2] < 4 && cql_checked(head, 3)) {
		at = 6;
	} else if (size >= 17 && head[4] < 8 && cql_checked(head, 5)) {
		at = 8;
		if (head[4] & 3 || head[3] || head[2] > 1) { /* it becomes more: behind a token literals come */
			at = head[8] < 0xf0 ? 9 : 10;
			if (head[8] < 0x50 || (head[at] & 0x7f) != 5 || head[at + 1] > 31 || head[at + 4] > 16)
				return 0;
			return head[at] & 0x80 ? 2 : 1;
		}
	}
	return cql_envelope(head, size, at, at != 0);
}

#endif
