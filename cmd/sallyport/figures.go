package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"sallyport/admin"
	"sallyport/audit/rollup"
	"sallyport/console/manage"
)

// runFigures counts what the record says, and samples metrics, until ctx ends.
func (s *server) runFigures(ctx context.Context) error {
	sampled := prometheus.NewRegistry() // the others take longer: some ask the database
	for _, c := range append(s.proxy.Collectors(), s.components.sessions.Collectors()...) {
		if err := sampled.Register(c); err != nil {
			return err
		}
	}
	return s.rollup.Run(ctx, s.file.Audit.File, rollup.Metrics{Gatherer: sampled, Seconds: "sallyport_http_request_duration_seconds",
		Live: "sallyport_live_requests", Sessions: "sallyport_sessions_active", LeaveOut: []string{"_none", "_internal", manage.RouteName}}, s.log)
}

// facts returns what this process says of itself.
func (s *server) facts() admin.ReplicaFacts {
	f := admin.ReplicaFacts{Version: version, Started: s.started, Live: s.proxy.LiveCount(), Upstreams: []admin.Upstream{}, Certificates: []admin.Certificate{}}
	f.Replica, _ = recordName(s.file.Store)
	f.Stale, f.Record, f.Store = errorText(s.components.directory.Fresh()), errorText(s.components.record.Err()), errorText(s.components.store.Err())
	for _, h := range s.proxy.Health() {
		f.Upstreams = append(f.Upstreams, admin.Upstream(h))
	}
	for _, c := range s.certs().InUse() {
		f.Certificates = append(f.Certificates, admin.Certificate{Names: c.Names, Expires: c.NotAfter, Renewed: c.Renewed})
	}
	return f
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
