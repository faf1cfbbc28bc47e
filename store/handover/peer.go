package handover

import (
	"bufio"
	"context"
	"encoding/gob"
	"net"
	"time"

	"sallyport/store"
)

// fenceAfter is how long another process may take to apply a change before it is ended.
const fenceAfter = 2 * time.Second

// Peer is another process that uses the engine of this one.
type Peer struct {
	store *Store
	conn  net.Conn
	end   func() // ends the process
	after store.Revision

	// Guarded by store.mu.
	applied store.Revision
	sent    store.Revision
	since   time.Time // when it was behind first, or last applied something
}

// AddPeer adds a process whose memory has revision. From then on no change is acknowledged before that process has it. Changes
// are sent over conn, which [Peer.Run] closes. end ends the process at once.
func (s *Store) AddPeer(conn net.Conn, revision store.Revision, end func()) *Peer {
	p := &Peer{store: s, conn: conn, end: end, after: revision, applied: revision, sent: revision}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers[p] = struct{}{}
	return p
}

// Run sends changes to the process until it closes the connection, or has ended. A process that does not apply them in time
// is ended.
func (p *Peer) Run(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go p.send(ctx)
	go p.guard(ctx)
	go func() { defer close(ended); p.receive() }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	_ = p.conn.Close() // only then does it know that it hears of no more changes
	<-ended
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	delete(p.store.peers, p)
	p.store.wake()
}

// send sends every change.
func (p *Peer) send(ctx context.Context) {
	out := bufio.NewWriter(p.conn)
	encoder := gob.NewEncoder(out)
	for change, err := range p.store.current().Watch(ctx, p.after) {
		if err != nil {
			break
		}
		p.note(change.Revision)
		if encoder.Encode(change) != nil || out.Flush() != nil {
			return // it has closed the connection, as one does that leaves
		}
	}
	if ctx.Err() == nil { // it would not know of what comes
		p.end()
	}
}

// note notes that a revision is about to be sent.
func (p *Peer) note(revision store.Revision) {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	if p.applied == p.sent {
		p.since = time.Now()
	}
	p.sent = revision
}

// receive reads what the process has applied, until it closes the connection.
func (p *Peer) receive() {
	decoder := gob.NewDecoder(p.conn)
	for {
		var applied store.Revision
		if decoder.Decode(&applied) != nil {
			return
		}
		p.store.mu.Lock()
		p.applied, p.since = applied, time.Now()
		p.store.wake()
		p.store.mu.Unlock()
	}
}

// guard ends the process if it does not apply what was sent.
func (p *Peer) guard(ctx context.Context) {
	tick := time.NewTicker(fenceAfter / 8)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p.store.mu.Lock()
			late := p.applied < p.sent && now.Sub(p.since) > fenceAfter
			p.store.mu.Unlock()
			if late {
				p.end()
			}
		}
	}
}
