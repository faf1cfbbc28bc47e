package deadline_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sallyport/deadline"
)

// step is a part of a script: after a pause, a deadline is set, or the peer reads or writes some bytes.
type step struct {
	pause time.Duration
	what  string
	after time.Duration // of a deadline, from when it is set; negative: it is past; 0: there is none
	bytes int           // that the peer reads or writes
}

var steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
	const unit = 500 * time.Millisecond
	return step{
		pause: time.Duration(rapid.IntRange(0, 4).Draw(t, "pause")) * unit,
		what:  rapid.SampledFrom([]string{"read deadline", "write deadline", "both", "peer writes", "peer reads"}).Draw(t, "what"),
		after: time.Duration(rapid.SampledFrom([]int{-1, 0, 1, 2, 3, 8, 20}).Draw(t, "after")) * unit,
		bytes: rapid.IntRange(1, 30).Draw(t, "bytes"),
	}
}), 1, 30)

// perform performs a script while one goroutine reads from the connection and another writes to it, and again after each
// timeout. It returns what each call returned and when.
func perform(t *testing.T, script []step, wrap func(net.Conn) net.Conn) (reads, writes []string) {
	synctest.Test(t, func(t *testing.T) {
		raw, peer := net.Pipe()
		conn, begun := wrap(raw), time.Now()
		repeat := func(log *[]string, call func([]byte) (int, error)) {
			for {
				n, err := call(make([]byte, 50))
				timeout := errors.Is(err, os.ErrDeadlineExceeded)
				*log = append(*log, fmt.Sprint(time.Since(begun), n, err, timeout))
				switch {
				case err != nil && !timeout:
					return
				case timeout:
					time.Sleep(700003 * time.Microsecond) // nothing else happens then
				}
			}
		}
		toWrite, toRead := make(chan int, len(script)), make(chan int, len(script))
		go repeat(&reads, conn.Read)
		go repeat(&writes, conn.Write)
		go func() {
			for n := range toWrite {
				_, _ = peer.Write(make([]byte, n))
			}
		}()
		go func() {
			for n := range toRead {
				_, _ = io.ReadFull(peer, make([]byte, n))
			}
		}()
		for _, s := range script {
			time.Sleep(s.pause + time.Millisecond) // so that no deadline passes as the next step is done
			at := time.Time{}
			switch {
			case s.after < 0:
				at = time.Unix(1, 0)
			case s.after > 0:
				at = time.Now().Add(s.after)
			}
			switch s.what {
			case "read deadline":
				_ = conn.SetReadDeadline(at)
			case "write deadline":
				_ = conn.SetWriteDeadline(at)
			case "both":
				_ = conn.SetDeadline(at)
			case "peer writes":
				toWrite <- s.bytes
			case "peer reads":
				toRead <- s.bytes
			}
		}
		time.Sleep(time.Minute)
		_, _ = conn.Close(), peer.Close()
		close(toWrite)
		close(toRead)
		time.Sleep(time.Second)
	})
	return reads, writes
}

// TestConn_EndsCallsAsAnyOther performs random scripts with a connection and with one that is wrapped: each read and write
// must return the same at the same time.
func TestConn_EndsCallsAsAnyOther(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := steps.Draw(rt, "script")
		wantReads, wantWrites := perform(t, script, func(conn net.Conn) net.Conn { return conn })
		reads, writes := perform(t, script, func(conn net.Conn) net.Conn { return deadline.New(conn) })
		if !slices.Equal(reads, wantReads) {
			rt.Errorf("reads:\n%q, want\n%q", reads, wantReads)
		}
		if !slices.Equal(writes, wantWrites) {
			rt.Errorf("writes:\n%q, want\n%q", writes, wantWrites)
		}
	})
}

// TestConn_WritesOnAfterAnEarlierDeadline extends the deadline of writes, and has the peer read a part before the first
// deadline and the rest after it.
func TestConn_WritesOnAfterAnEarlierDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, peer := net.Pipe()
		conn := deadline.New(raw)
		defer func() { _, _ = conn.Close(), peer.Close() }()
		_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		go func() {
			first, rest := make([]byte, 3), make([]byte, 8)
			_, _ = io.ReadFull(peer, first)
			_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
			time.Sleep(15 * time.Second)
			_, _ = io.ReadFull(peer, rest)
			if got := string(first) + string(rest); got != "hello world" {
				t.Errorf("the peer read %q", got)
			}
		}()
		if n, err := conn.Write([]byte("hello world")); n != 11 || err != nil {
			t.Errorf("Write returned %d, %v", n, err)
		}
	})
}

// counter counts how often a deadline is set on a connection.
type counter struct {
	net.Conn
	reads, writes int
}

func (c *counter) SetReadDeadline(t time.Time) error {
	c.reads++
	return c.Conn.SetReadDeadline(t)
}

func (c *counter) SetWriteDeadline(t time.Time) error {
	c.writes++
	return c.Conn.SetWriteDeadline(t)
}

// TestConn_SetsFewDeadlines sets deadlines as a server does for each of many requests that follow one another fast.
func TestConn_SetsFewDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raw, peer := net.Pipe()
		count := &counter{Conn: raw}
		conn := deadline.New(count)
		defer func() { _, _ = conn.Close(), peer.Close() }()
		go func() { _, _ = io.Copy(peer, peer) }()
		for range 1000 {
			time.Sleep(time.Millisecond)
			_ = conn.SetWriteDeadline(time.Now().Add(time.Minute))
			_, _ = conn.Write([]byte("request"))
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, _ = conn.Read(make([]byte, 10))
			_, _ = conn.SetReadDeadline(time.Time{}), conn.SetWriteDeadline(time.Time{})
		}
		if count.reads != 1 || count.writes != 1 {
			t.Errorf("deadlines were set %d and %d times", count.reads, count.writes)
		}
	})
}

// dialed returns both ends of a TCP connection.
func dialed(t testing.TB) (server, client net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err == nil {
		server, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return server, client
}

// TestConn_TCP ends reads and writes of a TCP connection by deadlines that are set while they wait.
func TestConn_TCP(t *testing.T) {
	raw, client := dialed(t)
	conn := deadline.New(raw)
	past := time.Unix(1, 0)
	for _, c := range []struct {
		name string
		call func([]byte) (int, error)
		set  func(time.Time) error
	}{{"Read", conn.Read, conn.SetReadDeadline}, {"Write", conn.Write, conn.SetWriteDeadline}} {
		for range 100 {
			ended := make(chan error)
			go func() {
				var err error
				for p := make([]byte, 1<<20); err == nil; {
					_, err = c.call(p)
				}
				ended <- err
			}()
			_ = c.set(past)
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s: %v", c.name, err)
			}
			_ = c.set(time.Time{})
		}
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("Read returned %d, %v after the deadline was taken away", n, err)
	}
	if _, err := conn.SyscallConn(); err != nil {
		t.Error(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Error(err)
	}
}

// BenchmarkRequest sets the deadlines of one request as net/http and the proxy do. The reads between are of no bytes, so that
// they cost no system call.
func BenchmarkRequest(b *testing.B) {
	wraps := map[string]func(net.Conn) net.Conn{"conn": func(c net.Conn) net.Conn { return c }, "deadline": func(c net.Conn) net.Conn { return deadline.New(c) }}
	for _, name := range []string{"conn", "deadline"} {
		b.Run("kind="+name, func(b *testing.B) {
			raw, _ := dialed(b)
			conn, none, begun := wraps[name](raw), time.Time{}, time.Now()
			for b.Loop() {
				_, _ = conn.Read(nil)
				begun = begun.Add(time.Microsecond)
				_, _ = conn.SetReadDeadline(begun.Add(10*time.Second)), conn.SetReadDeadline(begun.Add(10*time.Second))
				_, _ = conn.SetReadDeadline(none), conn.SetWriteDeadline(none)
				_, _ = conn.Read(nil)
				_ = conn.SetWriteDeadline(begun.Add(time.Minute))
				_, _ = conn.SetWriteDeadline(none), conn.SetReadDeadline(none)
			}
		})
	}
}

// TestConn_AbortsReadThatBegins sets a deadline in the past at the moment at which a read begins, as net/http does to end the
// read that waits for a client to leave. No read may miss it.
func TestConn_AbortsReadThatBegins(t *testing.T) {
	raw, peer := net.Pipe()
	defer peer.Close()
	conn := deadline.New(raw)
	defer conn.Close()
	for range 200000 {
		ended := make(chan error)
		_ = conn.SetReadDeadline(time.Time{})
		go func() {
			_, err := conn.Read(make([]byte, 1))
			ended <- err
		}()
		runtime.Gosched()
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		select {
		case err := <-ended:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a read missed its deadline")
		}
	}
}
