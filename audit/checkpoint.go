package audit

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Mark is the end of a line of the record, from which a later run goes on.
type Mark struct {
	First    uint64 `json:"first"`  // the number of the first line of its file
	Offset   int64  `json:"offset"` // where the line ends in its file
	Line     uint64 `json:"line"`   // its number
	Hash     string `json:"hash"`
	Revision uint64 `json:"rev"`    // of the newest directory change up to it
	Signed   uint64 `json:"signed"` // the number of the newest checkpoint up to it; 0 if there is none
}

// check demands that f has the line of the mark.
func (m Mark) check(f io.ReaderAt) error {
	file := position{m.Offset, link{m.Line, m.Hash}}
	if err := endsWith(f, file); errors.Is(err, errOtherFile) {
		return m.missing()
	} else if err != nil {
		return err
	}
	return nil
}

func (m Mark) missing() error {
	return fmt.Errorf("%w: it does not have line %d (hash %s) any more, which was on the disk: its end was cut off, or the file was replaced", ErrBroken, m.Line, m.Hash)
}

// Checkpoints is what a log needs to sign its lines, and to keep their end where whoever cuts the file cannot reach it.
type Checkpoints struct {
	Key  string                   // the id of the key
	Sign func(text []byte) []byte // signs with Ed25519; nil: there is no key
	Keep func(Mark) error         // returns once the mark is durable
}

// How often lines are signed, if there are some.
const (
	checkpointEvery = time.Minute
	checkpointLines = 10_000
)

// checkmark is how far lines are signed.
type checkmark struct {
	Checkpoints
	line uint64 // the number of the last checkpoint
	time time.Time
	mark Mark // that was kept last
}

// SignCheckpoints begins to write checkpoints and to keep marks. Call it once, before any other method.
func (l *Log) SignCheckpoints(c Checkpoints) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checkmark.Checkpoints, l.checkmark.time = c, time.Now()
}

// mark returns the end of the lines that are known to be on the disk; mu is held.
func (l *Log) mark() Mark {
	if l.synced.offset == 0 {
		return Mark{}
	}
	return Mark{l.begin.line, l.synced.offset, l.synced.link.seq, l.synced.link.hash, l.change, min(l.checkmark.line, l.synced.link.seq)}
}

// Mark returns the end of the lines that are known to be on the disk; the zero value if there is none yet in the file that
// is written to.
func (l *Log) Mark() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mark()
}

// checkpointIfDue signs the lines since the last checkpoint. On a full disk it does not: what space there is has other uses.
func (l *Log) checkpointIfDue() {
	l.mu.Lock()
	c, now := l.checkmark, time.Now()
	due := c.Keep != nil && l.failure == nil && l.space.full == nil && (l.last.seq >= c.line+checkpointLines || l.last.seq > c.line && now.Sub(c.time) >= checkpointEvery)
	l.mu.Unlock()
	if due {
		_ = l.Checkpoint() // a failure is kept, and tried again
	}
}

// Checkpoint signs the lines that were written, forces them to the disk and keeps where they end.
func (l *Log) Checkpoint() error {
	l.writeMu.Lock()
	l.mu.Lock()
	err := l.failure
	if err == nil {
		if err = errors.Join(l.flush(), l.writeCheckpoint()); err != nil {
			l.failure = fmt.Errorf("%w: %w", ErrUnwritable, err)
		}
	}
	l.mu.Unlock()
	l.writeMu.Unlock()
	if err == nil {
		l.sync()
		l.keepEnd()
	}
	return err
}

// writeCheckpoint writes a line that signs the one before. No line is pending, and both locks are held.
func (l *Log) writeCheckpoint() error {
	c := &l.checkmark
	c.time = time.Now()
	if c.Sign == nil || l.last.seq <= c.line {
		return nil
	}
	now := time.Now().UTC()
	e := Event{Time: now, Kind: KindAudit, Reason: reasonCheckpoint, Revision: l.revision, Detail: map[string]string{
		"number": strconv.FormatUint(l.last.seq, 10), "hash": l.last.hash, "key": c.Key,
		"signature": base64.StdEncoding.EncodeToString(c.Sign(checkpointText(now, l.last)))}}
	l.pending.lines, l.last = l.append(l.pending.lines, l.last, e)
	l.pending.count, l.pending.end = 1, l.last
	if err := l.flush(); err != nil {
		return err
	}
	c.line = l.last.seq
	l.events.WithLabelValues(string(KindAudit)).Inc()
	return nil
}

// checkpointText is what a checkpoint signs.
func checkpointText(at time.Time, end link) []byte {
	return fmt.Appendf(nil, "sallyport audit checkpoint 1\n%s\n%d\n%s\n", at.Format(time.RFC3339Nano), end.seq, end.hash)
}

// checkSignature returns what is wrong with a checkpoint after the line at before, or "".
func checkSignature(e Event, before link, keys map[string]ed25519.PublicKey) string {
	if e.Detail["number"] != strconv.FormatUint(before.seq, 10) || e.Detail["hash"] != before.hash {
		return "is a checkpoint of other lines"
	}
	key, ok := keys[e.Detail["key"]]
	if !ok {
		return fmt.Sprintf("is signed with the key %q, which is none of those that are trusted: the lines before were written again by somebody else, or the key is that of a former store (give its public half with --key, too)", e.Detail["key"])
	}
	signature, err := base64.StdEncoding.DecodeString(e.Detail["signature"])
	if err != nil || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, checkpointText(e.Time, before), signature) {
		return "has a signature that is not valid"
	}
	return ""
}

// keepEnd keeps the end of the lines on the disk, if it is another than that which was kept. If that fails, the former mark
// stays, which is right too.
func (l *Log) keepEnd() {
	l.mu.Lock()
	mark, keep := l.mark(), l.checkmark.Keep
	if keep == nil || errors.Is(l.failure, errAway) || mark == l.checkmark.mark || mark == (Mark{}) {
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	if keep(mark) != nil {
		return
	}
	l.mu.Lock()
	l.checkmark.mark = mark
	l.mu.Unlock()
}
