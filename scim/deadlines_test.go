package scim_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sallyport/scim"
	"sallyport/store/bolt"
)

// pipeListener accepts the server's ends of in-memory connections, whose deadlines go by the clock of synctest.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// serveOnPipes runs f with a function that connects to a SCIM server and a valid token, all within a synctest bubble.
func serveOnPipes(t *testing.T, f func(t *testing.T, dial func() net.Conn, token string)) {
	synctest.Test(t, func(t *testing.T) {
		st, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"), bolt.Options{Init: true})
		if err != nil {
			t.Fatal(err)
		}
		d := openTenant(t, st)
		stop := running(t, d)
		_, token, err := d.mint("test", 0)
		if err != nil {
			t.Fatal(err)
		}
		l := &pipeListener{make(chan net.Conn), make(chan struct{})}
		protocols := &http.Protocols{}
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		server := &http.Server{Protocols: protocols, Handler: scim.New(scim.Parts{Provisioning: d.Provisioning, Log: slog.New(slog.DiscardHandler)})}
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(l) }()
		f(t, func() net.Conn {
			client, conn := net.Pipe()
			l.conns <- conn
			return client
		}, token)
		_ = server.Close()
		<-served
		stop()
		_ = st.Close()
	})
}

// TestServer_BoundsHowLongClientsMayTake to send a body, and the rest of a body after the response.
func TestServer_BoundsHowLongClientsMayTake(t *testing.T) {
	for _, c := range []struct {
		name, head, body string
		status           string // of the response
		ends             time.Duration
	}{
		{"with a valid token, no body comes", "POST /scim/v2/Users", "", "408", time.Minute},
		{"with a valid token, half a body comes", "POST /scim/v2/Users", `{"userName":`, "408", time.Minute},
		{"a GET with a body that does not come", "GET /scim/v2/ServiceProviderConfig", "", "200", 5 * time.Second},
		{"an invalid token", "PATCH /scim/v2/Users/1", "", "401", 5 * time.Second},
		{"no token", "POST /scim/v2/Users", "", "401", 5 * time.Second},
		{"no token, for the token endpoint", "POST /scim/token", "grant_type=", "400", 5 * time.Second},
		{"no endpoint of ours", "POST /nothing", "", "401", 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			serveOnPipes(t, func(t *testing.T, dial func() net.Conn, token string) {
				switch {
				case strings.HasPrefix(c.name, "an invalid token"):
					token = "wrong"
				case strings.HasPrefix(c.name, "no"):
					token = ""
				}
				conn := dial()
				defer conn.Close()
				head := c.head + " HTTP/1.1\r\nHost: scim.example.com\r\nContent-Length: 100\r\n"
				if token != "" {
					head += "Authorization: Bearer " + token + "\r\n"
				}
				if strings.HasSuffix(c.head, "/token") {
					head += "Content-Type: application/x-www-form-urlencoded\r\n"
				}
				begun := time.Now()
				_, _ = io.WriteString(conn, head+"\r\n"+c.body)
				br := bufio.NewReader(conn)
				line, err := br.ReadString('\n')
				if err != nil || !strings.Contains(line, " "+c.status+" ") {
					t.Errorf("the response begins %q, %v; want %s", line, err, c.status)
				}
				if _, err := io.Copy(io.Discard, br); err != nil {
					t.Errorf("the connection ends with %v", err)
				}
				if took := time.Since(begun); took < c.ends || took > c.ends+10*time.Second {
					t.Errorf("the connection ends after %s, want %s", took, c.ends)
				}
			})
		})
	}
}

// TestServer_KeepsConnectionBetweenRequests: the deadlines of one request do not end the next on the same connection.
func TestServer_KeepsConnectionBetweenRequests(t *testing.T) {
	serveOnPipes(t, func(t *testing.T, dial func() net.Conn, token string) {
		conn := dial()
		defer conn.Close()
		br := bufio.NewReader(conn)
		for i := range 3 {
			_, _ = io.WriteString(conn, "GET /scim/v2/Schemas HTTP/1.1\r\nHost: scim.example.com\r\nAuthorization: Bearer "+token+"\r\n\r\n")
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("request %d: %v", i, err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("request %d: status %d, %v", i, resp.StatusCode, err)
			}
			time.Sleep(2 * time.Minute)
		}
		const body = `{"userName":"u"}`
		_, _ = fmt.Fprintf(conn, "POST /scim/v2/Users HTTP/1.1\r\nHost: scim.example.com\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", token, len(body))
		if line, err := br.ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("the body is asked for by %q, %v", line, err)
		}
		_, _ = br.ReadString('\n')
		_, _ = io.WriteString(conn, body)
		if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != http.StatusCreated {
			t.Errorf("after 100 Continue: %v, %v", resp, err)
		}
	})
}

// TestServer_BoundsHowLongResponsesAreRead: a client that does not read its response loses the connection, or with HTTP/2
// the stream.
func TestServer_BoundsHowLongResponsesAreRead(t *testing.T) {
	t.Run("HTTP/1.1", func(t *testing.T) {
		serveOnPipes(t, func(t *testing.T, dial func() net.Conn, token string) {
			conn := dial()
			defer conn.Close()
			_, _ = io.WriteString(conn, "GET /scim/v2/Schemas HTTP/1.1\r\nHost: scim.example.com\r\nAuthorization: Bearer "+token+"\r\n\r\n")
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			data, err := io.ReadAll(conn)
			if len(data) > 8<<10 || err != nil {
				t.Errorf("after two minutes, %d bytes can be read, %v", len(data), err)
			}
		})
	})
	t.Run("HTTP/2", func(t *testing.T) {
		serveOnPipes(t, func(t *testing.T, dial func() net.Conn, token string) {
			conn := dial()
			defer conn.Close()
			if err := resetAfter(conn, token, time.Minute); err != nil {
				t.Error(err)
			}
		})
	})
}

// resetAfter asks for a response over HTTP/2 without a window for it, and checks that the stream is reset after a time.
func resetAfter(conn net.Conn, token string, want time.Duration) error {
	var block bytes.Buffer
	headers := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "scim.example.com"}, {":path", "/scim/v2/Schemas"}, {"authorization", "Bearer " + token}} {
		_ = headers.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	frames := http2.NewFramer(conn, conn)
	begun := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, http2.ClientPreface)
		sent <- errors.Join(err, frames.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}),
			frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	}()
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			return fmt.Errorf("the connection ends: %w", err)
		}
		switch frame := frame.(type) {
		case *http2.DataFrame:
			if len(frame.Data()) > 0 {
				return errors.New("data comes beyond the window")
			}
		case *http2.RSTStreamFrame:
			if took := time.Since(begun); took < want || took > want+10*time.Second {
				return fmt.Errorf("the stream is reset after %s, want %s", took, want)
			}
			return <-sent
		}
	}
}
