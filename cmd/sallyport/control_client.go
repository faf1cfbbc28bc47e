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

	"sallyport/config"
	"sallyport/listen"
)

// controlClient calls the control socket of the running server. If no server runs, it opens the store itself and serves
// its own call.
type controlClient struct {
	file *config.File
}

func newControlClient(cmd *cobra.Command) (*controlClient, error) {
	file, err := config.Load(configPath(cmd))
	return &controlClient{file}, err
}

// call sends in as JSON (nil: nothing) and decodes the response into out (nil: it is dropped).
func (c *controlClient) call(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	return c.send(ctx, method, path, &body, func(resp *http.Response) error { return decodeResponse(resp, out) })
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
	if isNotListening(err) {
		return c.runStandalone(ctx, req, use)
	}
	if err != nil {
		return fmt.Errorf("calling the running server over %s: %w", c.file.Control.Socket, err)
	}
	defer resp.Body.Close()
	return use(resp)
}

func (c *controlClient) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.file.Control.Socket)
		},
	}}
}

func isNotListening(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// runStandalone does a running server's part for one call. The lock of the store makes sure that no server runs. The
// control socket is open meanwhile, so that other commands can be run at the same time.
func (c *controlClient) runStandalone(ctx context.Context, req *http.Request, use func(*http.Response) error) error {
	log := slog.New(slog.DiscardHandler)
	parts, err := openComponents(ctx, c.file, false, log)
	if err != nil {
		return err
	}
	return parts.during(ctx, func(ctx context.Context) error {
		l, err := listenControl(c.file.Control.Socket)
		if err != nil {
			return err
		}
		api := &control{admin: parts.admin(nil), log: log}
		server := &http.Server{Handler: api.handler(), ReadHeaderTimeout: listen.HeaderTimeout, ConnContext: withPeer}
		go func() { _ = server.Serve(l) }()
		defer server.Close()
		defer os.Remove(c.file.Control.Socket)
		resp, err := c.http().Do(req)
		if err != nil {
			return fmt.Errorf("calling the control socket %s of this process: %w", c.file.Control.Socket, err)
		}
		defer resp.Body.Close()
		return use(resp)
	})
}
