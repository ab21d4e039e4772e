/* MariaDB's own C library: prepared statements, a cursor, long data, bulk and pipelined executions, and what it did.
   statements PORT begins when it may read a line. */
#include "statements.h"

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

int main(int count, char **arguments)
{
	connection = mysql_init(NULL);
	if (count < 2 || !begin(arguments[1]))
		return 2;
	with_statement(thrice, "SELECT seq, 's3cr3t' FROM seq_1_to_9 WHERE seq > ?");
	with_statement(with_cursor, "SELECT seq FROM seq_1_to_9");
	mysql_query(connection, "CREATE OR REPLACE TABLE c (id INT PRIMARY KEY, big LONGBLOB)");
	said(3, "CREATE OR REPLACE TABLE c (id INT PRIMARY KEY, big LONGBLOB)", NULL, 0);
	with_statement(many_at_once, "INSERT INTO c (id) VALUES (?)");
	with_statement(in_parts, "UPDATE c SET big = ?");
	with_statement(pipelined, "DELETE FROM c WHERE id > 7002");
	end();
	return 0;
}
