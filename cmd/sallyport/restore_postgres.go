package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"sallyport/store"
	"sallyport/store/bolt"
	"sallyport/store/postgres"
)

// databaseRestore puts a store into a database. The store is made in a file in a folder of this machine, and becomes the
// content of the database in one transaction.
type databaseRestore struct {
	urlFile, folder string
	hold            *postgres.Hold
}

func (p *databaseRestore) part() string { return filepath.Join(p.folder, "database.restoring") }
func (p *databaseRestore) like() string { return p.folder }

// lock implements restorePlace.
func (p *databaseRestore) lock(ctx context.Context) (release func(), err error) {
	if p.hold, err = postgres.TakeHold(ctx, p.urlFile, postgres.ToReplace); err != nil {
		return nil, stopFirst(err)
	}
	return p.hold.Release, nil
}

// former implements restorePlace. What cannot be reached or may not be read is no store that is damaged.
func (p *databaseRestore) former(ctx context.Context) (f formerStore, notes []string, err error) {
	st, err := (&postgresPlace{urlFile: p.urlFile}).open(ctx, postgres.Options{})
	if err != nil && !errors.Is(err, store.ErrMissing) && !errors.Is(err, store.ErrUnsound) && !errors.Is(err, store.ErrDamaged) {
		return f, nil, err
	}
	return openedFormer(st, err)
}

func (p *databaseRestore) after(ctx context.Context, _ formerStore) (store.Revision, error) {
	newest, err := p.hold.Newest(ctx)
	return newest + 1, err // so that there is none that comes next
}

// put implements restorePlace.
func (p *databaseRestore) put(ctx context.Context) (former string, err error) {
	st, err := bolt.Open(p.part(), bolt.Options{Inspect: true})
	if err != nil {
		return "", err
	}
	schema := "sallyport_replaced_" + strings.ReplaceAll(time.Now().UTC().Format("20060102t150405.000000z"), ".", "_")
	err = st.View(ctx, func(r store.Reader) (err error) {
		former, err = p.hold.Replace(ctx, r, schema)
		return err
	})
	if former != "" {
		former = fmt.Sprintf("the schema %s of the database; DROP SCHEMA %[1]s CASCADE removes it", former)
	}
	return former, errors.Join(err, st.Close())
}
