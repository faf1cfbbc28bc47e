package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"sallyport/listen"
)

// TestSCIM_MissingBodyEndsConnection: a request whose body never comes does not occupy a connection to the SCIM
// listener, whether it is accepted or rejected.
func TestSCIM_MissingBodyEndsConnection(t *testing.T) {
	s := newStage(t)
	for name, request := range map[string]string{
		"without a token":       "POST /scim/v2/Users HTTP/1.1\r\nHost: " + loginHost + "\r\nContent-Length: 100\r\n\r\n",
		"to the token endpoint": "POST /scim/token HTTP/1.1\r\nHost: " + loginHost + "\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n",
		"to an unknown path":    "POST /nothing HTTP/1.1\r\nHost: " + loginHost + "\r\nContent-Length: 100\r\n\r\n",
		"of a GET":              "GET /scim/v2/ServiceProviderConfig HTTP/1.1\r\nHost: " + loginHost + "\r\nAuthorization: Bearer " + s.push.token + "\r\nContent-Length: 100\r\n\r\n",
		"with an invalid token": "PATCH /scim/v2/Users/1 HTTP/1.1\r\nHost: " + loginHost + "\r\nAuthorization: Bearer x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := tls.Dial("tcp", s.server.addrs["scim"], &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conn, request)
			response, err := io.ReadAll(conn)
			if wait := net.Error(nil); errors.As(err, &wait) && wait.Timeout() {
				t.Errorf("the connection stays open: %.40q", response)
			}
		})
	}
}

// TestListeners_StalledHandshakeEnds: a TLS handshake may take as long as the headers of a request.
func TestListeners_StalledHandshakeEnds(t *testing.T) {
	s := newStage(t)
	var all sync.WaitGroup
	for _, name := range []string{"public", "scim"} {
		for _, hello := range []string{"", "\x16\x03\x01", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"} {
			conn, err := net.Dial("tcp", s.server.addrs[name])
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(2 * listen.HeaderTimeout))
				_, _ = io.WriteString(conn, hello)
				if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s: after %x it waits for more", name, hello)
				}
			})
		}
	}
	all.Wait()
}
