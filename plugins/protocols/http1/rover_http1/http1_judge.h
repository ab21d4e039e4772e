/* HTTP/1.x' fast path (rover/fast.h): how long a message is whose head is whole, in one call, and plain.
 *
 * Says less than the parser, and never anything else: tests run both over all that is published. What it does not judge:
 * bodies without a length, anything that may change the protocol, folded lines, targets that are no path, odd lines.
 */
#ifndef ROVER_HTTP1_JUDGE_H
#define ROVER_HTTP1_JUDGE_H

/* Hides a value from the compiler, which else knows better than to do what the verifier asks for. */
#define HTTP1_HIDE(value) __asm__ volatile("" : "+r"(value))

/* A zero that the verifier does not know to be one. What a loop counts begins with it and is masked in each turn: so it is
 * the same to the verifier in all of them, and it need not look at all that may have happened in those before. */
#define HTTP1_ZERO(name, some)              \
	unsigned long long name = (some);   \
	HTTP1_HIDE(name);                   \
	name = (some) - name;               \
	HTTP1_HIDE(name)

/* An index that the verifier sees to be one; and the next, of which it is to know no more than that. */
#define HTTP1_INDEX(i) ((i) & (ROVER_FAST_BYTES - 1))
#define HTTP1_STEP(i)     \
	(i)++;            \
	HTTP1_HIDE(i);    \
	(i) = HTTP1_INDEX(i); \
	HTTP1_HIDE(i)

#define HTTP1_PLACES (2 * ROVER_FAST_BYTES - 1)
#define HTTP1_TARGET 512  /* bytes of a request line that are looked at */
#define HTTP1_DIGITS 15   /* of a length */
#define HTTP1_SEGMENT 40  /* rover_core.wire.http._LONG */
#define HTTP1_PRIME 0x100000001b3ULL
#define HTTP1_HEAD_METHOD 4
#define HTTP1_FUNCTION static inline __attribute__((always_inline))

HTTP1_FUNCTION int http1_has(const unsigned char *data, const char *text, unsigned int length)
{
	for (unsigned int i = 0; i < length; i++)
		if (data[i] != (unsigned char)text[i])
			return 0;
	return 1;
}

/* text: in lower case. */
HTTP1_FUNCTION int http1_names(const unsigned char *data, const char *text, unsigned int length)
{
	for (unsigned int i = 0; i < length; i++)
		if ((data[i] | 0x20) != (unsigned char)text[i])
			return 0;
	return 1;
}

#define HTTP1_IS(at, text) http1_has(data + (at), text, sizeof(text) - 1)
#define HTTP1_NAMES(at, text) http1_names(data + (at), text, sizeof(text) - 1)

/* What a header says of the body: 0 nothing, 1 its length, -1 more than is judged, -2 another protocol. */
HTTP1_FUNCTION int http1_header(const unsigned char *data)
{
	unsigned char first = data[0] | 0x20;
	if (data[0] == ' ' || data[0] == '\t')
		return -1;
	if (first == 'c' && HTTP1_NAMES(1, "ontent-length"))
		return data[14] == ':' ? 1 : data[14] == ' ' || data[14] == '\t' ? -1 : 0;
	if (first == 't' && HTTP1_NAMES(1, "ransfer-encoding"))
		return data[17] == ':' || data[17] == ' ' || data[17] == '\t' ? -1 : 0;
	if (first == 'e' && HTTP1_NAMES(1, "xpect"))
		return data[6] == ':' || data[6] == ' ' || data[6] == '\t' ? -1 : 0;
	if (first == 'u' && HTTP1_NAMES(1, "pgrade"))
		return data[7] == ':' || data[7] == ' ' || data[7] == '\t' ? -2 : 0;
	return 0;
}

/* The number that a line ends with, behind a space or none; whether it is one. Without branches: each would double what the
 * verifier looks through. */
HTTP1_FUNCTION int http1_number(const unsigned char *data, unsigned long long *number)
{
	unsigned long long digits = 0, goes_on = 1, digit;
	data += data[0] == ' ';
	*number = 0;
	for (unsigned long long i = 0; i < HTTP1_DIGITS; i++) {
		HTTP1_HIDE(i); /* or it is unrolled, and fills the stack */
		digit = (unsigned long long)data[i] - '0';
		goes_on &= ((digit - 10) & ~digit) >> 63;
		HTTP1_HIDE(goes_on);
		*number = *number * (1 + 9 * goes_on) + digit * goes_on;
		digits += goes_on;
	}
	return digits && data[digits & 15] == '\r';
}

/* Where a head ends, and its length of the body. from: in its first line. 1, or what http1_header says else. */
HTTP1_FUNCTION int http1_head(const unsigned char *data, unsigned int size, unsigned int from, unsigned long long *end,
			      unsigned long long *length, int *said)
{
	HTTP1_ZERO(zero, size);
	unsigned long long place = zero & HTTP1_PLACES, last = place, i = HTTP1_INDEX(zero + from);
	HTTP1_HIDE(i);
	while (ROVER_GO_ON) {
		if (i + 2 >= size)
			return -1;
		const unsigned char *here = data + HTTP1_INDEX(i);
		unsigned char before = data[HTTP1_INDEX(i - 1)];
		HTTP1_STEP(i);
		if (here[0] != '\n')
			continue;
		if (before != '\r')
			return -1;
		if (here[1] == '\r' && here[2] == '\n') {
			last = (i + 2) & HTTP1_PLACES;
			break;
		}
		int header = http1_header(here + 1);
		if (header < 0)
			return header;
		if (header && place)
			return -1;
		if (header)
			place = (i + 15) & HTTP1_PLACES;
	}
	*end = last;
	*said = place != 0;
	*length = 0;
	if (!last || !place)
		return last ? 1 : -1;
	return http1_number(data + HTTP1_INDEX(place), length) ? 1 : -1;
}

/* Whether a segment of a path is likely a value, as far as that is sure: rover_core.wire.http._VALUE. */
#define HTTP1_DIGIT 1
#define HTTP1_HEX 2
#define HTTP1_MARK 8
#define HTTP1_OTHER 16
#define HTTP1_KINDS 31
#define HTTP1_LENGTHS 63 /* beyond which they begin anew: by then it is a value for its length */

/* Characters as bits: those below '@', and those from it on. */
#define HTTP1_DIGITS_BITS 0x3ff000000000000ULL
#define HTTP1_HEX_BITS 0x7e0000007eULL
#define HTTP1_TOKEN_BITS 0x200000000000ULL, 0x47ffff8087ffff80ULL /* letters beyond, - _ ~ */
#define HTTP1_MARK_BITS 0x2c00142000000000ULL, 0x1ULL /* @ : % , ; = * */

/* byte: below 128. Without branches, as in http1_number. */
HTTP1_FUNCTION unsigned long long http1_among(unsigned long long byte, unsigned long long low, unsigned long long high)
{
	unsigned long long upper = byte >> 6 & 1;
	return (low * (1 ^ upper) + high * upper) >> (byte & 63) & 1;
}

HTTP1_FUNCTION unsigned long long http1_kind(unsigned long long byte)
{
	unsigned long long digit = http1_among(byte, HTTP1_DIGITS_BITS, 0), hex = http1_among(byte, 0, HTTP1_HEX_BITS);
	unsigned long long token = http1_among(byte, HTTP1_TOKEN_BITS), mark = http1_among(byte, HTTP1_MARK_BITS);
	unsigned long long other = 1 ^ (digit | hex | token | mark);
	return digit | hex << 1 | token << 2 | mark << 3 | other << 4;
}

/* digits: a bit for each of the first three. */
HTTP1_FUNCTION int http1_value(unsigned long long kinds, unsigned long long length, unsigned long long digits)
{
	if (kinds == HTTP1_DIGIT || kinds & HTTP1_MARK)
		return 1;
	if (!(kinds & ~(unsigned long long)(HTTP1_DIGIT | HTTP1_HEX)))
		return digits & 1 && length >= 8;
	return !(kinds & HTTP1_OTHER) && digits & 4 && length >= 16;
}

/* The length of a method that is judged, with the space behind it; 0 for others. */
HTTP1_FUNCTION unsigned int http1_method(const unsigned char *data, unsigned int *kind)
{
#define HTTP1_METHOD_IS(number, text) if (HTTP1_IS(0, text " ")) { *kind = number; return sizeof(text); }
	HTTP1_METHOD_IS(1, "GET")
	HTTP1_METHOD_IS(2, "POST")
	HTTP1_METHOD_IS(3, "PUT")
	HTTP1_METHOD_IS(HTTP1_HEAD_METHOD, "HEAD")
	HTTP1_METHOD_IS(5, "DELETE")
	HTTP1_METHOD_IS(6, "PATCH")
	HTTP1_METHOD_IS(7, "OPTIONS")
	return 0;
}

HTTP1_FUNCTION int http1_request(const unsigned char *data, unsigned int size, unsigned long long seed,
				 struct rover_judged *judged)
{
	HTTP1_ZERO(zero, size);
	unsigned int kind = 0, at = http1_method(data, &kind);
	unsigned long long kinds = zero & HTTP1_KINDS, digits = zero & 7, length = zero & HTTP1_LENGTHS;
	unsigned long long byte, said, i = HTTP1_INDEX(zero + at);
	if (!at)
		return size > 8 && HTTP1_IS(0, "CONNECT ") ? ROVER_LEAVE : ROVER_UNJUDGED;
	if (size < 32 || data[at] != '/')
		return ROVER_UNJUDGED;
	unsigned long long hash = seed ^ kind, before = hash;
	while (ROVER_GO_ON) {
		if (i >= size || i >= HTTP1_TARGET)
			return ROVER_UNJUDGED;
		byte = data[HTTP1_INDEX(i)];
		if (byte <= ' ' || byte >= 0x7f || byte == '?')
			break;
		HTTP1_STEP(i);
		if (byte == '/') {
			if (http1_value(kinds, length, digits))
				hash = before ^ 0xff;
			hash = before = (hash ^ '/') * HTTP1_PRIME;
			kinds = zero & HTTP1_KINDS;
			digits = zero & 7;
			length = zero & HTTP1_LENGTHS;
			continue;
		}
		said = http1_kind(byte);
		length = (length + 1) & HTTP1_LENGTHS;
		kinds = (kinds | said | (HTTP1_SEGMENT - length) >> 63 << 3) & HTTP1_KINDS;
		said &= HTTP1_DIGIT;
		digits = (digits << said | said) & 7;
		hash = (hash ^ byte) * HTTP1_PRIME;
	}
	if (http1_value(kinds, length, digits))
		hash = before ^ 0xff;
	while (ROVER_GO_ON) {
		if (i >= size || i >= HTTP1_TARGET)
			return ROVER_UNJUDGED;
		byte = data[HTTP1_INDEX(i)];
		if (byte <= ' ' || byte >= 0x7f)
			break;
		HTTP1_STEP(i);
	}
	const unsigned char *version = data + HTTP1_INDEX(i);
	if (i + 11 > size || !http1_has(version, " HTTP/1.", 8) || (version[8] | 1) != '1' || version[9] != '\r' ||
	    version[10] != '\n')
		return ROVER_UNJUDGED;
	unsigned long long head = 0, body = 0;
	int has = 0, found = http1_head(data, size, 4, &head, &body, &has);
	if (found != 1)
		return found == -2 ? ROVER_LEAVE : ROVER_UNJUDGED;
	judged->length = head + body;
	judged->operation = hash ^ hash >> 32;
	judged->kind = kind;
	return ROVER_JUDGED;
}

HTTP1_FUNCTION int http1_response(const unsigned char *data, unsigned int size, unsigned int kind,
				  struct rover_judged *judged)
{
	if (size < 19 || !HTTP1_IS(0, "HTTP/1.") || (data[7] | 1) != '1' || data[8] != ' ')
		return ROVER_UNJUDGED;
	unsigned int hundreds = data[9] - '0', tens = data[10] - '0', ones = data[11] - '0';
	if (hundreds < 2 || hundreds > 9 || tens > 9 || ones > 9 || (data[12] != ' ' && data[12] != '\r'))
		return ROVER_UNJUDGED;
	unsigned long long head = 0, body = 0;
	int has = 0;
	if (http1_head(data, size, 12, &head, &body, &has) != 1)
		return ROVER_UNJUDGED;
	judged->status = 100 * hundreds + 10 * tens + ones;
	if (kind == HTTP1_HEAD_METHOD || judged->status == 204 || judged->status == 304)
		body = 0;
	else if (!has)
		return ROVER_UNJUDGED;
	judged->length = head + body;
	return ROVER_JUDGED;
}

#endif
