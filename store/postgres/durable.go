package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The database acknowledges a commit when it is durable: with a synchronous standby, when that has it. Two things need more
// than an acknowledgement.
//
// If the wait for the standby is canceled, the server reports a success, with a warning. And a change whose wait ended so,
// or with a restart, can be read, though it is lost if the standby is promoted. What was read is therefore used only when
// something was committed after it, over the same connection and without a warning.

// warningKey is where a connection keeps the last warning of the server.
const warningKey = "warning"

// keepWarning keeps a warning of the server. It implements [pgconn.NoticeHandler].
func keepWarning(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		conn.CustomData()[warningKey] = n.Message
	}
}

// forgetWarning forgets the warnings of what came before, such as one of the beginning of a session.
func forgetWarning(conn *pgx.Conn) { delete(conn.PgConn().CustomData(), warningKey) }

// notDurable is the error of a commit that may be lost.
type notDurable struct{ warning string }

func (e notDurable) Error() string {
	return fmt.Sprintf("the database does not promise that the change is durable: %s", e.warning)
}

// demandDurable returns an error if the server has warned since forgetWarning.
func demandDurable(conn *pgx.Conn) error {
	if warning, ok := conn.PgConn().CustomData()[warningKey].(string); ok {
		return notDurable{warning}
	}
	return nil
}

// commitSomething is a statement that writes next to nothing, so that it is committed as every change is.
const commitSomething = "SELECT pg_logical_emit_message(true, 'sallyport', '')"

// confirm returns nil if what was read over conn before is durable, and conn leads to the primary.
func confirm(ctx context.Context, conn *pgx.Conn) error {
	forgetWarning(conn)
	if _, err := conn.Exec(ctx, commitSomething); err != nil {
		return err
	}
	return demandDurable(conn)
}
