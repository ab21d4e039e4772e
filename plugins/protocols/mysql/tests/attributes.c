/* MySQL's own C library: prepared statements, a cursor, long data, several results, attributes of queries and of
   executions, packets over 16 MB, and what it did.
   attributes PORT LARGEST ALGORITHM LEVEL [tls] begins when it may read a line. LEVEL: of zstd. */
#include "statements.h"

static const char *names[] = {"trace", "weight"};
static char trace[] = "s3cr3t";
static unsigned long length = sizeof(trace) - 1;
static int weight = 7;
static MYSQL_BIND attributes[] = {
	{.buffer_type = MYSQL_TYPE_STRING, .buffer = trace, .buffer_length = sizeof(trace), .length = &length},
	{.buffer_type = MYSQL_TYPE_LONG, .buffer = &weight},
};

static void with_attributes(MYSQL_STMT *statement, const char *text)
{
	int id = 2;
	MYSQL_BIND values[] = {{.buffer_type = MYSQL_TYPE_LONG, .buffer = &id}, attributes[0], attributes[1]};
	const char *all[] = {NULL, names[0], names[1]};

	mysql_stmt_prepare(statement, text, strlen(text));
	said(22, text, NULL, 0);
	mysql_stmt_bind_named_param(statement, values, 3, all);
	mysql_stmt_execute(statement);
	said(23, "", "rows", fetched(statement));
}

static void ask(const char *text, size_t size, unsigned int count)
{
	long long rows = 0;
	MYSQL_RES *result;

	mysql_bind_param(connection, count, attributes, names);
	mysql_real_query(connection, text, size);
	do
		if ((result = mysql_store_result(connection))) {
			rows += mysql_num_rows(result);
			mysql_free_result(result);
		}
	while (!mysql_next_result(connection));
	said(3, text, "rows", rows);
}

static void ask_for(const char *text)
{
	ask(text, strlen(text), 0);
}

/* A statement of that length, and an answer. */
static void ask_much(size_t size)
{
	char *text = malloc(size + 1), answer[100];

	memset(text, 'x', size);
	memcpy(text, "SELECT '", 8);
	strcpy(text + size - 1, "'");
	ask(text, size, 2);
	free(text);
	snprintf(answer, sizeof(answer), "SELECT REPEAT('x', %zu)", size);
	ask_for(answer);
}

int main(int count, char **arguments)
{
	static const char marked[] = "SELECT mysql_query_attribute_string('trace'), 's3cr3t'";

	if (count < 5)
		return 2;
	connection = mysql_init(NULL);
	mysql_options(connection, MYSQL_OPT_COMPRESSION_ALGORITHMS, arguments[3]);
	mysql_options(connection, MYSQL_OPT_ZSTD_COMPRESSION_LEVEL, &(unsigned int){atoi(arguments[4])});
	mysql_options(connection, MYSQL_OPT_SSL_MODE, &(unsigned int){count > 5 ? SSL_MODE_REQUIRED : SSL_MODE_DISABLED});
	mysql_options(connection, MYSQL_OPT_GET_SERVER_PUBLIC_KEY, &(_Bool){1});
	mysql_options(connection, MYSQL_OPT_MAX_ALLOWED_PACKET, &(unsigned long){1 << 26});
	if (!begin(arguments[1]))
		return 1;
	mysql_set_server_option(connection, MYSQL_OPTION_MULTI_STATEMENTS_ON);
	said(27, "", NULL, 0);
	with_statement(thrice, "SELECT seq, 's3cr3t' FROM seq_1_to_9 WHERE seq > ?");
	with_statement(with_cursor, "SELECT seq FROM seq_1_to_9");
	ask_for("DROP TABLE IF EXISTS c");
	ask_for("CREATE TABLE c (id INT PRIMARY KEY, big LONGBLOB)");
	ask_for("INSERT INTO c (id) VALUES (7001), (7002); SELECT 1; SELECT * FROM missing; SELECT 2");
	ask_for("CALL two()");
	with_statement(in_parts, "UPDATE c SET big = ?");
	with_statement(with_attributes, "SELECT seq FROM seq_1_to_9 WHERE seq > ?");
	ask(marked, sizeof(marked) - 1, 2);
	ask(marked, sizeof(marked) - 1, 0);
	ask_much(atol(arguments[2]));
	ask_for("SET SESSION session_track_gtids = OWN_GTID, session_track_state_change = 1, character_set_client = latin1");
	ask_for("SET SESSION session_track_transaction_info = 'CHARACTERISTICS'");
	ask_for("BEGIN");
	ask_for("DELETE FROM c WHERE id > 7001");
	ask_for("ROLLBACK");
	end();
	return 0;
}
