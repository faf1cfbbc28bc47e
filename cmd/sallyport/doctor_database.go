package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sallyport/config"
	"sallyport/store/postgres"
)

// What the doctor warns of in an installation with a database.
const (
	clockWarning  = 5 * time.Second // of difference between the machine and the database
	behindWarning = 1000            // revisions by which a replica is behind
	silentReplica = 2 * time.Second // a replica renews its lease five times in a second
)

// databaseChecks are the checks of a database that can be reached.
var databaseChecks = []string{"database TLS", "database role", "database clock", "replicas"}

// checkDatabase looks at the database of the store, as the user who runs the doctor.
func (d *doctor) checkDatabase(ctx context.Context) {
	if d.file == nil || d.file.Store.Postgres == nil {
		return
	}
	p := d.file.Store.Postgres
	found, err := postgres.Examine(ctx, p.URLFile)
	if err != nil {
		const fix = "check that the database runs, store.postgres.url_file, and the user and the certificates that it names"
		d.report("database", stateFail, fix, "%v", err)
		d.unknown("the database cannot be examined", fix, databaseChecks...)
		return
	}
	d.judgeDatabase(found)
	d.judgeDatabaseTLS(found)
	d.judgeDatabaseRole(found)
	d.judgeDatabaseClock(found)
	d.judgeReplicas(found, p)
}

func (d *doctor) judgeDatabase(found postgres.Findings) {
	const check = "database"
	switch {
	case !found.Tables:
		d.report(check, stateFail, "run `sallyport init` for a new store, or restore a backup", "PostgreSQL %s responds, and has no tables of a store", found.Version)
	case !found.Fsync:
		d.report(check, stateFail, "set fsync = on in its configuration", "PostgreSQL %s has fsync switched off: a crash of its machine loses changes that were acknowledged", found.Version)
	default:
		d.pass(check, "PostgreSQL %s responds; the store is at revision %d", found.Version, found.Revision)
	}
}

func (d *doctor) judgeDatabaseTLS(found postgres.Findings) {
	const check, fix = "database TLS", "write sslmode=verify-full and sslrootcert into the connection URL"
	switch {
	case found.Encrypted && found.Verified:
		d.pass(check, "%s, and the certificate must be that of the database", found.Protocol)
	case found.Local:
		d.pass(check, "the database is on this machine; the connection is not protected by a certificate")
	case found.Encrypted:
		d.report(check, stateWarn, fix, "%s, but whoever is between the server and the database may pass for it: sslmode is not verify-full", found.Protocol)
	default:
		d.report(check, stateWarn, fix, "the connection is in clear text: whoever is between the server and the database reads keys and sessions, and can change them")
	}
}

func (d *doctor) judgeDatabaseRole(found postgres.Findings) {
	const check = "database role"
	role := found.Role
	switch {
	case len(role.Lacking) > 0:
		d.report(check, stateFail, fmt.Sprintf("give it SELECT, INSERT, UPDATE and DELETE on the tables of Sallyport (GRANT … TO %s)", role.Name), "%s lacks %s", role.Name, strings.Join(role.Lacking, ", "))
	case len(role.Excess) > 0:
		d.report(check, stateWarn, "make a role without it for the servers, as docs/postgres.md says", "%s has %s, which no server needs: whoever takes over a server has it, too", role.Name, strings.Join(role.Excess, ", "))
	case len(role.Others) > 0:
		d.report(check, stateWarn, "find out why, and take it from them (REVOKE ALL ON sallyport_meta, sallyport_items, sallyport_changes, sallyport_replicas FROM …)",
			"%s may read or change the tables, which decide who gets in and have keys", strings.Join(role.Others, ", "))
	case found.Tables:
		d.pass(check, "%s has the rights that a server needs", role.Name)
	default:
		d.pass(check, "%s has no more than others", role.Name)
	}
}

func (d *doctor) judgeDatabaseClock(found postgres.Findings) {
	const check = "database clock"
	ahead, within := found.Ahead.Round(time.Millisecond), found.Within.Round(time.Millisecond)
	if found.Ahead.Abs()-found.Within > clockWarning {
		d.report(check, stateWarn, "set both by NTP", "the clock of the database differs by %s (within %s): times of replicas do not compare", ahead, within)
		return
	}
	d.pass(check, "it differs by %s (within %s) from that of this machine", ahead, within)
}

// judgeReplicas reports on each process that uses the database.
func (d *doctor) judgeReplicas(found postgres.Findings, p *config.Postgres) {
	const check = "replicas"
	var texts, silent, slow, other []string
	for _, r := range found.Replicas {
		text := fmt.Sprintf("%s (%d revisions behind, lease %s renewed %s ago)", r.Name, r.Behind, r.Lease.Round(time.Millisecond), r.Renewed.Round(time.Millisecond))
		texts = append(texts, text)
		switch {
		case !r.Running || r.Renewed > silentReplica:
			silent = append(silent, text)
		case r.Behind > behindWarning:
			slow = append(slow, text)
		}
		if r.Lease.Round(time.Millisecond) != p.LeaseLength() {
			other = append(other, text)
		}
	}
	switch {
	case len(texts) == 0:
		d.report(check, stateWarn, startServer, "no server uses the database")
	case len(silent) > 0:
		d.report(check, stateWarn, "look in its log, or restart it; a replica that is gone for good is forgotten ten minutes after its lease has run out", "not heard of: %s", strings.Join(silent, ", "))
	case len(slow) > 0:
		d.report(check, stateWarn, "look in its log, and find out what keeps it busy", "far behind: %s", strings.Join(slow, ", "))
	case len(other) > 0:
		d.report(check, stateWarn, fmt.Sprintf("write the same store.postgres.lease for all (here it is %s), and restart them", p.LeaseLength()), "another lease: %s", strings.Join(other, ", "))
	default:
		d.pass(check, "%s", strings.Join(texts, ", "))
	}
}

// database returns what the doctor finds in the database.
func (b *bundle) database(ctx context.Context) ([]byte, error) {
	found, err := postgres.Examine(ctx, b.client.file.Store.Postgres.URLFile)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(found, "", "  ")
}
