/* Whether a call's data begin a Kafka request. Pure C: compiled natively by the tests, and for the kernel.
 *
 * A request names an API and its version, and nearly always its client. Brokers and clients in Java read the length
 * with one call and the rest with another, so the length may be missing. Responses say nothing that would tell them
 * apart from other protocols: a request tells on which side the client is.
 */
#ifndef ROVER_KAFKA_CLASSIFY_H
#define ROVER_KAFKA_CLASSIFY_H

#define KAFKA_LAST_KEY 92
#define KAFKA_LAST_VERSION 18
#define KAFKA_LONGEST_CLIENT 255
#define KAFKA_LARGEST (1 << 20) /* request that carries no records */

static inline __attribute__((always_inline)) unsigned int kafka_u16(const unsigned char *at)
{
	return (unsigned int)at[0] << 8 | at[1];
}

/* An answer that begins with an array of names looks like a Produce of as many versions as there are small correlation
 * ids. What follows the name tells: a number of partitions there, here a transaction's id, which is null or not empty.
 */
static inline __attribute__((always_inline)) int kafka_produce(const unsigned char *head, unsigned int at,
							       unsigned int size, unsigned int version)
{
	if (version < 3 || at > 60 || at + 2 > size)
		return 0;
	/* Hidden, or the compiler drops the masks, and the verifier of 6.1 does not know what was checked above. */
	__asm__("" : "+r"(at));
	return version >= 9 || (head[at & 63] | head[(at + 1) & 63]) != 0;
}

/* From `at` on: key, version, correlation id, the client's id as text, of which 16 letters are looked at. */
static inline __attribute__((always_inline)) int kafka_header(const unsigned char *head, unsigned int at,
							      unsigned int size, unsigned int whole)
{
	unsigned int key = kafka_u16(head + at), version = kafka_u16(head + at + 2), length = kafka_u16(head + at + 8);

	if (size < at + 11 || key > KAFKA_LAST_KEY || version > KAFKA_LAST_VERSION || head[at + 4] > 0x7f)
		return 0;
	if (length == 0 || length > KAFKA_LONGEST_CLIENT || length + 10 > whole)
		return 0;
	for (unsigned int i = at + 10; i < at + 26; i++)
		if (i < at + 10 + length && i < size && (head[i] < ' ' || head[i] > '~'))
			return 0;
	return key != 0 ? whole <= KAFKA_LARGEST : kafka_produce(head, at + 10 + length, size, version);
}

static inline __attribute__((always_inline)) int kafka_classify(const unsigned char *head, unsigned int size)
{
	unsigned int whole = (kafka_u16(head) << 16) | kafka_u16(head + 2);

	if (size >= 15 && whole >= 11 && whole <= 0x3fffffff && kafka_header(head, 4, size, whole))
		return 1;
	return kafka_header(head, 0, size, size < 64 ? size : KAFKA_LARGEST);
}

#endif
