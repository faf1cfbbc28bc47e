package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"sallyport/config"
)

// pollEvery is how often the files are looked at for a change of content.
const pollEvery = 2 * time.Second

// reloader keeps the running settings equal to the file's: on SIGHUP, on the
// reload verb, and when the content of the file (or of a certificate) changes.
// A file that does not load changes nothing.
type reloader struct {
	path  string
	apply func(*config.File) error
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	started *config.File
	latest  *config.File // the last without a fault: the files it names are looked at
	seen    []byte       // digest of the files when last looked at

	successful, successTime prometheus.Gauge
}

func newReloader(path string, file *config.File, apply func(*config.File) error, log *slog.Logger) *reloader {
	r := &reloader{path: path, started: file, latest: file, apply: apply, log: log,
		successful: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sallyport_config_last_reload_successful",
			Help: "1 if the configuration file, when last read, was put in force; else 0."}),
		successTime: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sallyport_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration file was last put in force."}),
	}
	r.seen = r.digest(file)
	r.succeeded()
	return r
}

func (r *reloader) succeeded() {
	r.successful.Set(1)
	r.successTime.SetToCurrentTime()
}

// Run reloads on every signal from hup and on every change of content.
func (r *reloader) Run(ctx context.Context, hup <-chan os.Signal) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-hup:
			_ = r.Reload(ctx) // logged and counted there
		case <-tick.C:
			if r.contentChanged() {
				_ = r.Reload(ctx)
			}
		}
	}
}

// Reload reads the file now and puts it in force, or keeps what is in force and says why.
func (r *reloader) Reload(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.load()
	if err != nil {
		r.successful.Set(0)
		r.log.Error("configuration not reloaded; the former settings stay in force", "err", err)
		return err
	}
	r.succeeded()
	r.log.Info("configuration reloaded")
	return nil
}

func (r *reloader) load() error {
	file, err := config.Load(r.path)
	if err != nil {
		return err
	}
	r.latest, r.seen = file, r.digest(file)
	if err := r.apply(file); err != nil {
		return err
	}
	if keys := needRestart(r.started, file); len(keys) > 0 {
		r.log.Warn("some changed settings take effect only after a restart", "keys", strings.Join(keys, ", "))
	}
	return nil
}

// needRestart names the changed keys that a running server cannot change.
func needRestart(old, new *config.File) (keys []string) {
	changed := func(key string, a, b any) {
		if !reflect.DeepEqual(a, b) {
			keys = append(keys, key)
		}
	}
	changed("listen", old.Listen, new.Listen)
	changed("tls.off", old.TLS.Off, new.TLS.Off)
	changed("tls.acme", old.TLS.ACME, new.TLS.ACME)
	changed("store", old.Store, new.Store)
	changed("control", old.Control, new.Control)
	changed("oidc", old.OIDC, new.OIDC)
	changed("session", old.Session, new.Session)
	changed("scim", old.SCIM, new.SCIM)
	changed("audit", old.Audit, new.Audit)
	changed("log", old.Log, new.Log)
	return keys
}

func (r *reloader) contentChanged() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.digest(r.latest)
	if bytes.Equal(now, r.seen) {
		return false
	}
	r.seen = now
	return true
}

// digest is of the content of the configuration file and of the certificate it
// names. A file that cannot be read counts as empty: reading it again later
// shows a change.
func (r *reloader) digest(file *config.File) []byte {
	h := sha256.New()
	for _, path := range []string{r.path, file.TLS.CertFile, file.TLS.KeyFile} {
		data, _ := os.ReadFile(path)
		fmt.Fprintf(h, "%d:", len(data))
		h.Write(data)
	}
	return h.Sum(nil)
}

func reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running server read its configuration again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := newOperator(cmd)
			if err != nil {
				return err
			}
			return o.ask(cmd.Context(), "POST", "/reload", nil, nil)
		},
	}
}
