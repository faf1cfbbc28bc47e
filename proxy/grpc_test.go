package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcWorld starts a world whose upstream is a gRPC service over h2c, and returns it with the service and a client that
// calls the service through the proxy.
func grpcWorld(t *testing.T, host string) (*world, *health.Server, grpc_health_v1.HealthClient) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service, server := health.NewServer(), grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, service)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	w := newWorld(t, func(s *Settings) {
		for i := range s.Routes {
			s.Routes[i].Upstream = Upstreams{"h2c://" + l.Addr().String()}
		}
	})
	conn, err := grpc.NewClient(w.server.Listener.Addr().String(), grpc.WithAuthority(host),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})))
	w.must(err)
	t.Cleanup(func() { _ = conn.Close() })
	return w, service, grpc_health_v1.NewHealthClient(conn)
}

// TestGRPC checks calls and streams, and the status that gRPC sends in trailers.
func TestGRPC_CallsAndStreams(t *testing.T) {
	w, service, client := grpcWorld(t, openHost)
	service.SetServingStatus("app", grpc_health_v1.HealthCheckResponse_SERVING)
	res, err := client.Check(w.ctx, &grpc_health_v1.HealthCheckRequest{Service: "app"})
	if err != nil || res.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", res, err)
	}
	if _, err := client.Check(w.ctx, &grpc_health_v1.HealthCheckRequest{Service: "unknown"}); status.Code(err) != codes.NotFound {
		t.Errorf("an error of the service arrives as %v", err)
	}
	ctx, stop := context.WithTimeout(w.ctx, 10*time.Second)
	defer stop()
	stream, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: "app"})
	w.must(err)
	for _, want := range []grpc_health_v1.HealthCheckResponse_ServingStatus{grpc_health_v1.HealthCheckResponse_SERVING, grpc_health_v1.HealthCheckResponse_NOT_SERVING} {
		if res, err := stream.Recv(); err != nil || res.Status != want {
			t.Errorf("%v, %v", res, err)
		}
		service.SetServingStatus("app", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	}
}

// TestGRPC_Callers checks that callers are identified by their token, denied with a status of gRPC, and cut.
func TestGRPC_Callers(t *testing.T) {
	w, _, client := grpcWorld(t, appHost)
	if _, err := client.Check(w.ctx, &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("an anonymous call: %v", err)
	}
	as := func(name string) context.Context {
		return metadata.AppendToOutgoingContext(w.ctx, "authorization", "Bearer "+w.token(name, nil))
	}
	if _, err := client.Check(as("bob"), &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a call of bob: %v", err)
	}
	stream, err := client.Watch(as("alice"), &grpc_health_v1.HealthCheckRequest{})
	w.must(err)
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	w.setActive("alice", false)
	w.proxy.review()
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on")
	}
}
