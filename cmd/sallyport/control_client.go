package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/config"
	"sallyport/listen"
	"sallyport/proxy"
)

// controlClient calls the control socket of the running server. If no server runs, it opens the store itself and serves
// its own call.
type controlClient struct {
	installation
	notes io.Writer // for what a person should know beside the result
}

// newControlClient returns a client of the server with the configuration file that -c names. Mistakes in the file do not
// matter while that server runs.
func newControlClient(cmd *cobra.Command) (*controlClient, error) {
	i := findInstallation(configPath(cmd))
	if len(i.sockets()) == 0 {
		return nil, i.unreachable()
	}
	return &controlClient{i, cmd.ErrOrStderr()}, nil
}

// call sends in as JSON (nil: nothing) and decodes the response into out (nil: it is dropped).
func (c *controlClient) call(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	return c.send(ctx, method, path, &body, func(resp *http.Response) error {
		for _, outcome := range resp.Header.Values(enforcedHeader) {
			fmt.Fprintf(c.notes, "note: %s\n", printable(outcome))
		}
		return decodeResponse(resp, out)
	})
}

const maxControlResponse = 1 << 30 // bytes

func decodeResponse(resp *http.Response, out any) error {
	if err := responseError(resp); err != nil || out == nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxControlResponse))
	if err != nil {
		return fmt.Errorf("reading the server's response: %w", err)
	}
	return json.Unmarshal(data, out)
}

// responseError returns the error that a response reports.
func responseError(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var body errorBody
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&body); err != nil || body.Error == "" {
		return fmt.Errorf("the server responded with %s", resp.Status)
	}
	return errors.New(body.Error)
}

// send calls use with the response of the running server or of this process.
func (c *controlClient) send(ctx context.Context, method, path string, body io.Reader, use func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http().Do(req)
	if notListening := (*notListeningError)(nil); errors.As(err, &notListening) {
		return c.runStandalone(ctx, req, use)
	}
	if err != nil {
		return fmt.Errorf("calling the running server: %w", err)
	}
	defer resp.Body.Close()
	return use(resp)
}

func (c *controlClient) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dialFirst(ctx, c.sockets()) },
	}}
}

// notListeningError means that no server listens on any of the control sockets where one could be.
type notListeningError struct{ errs []error }

func (e *notListeningError) Error() string { return errors.Join(e.errs...).Error() }

// dialFirst connects to the first of the sockets on which a server listens. A socket that cannot be opened for another
// reason may be a running server's, so its error is not a [notListeningError].
func dialFirst(ctx context.Context, sockets []string) (net.Conn, error) {
	var absent []error
	for _, socket := range sockets {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn, nil
		}
		if !isNotListening(err) {
			return nil, err
		}
		absent = append(absent, err)
	}
	return nil, &notListeningError{absent}
}

func isNotListening(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTSOCK) || errors.Is(err, syscall.ENOTDIR)
}

// runStandalone does a running server's part for one call. The lock of the store makes sure that no server runs. The
// control socket is open meanwhile, so that other commands can be run at the same time.
func (c *controlClient) runStandalone(ctx context.Context, req *http.Request, use func(*http.Response) error) error {
	if c.err != nil {
		return c.unreachable()
	}
	log := slog.New(slog.DiscardHandler)
	parts, err := openComponents(ctx, c.file, false, nil, log)
	if err != nil {
		return err
	}
	return parts.during(ctx, func(ctx context.Context) error {
		l, err := listenControl(c.file.Control.Socket)
		if err != nil {
			return err
		}
		rules, err := proxy.CompileRules(c.file.Proxy())
		if err != nil {
			return err
		}
		inForce := func() *proxy.Rules { return rules }
		operators := parts.admin(&rulesInForce{rules: inForce, file: func() *config.File { return c.file }}, c.file.Audit.File, admin.Parts{Record: openedRecord(c.file.Audit.File)})
		api := &control{admin: operators, store: parts.store, questions: &questions{admin: operators, directory: parts.directory, grants: parts.grants, rules: inForce, recordReader: recordReader{c.file.Audit.File, parts.store}}, webhooks: parts.webhooks, log: log}
		server := &http.Server{Handler: api.handler(), ReadHeaderTimeout: listen.HeaderTimeout, ConnContext: withPeer}
		go func() { _ = server.Serve(l) }()
		defer server.Close()
		resp, err := c.http().Do(req)
		if err != nil {
			return fmt.Errorf("calling the control socket %s of this process: %w", c.file.Control.Socket, err)
		}
		defer resp.Body.Close()
		return use(resp)
	})
}
