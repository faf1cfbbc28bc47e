package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// ErrOtherDatabase means that the process that is to be succeeded does not use the database.
var ErrOtherDatabase = errors.New("the running server does not use this database")

// Process returns the name of this process among those that use the database.
func (s *Store) Process() string { return s.lease.process }

// NameSuccessor returns the name that another process of this replica, which is to take the place of this one, must have
// ([Options.Process]). By it that process leads if this one did, as long as both run too.
func (s *Store) NameSuccessor() string {
	name := newProcess()
	if len(s.lease.process) > 12 {
		if since, err := strconv.ParseInt(s.lease.process[:12], 16, 64); err == nil {
			name = processSince(since - 1)
		}
	}
	s.successor.Store(&name)
	return name
}

// leaders returns the processes by which this one leads: itself, and its successor.
func (s *Store) leaders() []string {
	if successor := s.successor.Load(); successor != nil {
		return []string{s.lease.process, *successor}
	}
	return []string{s.lease.process}
}

// demandFormer demands that a process, unless its name is "", uses the database.
func (s *Store) demandFormer(ctx context.Context, process string) error {
	if process == "" {
		return nil
	}
	var uses bool
	err := s.writes.QueryRow(ctx, "SELECT to_regclass('sallyport_replicas') IS NOT NULL").Scan(&uses)
	if err == nil && uses {
		err = s.writes.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM sallyport_replicas WHERE process = $1)", process).Scan(&uses)
	}
	if err == nil && !uses {
		err = ErrOtherDatabase
	}
	return err
}

// Forget says that a process has ended, which the caller knows for certain: nobody waits any more until its lease has run
// out. A renewal of it that the database makes late is forgotten too, within about a second.
func (s *Store) Forget(ctx context.Context, process string) error {
	s.others.end(process)
	return s.failed(ctx, s.forget(ctx, process))
}

func (s *Store) forget(ctx context.Context, process string) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	_, err := s.reads.Exec(ctx, "DELETE FROM sallyport_replicas WHERE process = $1", process)
	return err
}

// AwaitCurrent returns once all memory that follows the store may be decided from.
func (s *Store) AwaitCurrent(ctx context.Context) error {
	for {
		s.lease.mu.Lock()
		changed := s.lease.changed
		s.lease.mu.Unlock()
		err := s.lease.err(s.lease.oldest(), bootTime())
		if err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
