package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"

	"sallyport/audit"
	"sallyport/config"
	"sallyport/listen"
	"sallyport/store"
	"sallyport/store/handover"
)

// former is the process that this one succeeds. Its methods do nothing for a nil *former: this process was started otherwise.
type former struct {
	channel channel
	process *os.Process
	hello   message           // what that process said first
	sockets map[string]passed // that were not used yet
	gone    chan struct{}     // closed once the process is gone
	once    sync.Once         // closes gone

	// Set by ready. All nil if the process was gone before.
	changes, record net.Conn
	revision        store.Revision
}

type passed struct {
	passedSocket
	file *os.File
}

// findFormer returns the process that this one succeeds, or nil.
func findFormer() (*former, error) {
	text := os.Getenv(successionVariable)
	_ = os.Unsetenv(successionVariable)
	if text == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s is %q, and not a descriptor; it is not to be set by hand", successionVariable, text)
	}
	conn, err := asUnixConn(os.NewFile(uintptr(fd), successionVariable)) //nolint:gosec // checked above
	if err != nil {
		return nil, fmt.Errorf("%s: %w; it is not to be set by hand", successionVariable, err)
	}
	f := &former{channel: channel{conn}, sockets: map[string]passed{}, gone: make(chan struct{})}
	if f.process, err = os.FindProcess(os.Getppid()); err != nil {
		return nil, err
	}
	m, files, err := f.channel.receive()
	if err != nil || m.Step != stepHello || len(files) != len(m.Sockets) {
		closeAll(files)
		return nil, errors.Join(errors.New("the process that is to be succeeded does not say what it listens on"), err)
	}
	f.hello = m
	for i, s := range m.Sockets {
		f.sockets[s.Name] = passed{s, files[i]}
	}
	return f, nil
}

// demandSame returns an error unless the store and the record are those of the former process. The record could not be gone on
// with elsewhere: the former process writes to it until the last moment, and changes that are there would be recorded twice.
func (f *former) demandSame(file *config.File) error {
	if f != nil && !sameFile(file.Audit.File, f.hello.Record) {
		return fmt.Errorf("audit.file is %s in the configuration, and %s in the running server, and an upgrade goes on with the record: correct the configuration; or stop the server, and start it with the new one", file.Audit.File, f.hello.Record)
	}
	return f.demandStore(file.Store)
}

// demandStore returns an error unless the store is that of the former process: another one may be empty, or from before people
// left, and the former process would decide by it too.
// Whether a database is the same is found out when it is opened.
func (f *former) demandStore(s config.Store) error {
	switch {
	case f == nil:
		return nil
	case s.Postgres != nil && f.hello.Replica != "":
		return f.demandName(s.Postgres)
	case s.String() != f.hello.Store:
		return fmt.Errorf("store is %s in the configuration, and %s in the running server, and an upgrade keeps the store: correct the configuration; or stop the server, move the store with `sallyport store copy`, and start the server", s, f.hello.Store)
	}
	return nil
}

// demandName returns an error unless the name of this replica is that of the former process, whose audit record it continues.
func (f *former) demandName(p *config.Postgres) error {
	name, err := replicaName(p)
	if err == nil && name != f.hello.Replica {
		err = fmt.Errorf("the name of this replica is %s by the configuration (store.postgres.replica, or the name of the host), and %s in the running server, and an upgrade keeps the name: correct the configuration; or stop the server, and start it with the new name", name, f.hello.Replica)
	}
	return err
}

// socket returns the listener that a server with a name and a configured address shall use, or nil if it has to open one.
// activated reports whether systemd opened it.
func (f *former) socket(name, addr string) (l net.Listener, activated bool, err error) {
	if f == nil {
		return nil, false, nil
	}
	p, ok := f.sockets[name]
	if !ok || p.Addr != "" && p.Addr != addr {
		return nil, false, nil
	}
	delete(f.sockets, name)
	l, err = listen.FromFile(p.file)
	return l, p.Addr == "", err
}

// fail says why this process does not take over.
func (f *former) fail(err error) {
	if f != nil && err != nil {
		_ = f.channel.send(message{Step: stepFailed, Error: err.Error()})
	}
}

// report says that a step was done, and waits for the next one. If the process is gone, this one goes on without it.
func (f *former) report(done, next step) (files []*os.File, m message, err error) {
	if f == nil || f.isGone() {
		return nil, m, nil
	}
	if err := f.channel.send(message{Step: done}); err != nil {
		f.noteGone()
		return nil, m, nil
	}
	m, files, err = f.channel.receive()
	switch {
	case errors.Is(err, io.EOF):
		f.noteGone()
		return nil, message{}, nil
	case err == nil && m.Step != next:
		err = fmt.Errorf("the process that is to be succeeded says %q in place of %q", m.Step, next)
	}
	return files, m, err
}

// prepared returns when the store may be opened.
func (f *former) prepared() error {
	_, _, err := f.report(stepPrepared, stepStore)
	return err
}

// loaded returns when the record may be opened.
func (f *former) loaded() error {
	_, _, err := f.report(stepLoaded, stepRecord)
	return err
}

// ready returns when this process is the server.
func (f *former) ready() error {
	files, m, err := f.report(stepReady, stepServe)
	if err != nil || f == nil || f.isGone() {
		closeAll(files)
		return err
	}
	for _, unused := range f.sockets {
		_ = unused.file.Close()
	}
	if len(files) != 2 {
		return errors.New("the process that is to be succeeded passes no connections")
	}
	f.revision = m.Revision
	if f.changes, err = asUnixConn(files[0]); err == nil {
		f.record, err = asUnixConn(files[1])
	}
	return err
}

func (f *former) isGone() bool {
	select {
	case <-f.gone:
		return true
	default:
		return false
	}
}

func (f *former) noteGone() { f.once.Do(func() { close(f.gone) }) }

// serve lets the process use the store and the record of this one, until it ends.
func (f *former) serve(ctx context.Context, peer *handover.Peer, c *components, log *slog.Logger) {
	if f == nil {
		return
	}
	err := io.EOF // it was gone before
	if f.record != nil {
		err = f.serveUntilGone(ctx, peer, c)
	}
	if ctx.Err() == nil && errors.Is(err, io.EOF) {
		log.Info("the process that this one has taken over from has ended")
		c.forget(f.hello.Former)
	}
}

// serveUntilGone returns io.EOF when the process is gone: it holds the end of the channel until then.
func (f *former) serveUntilGone(ctx context.Context, peer *handover.Peer, c *components) error {
	var all sync.WaitGroup
	defer all.Wait()
	defer f.noteGone()
	defer context.AfterFunc(ctx, func() { _, _, _ = f.channel.Close(), f.record.Close(), f.changes.Close() })()
	all.Go(func() { writeRelayed(f.record, c.record) })
	if peer != nil {
		all.Go(func() { peer.Run(ctx) })
	}
	for {
		m, files, err := f.channel.receive()
		if err != nil {
			return err
		}
		if shared := c.shared(); m.Step == stepCall && len(files) == 1 && shared != nil {
			if conn, err := asUnixConn(files[0]); err == nil {
				all.Go(func() { shared.ServeCall(ctx, conn) })
			}
			continue
		}
		closeAll(files)
	}
}

// addPeer has every change wait for the process. If the store is a database, every replica is waited for anyway; then the
// connection tells the process that this one runs.
func (f *former) addPeer(c *components, log *slog.Logger) *handover.Peer {
	shared := c.shared()
	if f == nil || f.changes == nil || shared == nil {
		return nil
	}
	return shared.AddPeer(f.changes, f.revision, func() {
		log.Error("the process that this one has taken over from does not apply a change, and is ended", "pid", f.process.Pid)
		_ = f.process.Kill()
	})
}

// writeRelayed writes the events of another process, until it closes the connection.
func writeRelayed(conn net.Conn, record *audit.Log) {
	defer conn.Close()
	decoder, encoder := gob.NewDecoder(conn), gob.NewEncoder(conn)
	for {
		var event []byte
		if decoder.Decode(&event) != nil {
			return
		}
		var outcome relayed
		if err := record.WriteJSON(event); err != nil {
			outcome = relayed{err.Error(), errors.Is(err, audit.ErrUnwritable)}
		}
		if encoder.Encode(outcome) != nil {
			return
		}
	}
}
