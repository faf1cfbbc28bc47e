package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"sallyport/listen"
	"sallyport/store"
)

// metrics returns a registry with the metrics of every part.
func (s *server) metrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "sallyport_build_info", Help: "Always 1; the labels name the running version.",
		ConstLabels: prometheus.Labels{"version": version, "revision": commit(), "goversion": runtime.Version()}})
	build.Set(1)
	reg.MustRegister(build, s.reloader.successful, s.reloader.successTime, overdueReviews(s.components.grants),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, part := range []interface{ Collectors() []prometheus.Collector }{
		s.components.store, s.components.directory, s.components.sessions, s.components.grants, s.components.record, s.components.sinks, s.components.webhooks, s.proxy.Provider(), s.proxy, s.scim.Load(), latestCertificates(s.certs), s.proxyProto, s.inspector, s.tracing,
		s.connections.public, s.connections.scim,
	} {
		reg.MustRegister(part.Collectors()...)
	}
	return reg
}

// latestCertificates has the metrics of the certificates in force.
type latestCertificates func() *listen.Certificates

// Collectors returns the metrics.
func (l latestCertificates) Collectors() []prometheus.Collector { return []prometheus.Collector{l} }

// Describe implements [prometheus.Collector].
func (l latestCertificates) Describe(out chan<- *prometheus.Desc) { l().Describe(out) }

// Collect implements [prometheus.Collector].
func (l latestCertificates) Collect(out chan<- prometheus.Metric) { l().Collect(out) }

// opsHandler serves operators, without authentication: it must never be public.
func (s *server) opsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{Registry: s.registry, EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	return mux
}

// ready reports whether the proxy can do all that it is there for and is not about to stop: its memory is current, the
// audit record can be written, and the store accepts changes. An unreachable identity provider does not matter: people who
// are signed in go on working. With audit.on_failure: allow, a full disk does not matter either, as long as it is that of the
// record too: whoever chose that wants requests to go on, which a load balancer decides by this.
func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.stopping.Load() {
		http.Error(w, "not ready: the server is stopping", http.StatusServiceUnavailable)
		return
	}
	unrecorded := s.components.record.Unrecorded()
	errs := []error{s.components.directory.Fresh()}
	// While a database is away, requests are decided until Fresh says no. It is away for all replicas at once, and a load
	// balancer would have nobody left.
	away := s.components.store.Err()
	if !errors.Is(away, store.ErrUnreachable) {
		if unrecorded == nil || !errors.Is(away, store.ErrFull) {
			errs = append(errs, away)
		}
		away = nil
	}
	if unrecorded == nil {
		errs = append(errs, s.components.record.Err())
	}
	if err := errors.Join(errs...); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, readyText)
	if unrecorded != nil {
		fmt.Fprintln(w, unrecorded)
	}
	if away != nil {
		fmt.Fprintf(w, "requests are decided until the lease runs out, and nothing can be changed: %s\n", away)
	}
}

// readyText is the first line of /readyz when the server is ready. Others say what is not as it should be.
const readyText = "ready"

func healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Check that the running server is ready (for container health checks)",
		Long: "Check that the running server is ready (for container health checks). A fault in the configuration file does not matter:\n" +
			"the running server is asked at the address that it left beside its store.",
		Example:     "  sallyport healthcheck -c /etc/sallyport/sallyport.yaml",
		Annotations: exits(exitError, "the server is not ready, or does not respond"),
		Args:        cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return findInstallation(configPath(cmd)).checkReady(cmd.Context())
		},
	}
}

// getOps sends a GET request to the ops listener at addr.
func getOps(ctx context.Context, addr, path string) (status int, body string, err error) {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+dialAddr(addr)+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	return resp.StatusCode, string(data), err
}

// dialAddr returns an address that can be dialed for a listener's address: localhost in place of an unspecified one.
func dialAddr(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
