/* The fast path: exchanges that are counted where they pass, so that nobody need read them. Pure C: compiled for the
 * kernel, and natively by tests.
 *
 * A connection is in the kernel's hands while both sides are between messages, or in one whose length is known. What a
 * protocol's judge cannot say goes to the parser, with a note: where both directions go on, and the exchange that is open
 * there. The kernel goes on following what it ships, and takes the connection back when an exchange has ended that it
 * could follow from its first byte to its last.
 *
 * A judge gets the first bytes of a call with which a message must begin, and says how long it is, or that it cannot:
 *	int <name>_request(const unsigned char *data, unsigned int size, unsigned long long seed, struct rover_judged *);
 *	int <name>_response(const unsigned char *data, unsigned int size, unsigned int kind, struct rover_judged *);
 */
#ifndef ROVER_FAST_H
#define ROVER_FAST_H

#define ROVER_FAST_BYTES 1024 /* FAST_BYTES of rover_core.api */
#define ROVER_FAST_FUNCTION static inline __attribute__((always_inline))

/* The condition of a judge's loops, beside their own: the kernel takes them for finite only so, and counts (may_goto, 6.9;
 * bounded loops with branches are more than its verifier looks through). The first compilers that know the instruction are
 * younger than those that are installed: written as `r = 0; may_goto +1; r = 1`. */
#ifdef ROVER_FAST_PROGRAM
#define ROVER_GO_ON                                                                                         \
	({                                                                                                  \
		long on;                                                                                    \
		asm volatile("%0 = 0\n\t.8byte 0x00000000000100e5\n\t%0 = 1" : "=r"(on));                  \
		on;                                                                                         \
	})
#else
#define ROVER_GO_ON 1
#endif

/* What a judge says. */
enum rover_judgement {
	ROVER_LEAVE = -1, /* never again of this connection: it may go on in another protocol */
	ROVER_UNJUDGED,
	ROVER_JUDGED,
};

/* length: of the whole message. Of a request: operation, equal for those that the parser names alike; kind, which its
 * response's judge is told. Of a response: status. */
struct rover_judged {
	unsigned long long length;
	unsigned long long operation;
	unsigned int kind;
	unsigned int status;
};

enum rover_phase { ROVER_PARSED, ROVER_IDLE, ROVER_ASKED, ROVER_ANSWERED };

/* Of each connection. By sender: 0 the client, 1 the server. */
struct rover_fast {
	unsigned long long next[2]; /* position of the byte that comes next */
	unsigned long long owed[2]; /* bytes of the messages that have begun and are to come */
	unsigned long long size[2]; /* of the messages of the open exchange */
	unsigned long long began_ns; /* the request's first byte */
	unsigned long long ended_ns; /* the response's newest */
	unsigned long long operation;
	unsigned int status;
	unsigned char kind;
	unsigned char phase;
	unsigned char shipped;  /* the parser gets the open exchange, too */
	unsigned char handed;   /* it is ours, and the parser gets what comes behind it */
	unsigned char apart;    /* the parser has not got all that came before */
	unsigned char overlaps; /* the client does not wait for answers: it is the parser's for ever */
	unsigned char turn;     /* who sent last: 1 the server */
	unsigned char generation;
	unsigned int unused;
};

/* What is to be done with a call. */
enum rover_verdict {
	ROVER_FAST_SHIP = 1,
	ROVER_FAST_COUNT = 2, /* the open exchange is over */
	ROVER_FAST_JUDGE = 4, /* a message begins: `rover_judge_request` or `rover_judge_response` goes on */
};

/* What the parser is told. */
enum rover_note {
	ROVER_NOTE_PLACE = 1,   /* where both directions go on, always */
	ROVER_NOTE_ASKED = 2,   /* a request is open, */
	ROVER_NOTE_ANSWERED = 4, /* and a response to it has come: they are an exchange */
	ROVER_NOTE_TEACH = 8,   /* nobody knows what the request that follows is called */
};

/* A call's bytes. side: whose they are. */
struct rover_moved {
	unsigned long long position;
	unsigned long long other; /* position of the next byte that goes the other way */
	unsigned long long length;
	unsigned long long began_ns;
	unsigned long long ended_ns;
	unsigned int side;
	unsigned int on; /* 0: the parser is to get everything */
	unsigned long long skip; /* bytes at its begin that are of the message before, if it is shipped */
	unsigned long long resume[2]; /* what a note says of the places */
	unsigned int note;
};

/* The parser takes over, the open exchange included. */
ROVER_FAST_FUNCTION void rover_hand_over(struct rover_fast *fast, struct rover_moved *moved)
{
	if (fast->shipped)
		fast->owed[0] = fast->owed[1] = 0; /* the parser skips it */
	else if (fast->phase == ROVER_ASKED)
		moved->note |= ROVER_NOTE_PLACE | ROVER_NOTE_ASKED;
	else if (fast->phase == ROVER_ANSWERED)
		moved->note |= ROVER_NOTE_PLACE | ROVER_NOTE_ASKED | ROVER_NOTE_ANSWERED;
	else if (fast->apart)
		moved->note |= ROVER_NOTE_PLACE;
	fast->phase = ROVER_PARSED;
	fast->shipped = fast->handed = fast->apart = 0;
}

/* The open exchange is over where both of its messages are. */
ROVER_FAST_FUNCTION int rover_finish(struct rover_fast *fast)
{
	int counted = !fast->shipped;
	if (fast->phase != ROVER_ANSWERED || fast->owed[0] || fast->owed[1])
		return 0;
	fast->phase = fast->handed ? ROVER_PARSED : ROVER_IDLE;
	fast->apart = counted && !fast->handed;
	fast->shipped = fast->handed = 0;
	return counted ? ROVER_FAST_COUNT : 0;
}

/* The client sends while the answer is on its way: what it sends is the parser's, the rest of the answer still ours. */
ROVER_FAST_FUNCTION int rover_hand_rest(struct rover_fast *fast, struct rover_moved *moved)
{
	if (fast->phase != ROVER_ANSWERED || fast->shipped)
		return 0;
	if (!fast->handed)
		moved->note |= ROVER_NOTE_PLACE;
	fast->handed = fast->overlaps = 1;
	return 1;
}

/* Bytes are missing: more than the message had that they are of. */
ROVER_FAST_FUNCTION int rover_fast_lost(struct rover_fast *fast, struct rover_moved *moved, unsigned int side)
{
	int verdict = ROVER_FAST_SHIP;
	fast->owed[side] = 0;
	if (side) {
		fast->ended_ns = moved->began_ns;
		verdict |= rover_finish(fast);
	} else if (rover_hand_rest(fast, moved)) {
		return verdict;
	}
	rover_hand_over(fast, moved);
	return verdict;
}

/* A call: what of it belongs to the messages that have begun, and whether another one begins. A request that began before
 * the answer passed was answered by it, and is only reported late. */
ROVER_FAST_FUNCTION int rover_follow(struct rover_fast *fast, struct rover_moved *moved)
{
	unsigned int side = moved->side & 1, turned = fast->turn != side;
	unsigned long long missing = moved->position - fast->next[side], taken = moved->length;
	int verdict = 0, waited = moved->began_ns >= fast->ended_ns;
	moved->note = 0;
	moved->skip = 0;
	moved->resume[0] = fast->next[0] + fast->owed[0];
	moved->resume[1] = fast->next[1] + fast->owed[1];
	fast->next[side] = moved->position + moved->length;
	fast->turn = side;
	if (missing > fast->owed[side])
		return rover_fast_lost(fast, moved, side);
	fast->owed[side] -= missing;
	if (taken > fast->owed[side])
		taken = fast->owed[side];
	fast->owed[side] -= taken;
	if (side)
		fast->ended_ns = missing && !taken ? moved->began_ns : moved->ended_ns;
	if (fast->shipped)
		verdict = ROVER_FAST_SHIP;
	else
		moved->skip = taken;
	verdict |= rover_finish(fast);
	if (taken == moved->length)
		return verdict;
	if (moved->on && !taken && !missing && !fast->overlaps) {
		int asks = fast->phase == ROVER_IDLE || (fast->phase == ROVER_PARSED && turned && waited);
		if (side ? fast->phase == ROVER_ASKED : asks)
			return verdict | ROVER_FAST_JUDGE;
	}
	verdict |= ROVER_FAST_SHIP;
	if (!side && fast->phase >= ROVER_ASKED) {
		fast->overlaps = 1;
		if (rover_hand_rest(fast, moved))
			return verdict;
	}
	rover_hand_over(fast, moved);
	return verdict;
}

/* known: the operation has a name. */
ROVER_FAST_FUNCTION int rover_judge_request(struct rover_fast *fast, struct rover_moved *moved, int judgement,
					    struct rover_judged *judged, int known)
{
	if (judgement != ROVER_JUDGED || moved->length > judged->length) {
		fast->overlaps = judgement == ROVER_LEAVE || judgement == ROVER_JUDGED;
		rover_hand_over(fast, moved);
		return ROVER_FAST_SHIP;
	}
	fast->shipped = !known || fast->phase == ROVER_PARSED;
	if (fast->shipped && fast->apart)
		moved->note |= ROVER_NOTE_PLACE;
	if (!known)
		moved->note |= ROVER_NOTE_TEACH;
	fast->phase = ROVER_ASKED;
	fast->size[0] = judged->length;
	fast->owed[0] = judged->length - moved->length;
	fast->size[1] = 0;
	fast->began_ns = moved->began_ns;
	fast->operation = judged->operation;
	fast->kind = judged->kind;
	fast->status = 0;
	return fast->shipped ? ROVER_FAST_SHIP : 0;
}

ROVER_FAST_FUNCTION int rover_judge_response(struct rover_fast *fast, struct rover_moved *moved, int judgement,
					     struct rover_judged *judged)
{
	int verdict = fast->shipped ? ROVER_FAST_SHIP : 0;
	if (judgement != ROVER_JUDGED || moved->length > judged->length) {
		rover_hand_over(fast, moved);
		return ROVER_FAST_SHIP;
	}
	fast->phase = ROVER_ANSWERED;
	fast->size[1] = judged->length;
	fast->owed[1] = judged->length - moved->length;
	fast->status = judged->status;
	fast->ended_ns = moved->ended_ns;
	return verdict | rover_finish(fast);
}

/* The connection is over, or was forgotten. Returns what the parser is to be told. */
ROVER_FAST_FUNCTION unsigned int rover_fast_end(struct rover_fast *fast)
{
	unsigned int note = 0;
	if (fast->phase >= ROVER_ASKED && !fast->shipped) {
		note = ROVER_NOTE_PLACE | ROVER_NOTE_ASKED | (fast->phase == ROVER_ANSWERED ? ROVER_NOTE_ANSWERED : 0);
		fast->size[0] -= fast->owed[0];
		fast->size[1] -= fast->owed[1];
	}
	fast->phase = ROVER_PARSED;
	return note;
}

#endif
