/* Whether a call's data begin a MongoDB message. Pure C: compiled natively by the tests, and for the kernel.
 *
 * A header is a length, two ids and an opcode, all little-endian; behind it is what the opcode says. A request answers
 * nothing (0, or -1 from some drivers before OP_MSG); of the opcodes that both sides use that tells them apart.
 */
#ifndef ROVER_MONGODB_CLASSIFY_H
#define ROVER_MONGODB_CLASSIFY_H

#define MONGODB_LONGEST (48000000 + 16384) /* maxMessageSizeBytes of every server so far, and a header */

static inline __attribute__((always_inline)) unsigned int mongodb_word(const unsigned char *at)
{
	return (unsigned int)at[0] | (unsigned int)at[1] << 8 | (unsigned int)at[2] << 16 | (unsigned int)at[3] << 24;
}

/* A document of no more than `room` bytes whose first element has a type and a key that begins like one. */
static inline __attribute__((always_inline)) int mongodb_document(const unsigned char *at, unsigned int room)
{
	unsigned int length = mongodb_word(at);

	if (length < 5 || length > room)
		return 0;
	return length == 5 ? !at[4] : at[4] >= 1 && at[4] <= 19 && (at[5] == '$' || at[5] == '_' || at[5] >= '0') && at[5] < 127;
}

/* A printable name with a dot in it, in the first bytes of which `dot` may lie. */
static inline __attribute__((always_inline)) int mongodb_namespace(const unsigned char *at)
{
	int dot = 0;

	for (unsigned int i = 0; i < 40; i++) {
		if (!at[i])
			return dot && i > 2;
		if (at[i] < ' ' || at[i] > '~')
			return 0;
		dot |= at[i] == '.';
	}
	return 1;
}

static inline __attribute__((always_inline)) int mongodb_is_opcode(unsigned int opcode)
{
	return opcode == 1 || opcode == 2001 || opcode == 2002 || (opcode >= 2004 && opcode <= 2007) ||
	       (opcode >= 2010 && opcode <= 2013);
}

static inline __attribute__((always_inline)) int mongodb_classify(const unsigned char *head, unsigned int size)
{
	unsigned int length = mongodb_word(head), answers = mongodb_word(head + 8), opcode = mongodb_word(head + 12);
	unsigned int room = length - 16;
	const unsigned char *body = head + 16;
	int verdict = !answers || answers == 0xffffffff ? 1 : 2;

	if (size < 26 || length < 26 || length > MONGODB_LONGEST)
		return 0;
	switch (opcode) {
	case 1:
		if (size < 36 || body[0] > 15 || body[1] || body[2] || body[3])
			return 0;
		if (!mongodb_word(body + 16))
			return length == 36 ? 2 : 0;
		return size >= 42 && mongodb_word(body + 16) < 1 << 20 && mongodb_document(body + 20, room - 20) ? 2 : 0;
	case 2001:
	case 2002:
	case 2004:
	case 2005:
	case 2006:
		return verdict == 1 && mongodb_namespace(body + 4) ? 1 : 0;
	case 2007:
		return verdict == 1 && !mongodb_word(body) && length == 24 + 8 * mongodb_word(body + 4) ? 1 : 0;
	case 2010:
		return verdict == 1 && body[0] > ' ' && body[0] <= '~' && (body[1] >= ' ' || !body[1]) ? 1 : 0;
	case 2011:
		return mongodb_document(body, room) ? 2 : 0;
	case 2012:
		return mongodb_is_opcode(mongodb_word(body)) && mongodb_word(body + 4) < MONGODB_LONGEST && body[8] <= 3
			       ? mongodb_word(body) == 1 || mongodb_word(body) == 2011 ? 2 : verdict
			       : 0;
	case 2013:
		if (mongodb_word(body) & 0xfffc)
			return 0;
		if (body[4] == 1) /* documents before the command */
			return mongodb_word(body + 5) < room - 5 && body[9] > ' ' && body[9] <= '~' ? verdict : 0;
		return !body[4] && mongodb_document(body + 5, room - 5) ? verdict : 0;
	}
	return 0;
}

#endif
