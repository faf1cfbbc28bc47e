package postgres

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// explain adds what to do to an error of a connection.
func explain(err error) error {
	if advice := adviceFor(err); advice != "" {
		return fmt.Errorf("%w; %s", err, advice)
	}
	return err
}

// adviceFor returns what to do about an error of a connection, or "".
func adviceFor(err error) string {
	var refused *pgconn.PgError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refused):
		return adviceForRefusal(refused.Code)
	case errors.As(err, &name):
		return "the certificate of the database is for another host: write a name that it has into the URL, or give the database a certificate for this one"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the certificate of the database, or set the clock of this machine"
	case errors.As(err, &unknown):
		return "name the file with the authority of the database's certificate by sslrootcert=FILE in the URL"
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return "the database speaks no TLS: set ssl = on and a certificate in its configuration, and do not use sslmode=disable over a network"
	case strings.Contains(err.Error(), "failed to write startup message"): // before what the server said about it was read
		return "the database ended the connection at once: its log says why; if it demands a client certificate, check the files of sslcert and sslkey in the URL"
	case strings.Contains(err.Error(), "remote error: tls:"): // the type of the error is not exported
		return "the database did not accept the certificate of this client: renew the files of sslcert and sslkey in the URL, or the authority that the database trusts (ssl_ca_file)"
	}
	return ""
}

// adviceForRefusal returns what to do about an error that the database reports.
func adviceForRefusal(code string) string {
	switch {
	case code == "42501":
		return "let its user make tables in the schema, or make them as another user with `sallyport init`, and grant the user of the server what docs/postgres.md says"
	case strings.HasPrefix(code, "28"):
		return "check the user, the password and the client certificate in the file with the URL, and pg_hba.conf of the database"
	case code == "53100":
		return "the disk of the database is full: free some space on it"
	case code == "53300":
		return "the database has no connection left: raise max_connections, or lower pool_max_conns in the URL"
	case code == "25006":
		return "that server takes no writes: name the primary, or all hosts, in the URL"
	}
	return ""
}
