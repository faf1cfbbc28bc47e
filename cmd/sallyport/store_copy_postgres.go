package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sallyport/backup"
	"sallyport/store"
	"sallyport/store/postgres"
)

// postgresPlace is a database, by the absolute path of the file that has its connection URL.
type postgresPlace struct {
	urlFile string
	held    *postgres.Hold // from lock or read on
}

var errURLInFlag = errors.New("what follows postgres: is the path of a file that has the connection URL, and not the URL itself, which others can read in the list of processes; " +
	"write it to a file that only you can read, and postgres:FILE")

// newPostgresPlace demands that a file has the connection URL. Whatever may be a URL itself is not printed: it may have a password.
func newPostgresPlace(path string) (place, error) {
	_, err := os.Stat(path)
	if err != nil && (strings.ContainsAny(path, "@=?% ") || strings.Contains(path, "://")) || strings.HasPrefix(path, "//") {
		return nil, errURLInFlag
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s; name the one that has the connection URL", path)
	}
	if err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(path)
	return &postgresPlace{urlFile: absolute}, err
}

// String implements place.
func (p *postgresPlace) String() string { return "postgres:" + p.urlFile }

// same implements place. Two files that name one database are found when both are to be held.
func (p *postgresPlace) same(other place) bool {
	o, ok := other.(*postgresPlace)
	return ok && sameFile(p.urlFile, o.urlFile)
}

// hold keeps servers, and other copies, from using the database.
func (p *postgresPlace) hold(ctx context.Context, purpose postgres.Purpose) (err error) {
	p.held, err = postgres.TakeHold(ctx, p.urlFile, purpose)
	return stopFirst(err)
}

func (p *postgresPlace) lock(ctx context.Context) (release func(), err error) {
	if err := p.hold(ctx, postgres.ToWrite); err != nil {
		return nil, err
	}
	return p.held.Release, nil
}

// err returns an error if something else may have used the database since lock or read.
func (p *postgresPlace) err(ctx context.Context) error {
	if err := p.held.Err(ctx); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	return nil
}

func (p *postgresPlace) read(ctx context.Context) (store.Store, error) {
	if err := p.hold(ctx, postgres.ToRead); err != nil {
		return nil, err
	}
	st, err := p.open(ctx, postgres.Options{})
	if err != nil {
		p.held.Release()
		return nil, err
	}
	held := &heldStore{st, p.held}
	if err := demandNoCopy(held, p); err != nil {
		return nil, errors.Join(err, held.Close())
	}
	return held, nil
}

// heldStore is a store whose database is held until it is closed.
type heldStore struct {
	*postgres.Store
	hold *postgres.Hold
}

// Close implements store.Store.
func (s *heldStore) Close() error {
	s.hold.Release()
	return s.Store.Close()
}

func (p *postgresPlace) look(ctx context.Context) (store.Store, error) {
	st, err := p.open(ctx, postgres.Options{Into: true})
	switch {
	case errors.Is(err, store.ErrMissing):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("the target cannot be used: %w", err)
	}
	return st, nil
}

// copyName is the name of a copy among those that use the database, which it never has a lease of.
const copyName = "copy"

func (p *postgresPlace) open(ctx context.Context, options postgres.Options) (*postgres.Store, error) {
	options.URLFile, options.Replica, options.Slow = p.urlFile, copyName, true
	return postgres.Open(ctx, options)
}

func (p *postgresPlace) write(ctx context.Context, after store.Revision, mark store.Unfinished) (store.Store, error) {
	st, err := p.open(ctx, postgres.Options{Into: true})
	if errors.Is(err, store.ErrMissing) {
		if err = postgres.Create(ctx, p.urlFile, after, backup.Beginning(mark)); err == nil {
			st, err = p.open(ctx, postgres.Options{Into: true})
		}
	}
	if err != nil {
		return nil, err
	}
	st.Continue(after)
	return st, nil
}

func (p *postgresPlace) finish(ctx context.Context) error {
	st, err := p.open(ctx, postgres.Options{})
	if err != nil {
		return fmt.Errorf("opening the copy: %w", err)
	}
	return st.Close()
}

// advice implements place.
func (p *postgresPlace) advice() string {
	return fmt.Sprintf("postgres: {url_file: %s}", p.urlFile)
}
