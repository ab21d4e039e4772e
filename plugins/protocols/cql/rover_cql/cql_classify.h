/* Whether a call's data begin a CQL message. Pure C: compiled natively by the tests, and for the kernel.
 *
 * An envelope says its version and direction, flags, stream, opcode and length; what its body begins with depends on the
 * opcode, and is looked at too. A frame of v5 has a checksum in its header, and begins with an envelope unless it is in
 * the middle of a long message: then it says nothing of who sent it.
 */
#ifndef ROVER_CQL_CLASSIFY_H
#define ROVER_CQL_CLASSIFY_H

#define CQL_ENVELOPE 9

/* A body, or the part of it that is in hand. size: of that part; length: of all of it. */
struct cql_body {
	const unsigned char *at;
	unsigned int size;
	unsigned int length;
};

static inline __attribute__((always_inline)) unsigned int cql_u16(const unsigned char *at)
{
	return (unsigned int)at[0] << 8 | at[1];
}

static inline __attribute__((always_inline)) unsigned int cql_u32(const unsigned char *at)
{
	return cql_u16(at) << 16 | cql_u16(at + 2);
}

static inline __attribute__((always_inline)) int cql_is_text(unsigned char byte)
{
	return (byte >= ' ' && byte <= '~') || byte == '\n' || byte == '\r' || byte == '\t';
}

/* A statement's text, of which six letters are looked at, with its length in front. */
static inline __attribute__((always_inline)) int cql_statement(const unsigned char *at, unsigned int length)
{
	unsigned int text = cql_u32(at);

	if (text < 3 || text + 4 > length)
		return 0;
	return cql_is_text(at[4]) && cql_is_text(at[5]) && cql_is_text(at[6]);
}

/* Two bytes of length and a word of letters. */
static inline __attribute__((always_inline)) int cql_word(const unsigned char *at, unsigned int length)
{
	unsigned int size = cql_u16(at);

	if (size < 2 || size > 255 || size + 2 > length)
		return 0;
	return at[2] > ' ' && at[2] <= '~' && at[3] > ' ' && at[3] <= '~';
}

/* Whether a body that is not compressed, of which 11 bytes may be looked at, is what the opcode says. */
static inline __attribute__((always_inline)) int cql_fits(unsigned int opcode, const unsigned char *at,
							  unsigned int length)
{
	unsigned int number = cql_u32(at);

	switch (opcode) {
	case 0x00: /* ERROR: a code and a text */
		return length >= 6 && number <= 0x2500 && (!(number & 0xff) || (number & 0xff) <= 10) &&
		       cql_u16(at + 4) + 6 <= length;
	case 0x01: /* STARTUP: options by their names */
		return length >= 8 && at[0] == 0 && at[1] >= 1 && at[1] <= 32 && cql_word(at + 2, length - 2) &&
		       at[4] >= 'A' && at[4] <= 'Z';
	case 0x02: /* READY */
	case 0x05: /* OPTIONS */
		return length == 0;
	case 0x03: /* AUTHENTICATE: a class */
		return cql_word(at, length) && cql_u16(at) + 2 == length;
	case 0x06: /* SUPPORTED */
		return length >= 8 && at[0] == 0 && at[1] >= 1 && at[1] <= 64 && cql_word(at + 2, length - 2);
	case 0x07: /* QUERY */
	case 0x09: /* PREPARE */
		return length >= 7 && cql_statement(at, length);
	case 0x08: /* RESULT: its kind, then rows, a keyspace's name, an id, or a change */
		if (length < 4)
			return 0;
		if (number == 1)
			return length == 4;
		if (number == 2)
			return length >= 16 && !at[4] && !at[5] && !at[6] && at[7] < 16 && !at[8] && !at[9];
		if (number == 4)
			return length > 22 && cql_u16(at + 4) == 16;
		return (number == 3 || number == 5) && cql_word(at + 4, length - 4);
	case 0x0a: /* EXECUTE: ids are MD5 */
		return length >= 21 && cql_u16(at) == 16;
	case 0x0b: /* REGISTER */
		return length >= 8 && at[0] == 0 && at[1] >= 1 && at[1] <= 8 && cql_word(at + 2, length - 2) &&
		       at[4] >= 'A' && at[4] <= 'Z';
	case 0x0c: /* EVENT */
		return cql_word(at, length) && at[2] >= 'A' && at[2] <= 'Z';
	case 0x0d: /* BATCH: its type, how many, and the first of them */
		if (length < 12 || at[0] > 2 || at[1] > 4 || !cql_u16(at + 1))
			return 0;
		return at[3] == 1 ? cql_u16(at + 4) == 16 : !at[3] && cql_statement(at + 4, length - 4);
	case 0x0e:
	case 0x0f:
	case 0x10: /* a token */
		return length >= 4 && (number == length - 4 || number == 0xffffffff);
	}
	return 0;
}

/* A compressed body: Snappy has its length in front, in bytes of seven bits, LZ4 in four bytes; then literals come. */
static inline __attribute__((always_inline)) int cql_fits_compressed(unsigned int opcode, const unsigned char *at,
								     unsigned int length)
{
	unsigned int plain = cql_u32(at), room = length * 255;

	if (length == 1)
		return at[0] == 0 && (opcode == 2 || opcode == 5);
	if (length == 4 || length == 5)
		return plain == 0 && (opcode == 2 || opcode == 5);
	if (length < 8)
		return 0;
	if (at[0] == 0 && plain >= 4 && plain <= room && plain + plain / 255 + 20 >= length && at[4] >= 0x40) {
		if (at[4] < 0xf0) /* as many literals are there */
			return cql_u32(at + 5) >> 24 == 0 && cql_fits(opcode, at + 5, plain) ? 1 : at[4] < 0xb0;
		return cql_fits(opcode, at + 6, plain);
	}
	if (at[0] < 0x80)
		return at[0] >= 4 && !(at[1] & 3) && at[1] >= 12 && at[1] < 0xf0 && (at[1] < 40 || cql_fits(opcode, at + 2, at[0]));
	if (at[1] >= 0x80 || at[1] == 0)
		return 0;
	plain = (at[0] & 0x7f) | (unsigned int)at[1] << 7;
	if (at[2] & 3)
		return 0;
	return at[2] < 0xf0 ? cql_fits(opcode, at + 3, plain) : at[2] == 0xf0 && cql_fits(opcode, at + 4, plain);
}

/* framed: inside a frame of v5. */
static inline __attribute__((always_inline)) int cql_envelope(const unsigned char *head, unsigned int size, int framed)
{
	unsigned int version = head[0] & 0x7f, flags = head[1], opcode = head[4], length = cql_u32(head + 5);
	const unsigned char *body = head + CQL_ENVELOPE;
	int verdict = head[0] & 0x80 ? 2 : 1;
	int asks = opcode == 1 || opcode == 5 || opcode == 7 || (opcode >= 9 && opcode <= 11) || opcode == 13 || opcode == 15;
	int handshake = opcode <= 3 || opcode == 5 || opcode == 6;

	if (size < CQL_ENVELOPE || opcode > 16 || opcode == 4 || flags > 31 || length > 1 << 28)
		return 0;
	if (framed ? version != 5 : version != 3 && version != 4 && version != 0x41 && version != 0x42 && !(version == 5 && handshake))
		return 0;
	if (asks != (verdict == 1) || (verdict == 1 && head[2] > 0x7f))
		return 0;
	if (opcode == 12 ? cql_u16(head + 2) != 0xffff : verdict == 2 && head[2] == 0xff && head[3] != 0xff)
		return 0;
	if (length && size < CQL_ENVELOPE + (length < 12 ? length : 12))
		return 0;
	if (flags & 1 && version < 5)
		return cql_fits_compressed(opcode, body, length) ? verdict : 0;
	if (verdict == 2 && flags & 2) { /* a trace's id: a UUID of time */
		if (length < 16 || size < CQL_ENVELOPE + 16 + 11 || body[6] >> 4 != 1)
			return length == 20 && size >= 29 && body[6] >> 4 == 1 && cql_fits(opcode, body + 16, 4) ? 2 : 0;
		body += 16;
		length -= 16;
		flags &= ~2;
	}
	if (flags & 12 && verdict == 2) /* warnings: texts */
		return length > 8 && !body[0] && body[1] && cql_is_text(body[4]) && cql_is_text(body[5]) && cql_u16(body + 2) < length ? 2 : 0;
	if (flags & 4) /* a payload: names and values */
		return length > 8 && !body[0] && body[1] && cql_word(body + 2, length - 2) ? 1 : 0;
	return cql_fits(opcode, body, length) ? verdict : 0;
}

static inline __attribute__((always_inline)) unsigned int cql_crc24(const unsigned char *at, unsigned int count)
{
	unsigned int crc = 0x875060;

	for (unsigned int i = 0; i < 5; i++) {
		if (i >= count)
			break;
		crc ^= (unsigned int)at[i] << 16;
		for (unsigned int bit = 0; bit < 8; bit++) {
			crc <<= 1;
			if (crc & 0x1000000)
				crc ^= 0x1974F0B;
		}
	}
	return crc;
}

static inline __attribute__((always_inline)) int cql_classify(const unsigned char *head, unsigned int size)
{
	unsigned int crc;

	if (size >= 6 + CQL_ENVELOPE && head[2] < 4) {
		crc = head[3] | (unsigned int)head[4] << 8 | (unsigned int)head[5] << 16;
		if (cql_crc24(head, 3) == crc)
			return cql_envelope(head + 6, size - 6, 1);
	}
	if (size >= 8 + CQL_ENVELOPE && head[4] < 8) {
		crc = head[5] | (unsigned int)head[6] << 8 | (unsigned int)head[7] << 16;
		if (cql_crc24(head, 5) == crc) {
			if (!(head[4] & 3) && !head[3] && head[2] < 2) /* it becomes nothing: it is not compressed */
				return cql_envelope(head + 8, size - 8, 1);
			if (head[8] < 0x50) /* so few literals */
				return 0;
			head += head[8] < 0xf0 ? 9 : 10;
			if ((head[0] & 0x7f) != 5 || head[1] > 31 || head[4] > 16)
				return 0;
			return head[0] & 0x80 ? 2 : 1;
		}
	}
	return cql_envelope(head, size, 0);
}

#endif
