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

// operator sends a verb's question to the control of the running server, or,
// when none runs, opens the store itself and asks a control of its own.
type operator struct {
	file *config.File
}

func newOperator(cmd *cobra.Command) (*operator, error) {
	file, err := config.Load(configPath(cmd))
	return &operator{file}, err
}

// ask sends in (nil: nothing) and decodes the answer into out (nil: dropped).
func (o *operator) ask(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	return o.send(ctx, method, path, &body, func(r *http.Response) error { return decodeAnswer(r, out) })
}

func decodeAnswer(r *http.Response, out any) error {
	data, err := io.ReadAll(io.LimitReader(r.Body, 1<<30))
	if err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	if r.StatusCode != http.StatusOK {
		var problem struct{ Error string }
		if json.Unmarshal(data, &problem) != nil || problem.Error == "" {
			problem.Error = "the server answered " + r.Status
		}
		return errors.New(problem.Error)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}

func (o *operator) send(ctx context.Context, method, path string, body io.Reader, use func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, body)
	if err != nil {
		return err
	}
	resp, err := o.client().Do(req)
	if nobodyListens(err) {
		return o.alone(ctx, req, use)
	}
	if err != nil {
		return fmt.Errorf("asking the running server over %s: %w", o.file.Control.Socket, err)
	}
	defer resp.Body.Close()
	return use(resp)
}

func (o *operator) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", o.file.Control.Socket)
		},
	}}
}

func nobodyListens(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// alone does the server's part for the length of one verb: it opens the store
// (whose lock makes sure that no server runs) and answers on the same socket.
func (o *operator) alone(ctx context.Context, req *http.Request, use func(*http.Response) error) error {
	quiet := slog.New(slog.DiscardHandler)
	r, err := openComponents(ctx, o.file, false, quiet)
	if err != nil {
		return err
	}
	return r.during(ctx, func(ctx context.Context) error {
		l, err := listenControl(o.file.Control.Socket)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: r.control().handler(), ReadHeaderTimeout: listen.HeaderTimeout}
		go func() { _ = server.Serve(l) }()
		defer server.Close()
		defer os.Remove(o.file.Control.Socket)
		resp, err := o.client().Do(req)
		if err != nil {
			return fmt.Errorf("asking over %s: %w", o.file.Control.Socket, err)
		}
		defer resp.Body.Close()
		return use(resp)
	})
}
