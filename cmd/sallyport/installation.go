package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sallyport/config"
)

// installation is what commands know of a server: what the running server left beside its store, and the configuration
// file as it is now, which may have mistakes.
type installation struct {
	run  *runFile     // nil: no server runs, or it is not known where its store is
	file *config.File // what could be read of the configuration file; nil: nothing
	err  error        // why the configuration cannot be used; nil: it can
}

// findInstallation finds the server whose configuration file is at path.
func findInstallation(path string) installation {
	file, err := config.Salvage(path)
	i := installation{file: file, err: err}
	if file != nil {
		i.run = readRunFile(runFileOf(file)) // nil if that is ""
	}
	if i.run == nil {
		i.run = searchRunFile(path)
	}
	return i
}

// sockets returns where the server may listen for commands, the likeliest first.
func (i installation) sockets() (sockets []string) {
	if i.run != nil {
		sockets = append(sockets, i.run.Control)
	}
	if i.file != nil && i.file.Control.Socket != "" {
		sockets = append(sockets, i.file.Control.Socket)
	}
	return slices.Compact(sockets)
}

// opsAddrs returns the addresses where the ops listener may be, the likeliest first.
func (i installation) opsAddrs() (addrs []string) {
	if i.run != nil {
		addrs = append(addrs, i.run.Ops)
	}
	if i.file != nil && i.file.Listen.Ops != "" {
		addrs = append(addrs, i.file.Listen.Ops)
	}
	return slices.Compact(addrs)
}

// auditFile returns the path of the audit record.
func (i installation) auditFile() (string, error) {
	switch {
	case i.err == nil:
		return i.file.Audit.File, nil
	case i.run != nil:
		return i.run.Audit, nil
	}
	return "", i.err
}

// unreachable returns the error of a command that found no running server and cannot use the configuration.
func (i installation) unreachable() error {
	return fmt.Errorf("no running server was found, and the configuration cannot be used:\n%w", i.err)
}

// readMetrics returns the metrics of the running server.
func (i installation) readMetrics(ctx context.Context) (string, error) {
	_, body, err := i.getOps(ctx, "/metrics")
	return body, err
}

// checkReady returns an error if the server is not ready.
func (i installation) checkReady(ctx context.Context) error {
	status, body, err := i.getOps(ctx, "/readyz")
	if err != nil {
		return fmt.Errorf("the server does not respond on its ops listener: %w", err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("the server is not ready: %d %s: %s", status, http.StatusText(status), strings.TrimSpace(body))
	}
	return nil
}

// getOps sends a GET request to the ops listener, at the first address that responds.
func (i installation) getOps(ctx context.Context, path string) (status int, body string, err error) {
	addrs := i.opsAddrs()
	if len(addrs) == 0 {
		return 0, "", i.unreachable()
	}
	var errs []error
	for _, addr := range addrs {
		if status, body, err = getOps(ctx, addr, path); err == nil {
			return status, body, nil
		}
		errs = append(errs, err)
	}
	if i.err != nil && i.run == nil {
		errs = append(errs, i.err)
	}
	return 0, "", errors.Join(errs...)
}

// sameFile reports whether two paths name the same file, which need not exist any more.
func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	atA, errA := os.Stat(a) //nolint:gosec // of this program, or named by the operator
	atB, errB := os.Stat(b)
	if errA == nil && errB == nil && os.SameFile(atA, atB) {
		return true
	}
	if filepath.Base(a) != filepath.Base(b) {
		return false
	}
	inA, errA := os.Stat(filepath.Dir(a)) //nolint:gosec // likewise
	inB, errB := os.Stat(filepath.Dir(b))
	return errA == nil && errB == nil && os.SameFile(inA, inB)
}
