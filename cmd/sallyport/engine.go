package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/config"
	"sallyport/store"
	"sallyport/store/bolt"
	"sallyport/store/postgres"
)

// engine is a store that a server runs on.
type engine interface {
	store.Store
	// Run does what the store needs while the server runs, until ctx ends.
	Run(ctx context.Context) error
	// Err returns why the store accepts no changes, or nil if it does.
	Err() error
	// Continue makes the next revision greater than after. It is called before anything else.
	Continue(after store.Revision)
	Collectors() []prometheus.Collector
}

// openStore opens the store that the configuration selects. With init, it makes one if there is none.
func openStore(ctx context.Context, s config.Store, init bool, log *slog.Logger) (engine, error) {
	if s.Postgres != nil {
		return openDatabase(ctx, s.Postgres, postgres.Options{Init: init, Log: log})
	}
	return openFile(s.Bolt.Path, bolt.Options{Init: init, Reserve: s.Bolt.ReserveBytes(), Log: log})
}

// openToSucceed opens the store of the process that this one succeeds; for a nil former, it is openStore.
func openToSucceed(ctx context.Context, former *former, s config.Store, init bool, log *slog.Logger) (engine, error) {
	if former == nil || s.Postgres == nil {
		return openStore(ctx, s, init, log)
	}
	st, err := openDatabase(ctx, s.Postgres, postgres.Options{Process: former.hello.Process, Former: former.hello.Former, Log: log})
	if errors.Is(err, postgres.ErrOtherDatabase) {
		err = fmt.Errorf("%w, and an upgrade keeps the store: correct the connection string in that file; or stop the server, move the store with `sallyport store copy`, and start the server", err)
	}
	return st, err
}

// openToRead opens the store, while no server runs, to read it as it is.
func openToRead(ctx context.Context, s config.Store) (store.Store, error) {
	if s.Postgres != nil {
		return openDatabase(ctx, s.Postgres, postgres.Options{})
	}
	if _, err := os.Stat(s.Bolt.Path); err != nil {
		return nil, err
	}
	return bolt.Open(s.Bolt.Path, bolt.Options{Copy: true})
}

func openDatabase(ctx context.Context, p *config.Postgres, options postgres.Options) (engine, error) {
	replica, err := replicaName(p)
	if err != nil {
		return nil, err
	}
	options.URLFile, options.Replica, options.Lease = p.URLFile, replica, p.LeaseLength()
	return asEngine(postgres.Open(ctx, options))
}

// asEngine returns no engine if there is an error. A nil pointer in an interface would be one.
func asEngine[E engine](e E, err error) (engine, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}

var notInReplica = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[^A-Za-z0-9.-]+`) })

// replicaName returns the name of this process among those that use the database.
func replicaName(p *config.Postgres) (string, error) {
	if p.Replica != "" {
		return p.Replica, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	name := notInReplica().ReplaceAllString(host, "-")
	return name[:min(len(name), 63)], nil
}

// runFileOf returns where a server with this configuration leaves its run file: beside its store, or beside its control
// socket if the store is a database. It returns "" if the configuration does not say.
func runFileOf(file *config.File) string {
	switch {
	case file.Store.Bolt != nil && file.Store.Bolt.Path != "":
		return runFilePath(file.Store.Bolt.Path)
	case file.Store.Postgres != nil && file.Control.Socket != "":
		return runFilePath(file.Control.Socket)
	}
	return ""
}
