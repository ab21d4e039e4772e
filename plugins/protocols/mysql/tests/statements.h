/* What programs of a C library of MySQL's or MariaDB's do, and say that they did. */
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

/* Once it may read a line. */
static int begin(const char *port)
{
	char *text = NULL;
	size_t size = 0;

	if (getline(&text, &size, stdin) < 0)
		return 0;
	if (!mysql_real_connect(connection, "127.0.0.1", "app", "s3cr3t", "shop", atoi(port), NULL, 0))
		return 0;
	said(-1, "", NULL, 0);
	return 1;
}

static void end(void)
{
	mysql_stat(connection);
	said(9, "", NULL, 0);
	mysql_reset_connection(connection);
	said(31, "", NULL, 0);
	mysql_close(connection);
	puts("{\"command\": 1, \"text\": \"\", \"code\": null, \"state\": \"\"}");
}
