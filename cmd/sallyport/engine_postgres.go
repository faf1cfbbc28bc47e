package main

import (
	"sallyport/store"
	"sallyport/store/postgres"
)

// database is a store in PostgreSQL as an engine.
type database struct{ *postgres.Store }

func asDatabase(s *postgres.Store, err error) (database, error) { return database{s}, err }

// Err returns nil: the lease of the replica tells whether the database can be reached.
func (database) Err() error { return nil }

// Continue does nothing: a database does not go back to an earlier revision unless a person restores it.
func (database) Continue(store.Revision) {}
