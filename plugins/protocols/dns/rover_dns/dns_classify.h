/* Whether a call's data begin a DNS message, over UDP or, behind its length, over TCP. Pure C, for the kernel too.
 *
 * There is no magic number. What tells a message from others: flags that mean something, one question (several and none
 * are left to later messages, but for multicast), a name in labels of printable bytes, and a class behind it.
 */
#ifndef ROVER_DNS_CLASSIFY_H
#define ROVER_DNS_CLASSIFY_H

#define DNS_HEADER 12
#define DNS_NAME 45 /* bytes of a name that are looked at: as many as may follow both headers in 64 with type and class */
#define DNS_HEAD 64

static inline __attribute__((always_inline)) unsigned int dns_word(const unsigned char *at)
{
	return (unsigned int)at[0] << 8 | at[1];
}

/* A name that ends within DNS_NAME bytes, with type and class behind it; or as many bytes of a longer one. */
static inline __attribute__((always_inline)) int dns_question(const unsigned char *name, unsigned int size)
{
	unsigned int left = 0; /* bytes of the current label */

	for (unsigned int i = 0; i < DNS_NAME; i++) {
		unsigned char byte = name[i];

		if (i >= size)
			return 0;
		if (left) {
			if (byte <= ' ' || byte > '~')
				return 0;
			left--;
		} else if (!byte) {
			unsigned int class = dns_word(name + i + 3) & 0x7fff;

			return i + 5 <= size && (class == 1 || class == 3 || class == 255) && name[i + 1] < 2 &&
			       (name[i + 1] || name[i + 2]);
		} else if (byte < 64) {
			left = byte;
		} else {
			return 0;
		}
	}
	return 1;
}

/* Answers by multicast have no question (RFC 6762 section 6): id 0, authoritative, and records of the Internet. */
static inline __attribute__((always_inline)) int dns_multicast(const unsigned char *head, unsigned int size)
{
	return size > DNS_HEADER + 11 && !dns_word(head) && head[2] == 0x84 && !head[3] && !head[6] && head[7] &&
	       !dns_word(head + 8) && !head[10] && head[12] && head[12] < 64 && head[13] > ' ';
}

static inline __attribute__((always_inline)) int dns_message(const unsigned char *head, unsigned int size)
{
	unsigned int opcode = head[2] >> 3 & 15, response = head[2] >> 7, questions = dns_word(head + 4);

	if (size < DNS_HEADER + 5 || (opcode != 0 && opcode != 4 && opcode != 5) || head[3] & 0x40)
		return 0;
	if (response && !questions)
		return dns_multicast(head, size) ? 2 : 0;
	if (questions < 1 || questions > 16)
		return 0;
	/* A query has no answers unless it says what is known (RFC 6762 section 7.1); nobody sends 256 of anything else. */
	if (!response && opcode == 0 && ((head[6] | head[8] | head[10]) || head[3] & 0x8f || (dns_word(head) && head[7])))
		return 0;
	if (head[8] || head[10])
		return 0;
	return dns_question(head + DNS_HEADER, size - DNS_HEADER) ? 1 + response : 0;
}

static inline __attribute__((always_inline)) int dns_classify(const unsigned char *head, unsigned int size)
{
	unsigned int length = dns_word(head);
	int verdict = dns_message(head, size);

	if (verdict)
		return verdict;
	if (size < 2 + DNS_HEADER + 5 || length < DNS_HEADER + 5 || (size < DNS_HEAD && length + 2 > size))
		return 0;
	return dns_message(head + 2, size - 2);
}

#endif
