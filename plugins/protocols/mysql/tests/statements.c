/* MariaDB's own C library: prepared statements, a cursor, long data, bulk and pipelined executions, and what it did.
   statements PORT begins when it may read a line. */
#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static MYSQL *connection;

static void said(int command, const char *text, const char *figure, long long value)
{
	unsigned int code = mysql_errno(connection);

	printf("{\"command\": %d, \"text\": \"%s\", \"code\": ", command, text);
	printf(code ? "%u" : "null", code);
	printf(", \"state\": \"%s\"", code ? mysql_sqlstate(connection) : "");
	if (figure && !code)
		printf(", \"%s\": %lld", figure, value);
	puts("}");
}

static long long fetched(MYSQL_STMT *statement)
{
	long long rows = 0;

	while (!mysql_stmt_fetch(statement))
		rows++;
	return rows;
}

static void with_rows(MYSQL_STMT *statement, const char *text, int id, int times)
{
	MYSQL_BIND value = {.buffer_type = MYSQL_TYPE_LONG, .buffer = &id};

	mysql_stmt_prepare(statement, text, strlen(text));
	said(22, text, NULL, 0);
	mysql_stmt_bind_param(statement, &value);
	while (times-- && !mysql_errno(connection)) {
		mysql_stmt_execute(statement);
		said(23, "", "rows", fetched(statement));
	}
}

static void with_cursor(MYSQL_STMT *statement, const char *text)
{
	unsigned long cursor = CURSOR_TYPE_READ_ONLY, prefetch = 4;
	int rows = 0;

	mysql_stmt_attr_set(statement, STMT_ATTR_CURSOR_TYPE, &cursor);
	mysql_stmt_attr_set(statement, STMT_ATTR_PREFETCH_ROWS, &prefetch);
	mysql_stmt_prepare(statement, text, strlen(text));
	said(22, text, NULL, 0);
	mysql_stmt_execute(statement);
	said(23, "", "rows", 0);
	while (!mysql_stmt_fetch(statement))
		if (rows++ % 4 == 0)
			said(28, "", NULL, 0);
}

static void many_at_once(MYSQL_STMT *statement, const char *text)
{
	unsigned int count = 3;
	int ids[] = {7001, 7002, 7003};
	MYSQL_BIND value = {.buffer_type = MYSQL_TYPE_LONG, .buffer = ids};

	mysql_stmt_prepare(statement, text, strlen(text));
	said(22, text, NULL, 0);
	mysql_stmt_attr_set(statement, STMT_ATTR_ARRAY_SIZE, &count);
	mysql_stmt_bind_param(statement, &value);
	mysql_stmt_execute(statement);
	said(250, "", "affected", mysql_stmt_affected_rows(statement));
}

static void in_parts(MYSQL_STMT *statement, const char *text)
{
	static char part[9000] = "s3cr3t";
	MYSQL_BIND value = {.buffer_type = MYSQL_TYPE_LONG_BLOB};

	mysql_stmt_prepare(statement, text, strlen(text));
	said(22, text, NULL, 0);
	mysql_stmt_bind_param(statement, &value);
	for (int at = 0; at < 3; at++) {
		mysql_stmt_send_long_data(statement, 0, part, sizeof(part));
		said(24, "", NULL, 0);
	}
	mysql_stmt_execute(statement);
	said(23, "", "affected", mysql_stmt_affected_rows(statement));
	mysql_stmt_reset(statement);
	said(26, "", NULL, 0);
}

/* Both are sent before either is answered. */
static void pipelined(MYSQL_STMT *statement, const char *text)
{
	unsigned int none = 0;

	mysql_stmt_attr_set(statement, STMT_ATTR_PREBIND_PARAMS, &none);
	mariadb_stmt_execute_direct(statement, text, strlen(text));
	if (mysql_stmt_errno(statement))
		return;
	said(22, text, NULL, 0);
	said(23, "", "affected", mysql_stmt_affected_rows(statement));
}

static void with_statement(void (*work)(MYSQL_STMT *, const char *), const char *text)
{
	MYSQL_STMT *statement = mysql_stmt_init(connection);

	work(statement, text);
	mysql_stmt_close(statement);
	said(25, "", NULL, 0);
}

static void thrice(MYSQL_STMT *statement, const char *text)
{
	with_rows(statement, text, 2, 3);
}

int main(int count, char **arguments)
{
	char *text = NULL;
	size_t size = 0;

	if (count < 2 || getline(&text, &size, stdin) < 0)
		return 2;
	connection = mysql_init(NULL);
	if (!mysql_real_connect(connection, "127.0.0.1", "app", "s3cr3t", "shop", atoi(arguments[1]), NULL, 0))
		return 1;
	said(-1, "", NULL, 0);
	with_statement(thrice, "SELECT seq, 's3cr3t' FROM seq_1_to_9 WHERE seq > ?");
	with_statement(with_cursor, "SELECT seq FROM seq_1_to_9");
	mysql_query(connection, "CREATE OR REPLACE TABLE c (id INT PRIMARY KEY, big LONGBLOB)");
	said(3, "CREATE OR REPLACE TABLE c (id INT PRIMARY KEY, big LONGBLOB)", NULL, 0);
	with_statement(many_at_once, "INSERT INTO c (id) VALUES (?)");
	with_statement(in_parts, "UPDATE c SET big = ?");
	with_statement(pipelined, "DELETE FROM c WHERE id > 7002");
	mysql_stat(connection);
	said(9, "", NULL, 0);
	mysql_reset_connection(connection);
	said(31, "", NULL, 0);
	mysql_close(connection);
	puts("{\"command\": 1, \"text\": \"\", \"code\": null, \"state\": \"\"}");
	return 0;
}
