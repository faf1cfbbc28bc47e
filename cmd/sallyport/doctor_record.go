package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/sink"
)

const (
	maxBackupAge  = 7 * 24 * time.Hour
	searchTimeout = 20 * time.Second // of the whole record, for a backup
	maxClockError = time.Hour        // by which an event may be ahead of our clock
)

// checkBackup reports when the newest backup was made, by the record.
func (d *doctor) checkBackup(ctx context.Context) {
	if d.within != nil {
		d.judgeBackup(time.Now(), d.within.rollup.NewestBackup(), nil)
		return
	}
	path, err := d.client.auditFile()
	if err != nil {
		d.unknown("the configuration does not tell where the audit record is", correctIt, "backup")
		return
	}
	record, err := audit.OpenRecord(path)
	if err != nil {
		d.report("backup", stateUnknown, "check audit.file, and run this as the user of the server", "the audit record cannot be read: %v", err)
		return
	}
	defer record.Close()
	now := time.Now()
	newest, err := newestBackup(ctx, record, now.Add(-maxBackupAge))
	if err == nil && newest.IsZero() {
		all, stop := context.WithTimeout(ctx, searchTimeout)
		defer stop()
		newest, err = newestBackup(all, record, time.Time{})
	}
	d.judgeBackup(now, newest, err)
}

func (d *doctor) judgeBackup(now, newest time.Time, err error) {
	const fix = "make one with `sallyport backup FILE`, and have a timer make one every day"
	switch age := now.Sub(newest); {
	case errors.Is(err, context.DeadlineExceeded):
		d.report("backup", stateWarn, fix, "none in the last %s; the record is too long to look for older ones here", days(maxBackupAge))
	case err != nil:
		d.report("backup", stateUnknown, "`sallyport audit verify` says where the record is damaged", "the audit record cannot be searched: %v", err)
	case newest.IsZero():
		d.report("backup", stateWarn, fix, "the record tells of none; copies of the disk that something else makes are not known here")
	case age > maxBackupAge:
		d.report("backup", stateWarn, fix, "the newest was made %s ago", days(age))
	default:
		d.pass("backup", "the newest was made %s ago; a restore on trial shows whether it is still there and whole", max(age, 0).Round(time.Second))
	}
}

func days(age time.Duration) string { return fmt.Sprintf("%d days", int(age.Hours()/24)) }

// newestBackup returns the time of the newest backup in the files of the record since a time; zero if there is none. A backup
// that failed has a second event: each such event cancels the newest backup before it, so that the age is never too small.
func newestBackup(ctx context.Context, record *audit.Record, since time.Time) (newest time.Time, err error) {
	var made []time.Time
	latest := time.Now().Add(maxClockError)
	err = record.Search(ctx, audit.Search{Kinds: []audit.Kind{audit.KindBackup}, Since: since}, func(f audit.Found) error {
		switch {
		case f.Detail["action"] != "": // of the event that tells of a failure
			made = made[:max(len(made)-1, 0)]
		case f.Time.Before(latest):
			made = append(made, f.Time)
		}
		return nil
	})
	if len(made) > 0 {
		newest = slices.MaxFunc(made, time.Time.Compare)
	}
	return newest, err
}

// How far a sink may be behind.
const (
	sinkWarning = 5 * time.Minute
	sinkFailure = time.Hour
)

func (c *control) sinkStatus(context.Context, admin.Actor) ([]sink.Status, error) {
	if c.sinks == nil {
		return nil, admin.ErrNoServer
	}
	return c.sinks.Status(), nil
}

// checkSinks reports how each sink is doing, by the running server.
func (d *doctor) checkSinks(ctx context.Context) {
	if d.file != nil {
		d.checkSinkCertificates()
	}
	var list []sink.Status
	err := d.client.call(ctx, http.MethodGet, "/sinks", nil, &list)
	if err != nil && (d.file == nil || len(d.file.Audit.Sinks) > 0) {
		d.callFailed("sinks", startServer, err)
		return
	}
	for _, s := range list {
		d.judgeSink(s, time.Now())
	}
	if d.file == nil || err != nil {
		return
	}
	for _, s := range d.file.Audit.Sinks {
		if !slices.ContainsFunc(list, func(running sink.Status) bool { return running.Name == s.Name }) {
			d.report("sink "+s.Name, stateWarn, "run `sallyport reload`, which says why", "it is in the file, and not in force")
		}
	}
}

func (d *doctor) judgeSink(s sink.Status, now time.Time) {
	check, behind := "sink "+s.Name, fmt.Sprintf("%d lines behind, by %s", s.Lines, s.Lag.Round(time.Second))
	const fix = "check its address, credentials and certificate in audit.sinks, and its receiver"
	state := stateWarn
	if s.Lag >= sinkFailure {
		state = stateFail
	}
	switch {
	case s.Fault != nil && !s.Fault.Recovered:
		d.report(check, state, fix, "%s; the attempt of %s ago failed: %s", behind, now.Sub(s.Fault.Time).Round(time.Second), s.Fault.Error)
	case s.Lag >= sinkWarning:
		d.report(check, state, fix+", which may be too slow", "%s, though no attempt fails", behind)
	case s.Lost > 0:
		d.report(check, stateWarn, "look in the server's log for which lines, and send them with `sallyport audit export`", "%d lines since the start will never be sent", s.Lost)
	case s.Fault != nil:
		d.pass(check, "%s; the last failed attempt was %s ago: %s", behind, now.Sub(s.Fault.Time).Round(time.Second), s.Fault.Error)
	default:
		d.pass(check, "%s; no attempt has failed since the start", behind)
	}
}

// checkSinkCertificates reports how long the certificates are valid by which receivers know this server.
func (d *doctor) checkSinkCertificates() {
	for _, s := range d.file.Audit.Sinks {
		cert, key := s.ClientCertificate()
		if cert == "" {
			continue
		}
		d.checkCertificateFiles("certificate for sink "+s.Name, cert, key, "check cert_file and key_file of this sink in audit.sinks",
			"put a new one in its place, and restart the server")
	}
}
