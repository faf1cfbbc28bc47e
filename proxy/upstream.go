package proxy

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"sync/atomic"

	"sallyport/pemfile"
	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/upstream"
)

// routeUpstream is the upstream of a route. A reload keeps it, and its connections, while its settings stay the same.
type routeUpstream struct {
	*upstream.Upstream
	settings Route             // the part of the route that the upstream depends on
	files    [sha256.Size]byte // digest of the files that the settings name
	live     atomic.Int64      // requests under way
}

// newUpstream returns the upstream of a route. It connects to nothing.
func newUpstream(r Route) (*routeUpstream, error) {
	config, files, err := r.UpstreamTLS.read()
	if err != nil {
		return nil, err
	}
	s := upstreamSettings(r)
	c := upstream.Config{TLS: config, Timeout: s.Timeout}
	switch s.UpstreamHost {
	case "", publicHost:
	case upstreamsHost:
		c.Host = upstream.TargetHost
	default:
		c.Host = s.UpstreamHost
	}
	if s.Health != nil {
		c.Health = &upstream.Health{Path: s.Health.Path, Every: s.Health.Every, Timeout: s.Health.Timeout}
	}
	for _, text := range r.Upstream {
		target, err := parseUpstream(text)
		if err != nil {
			return nil, err
		}
		c.Targets = append(c.Targets, target)
	}
	return &routeUpstream{Upstream: upstream.New(c), settings: s, files: files}, nil
}

// upstreamSettings returns the part of a route that its upstream depends on, with the defaults filled in.
func upstreamSettings(r Route) Route {
	s := Route{Name: r.Name, Upstream: r.Upstream, UpstreamTLS: r.UpstreamTLS, UpstreamHost: r.UpstreamHost, Timeout: cmp.Or(r.Timeout, defaultTimeout)}
	if r.Health != nil {
		s.Health = &Health{Path: r.Health.Path, Every: cmp.Or(r.Health.Every, defaultHealthEvery), Timeout: cmp.Or(r.Health.Timeout, defaultHealthTimeout)}
	}
	return s
}

// same reports whether an upstream made from r now would equal u.
func (u *routeUpstream) same(r Route) bool {
	if !reflect.DeepEqual(u.settings, upstreamSettings(r)) {
		return false
	}
	_, files, err := r.UpstreamTLS.read()
	return err == nil && files == u.files
}

// full reports whether the upstream has its share of the live requests. One that hangs leaves a fifth of the limit to
// the others.
func (u *routeUpstream) full(rt *routing) bool {
	return len(rt.routes) > 1 && u.live.Load() >= int64(rt.maxLive-rt.maxLive/5)
}

// read returns the TLS configuration that the files contain, and a digest of the files. Its error is a [*tlsFileError].
func (s UpstreamTLS) read() (*tls.Config, [sha256.Size]byte, error) {
	config, sum := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.ServerName}, sha256.New()
	content := map[string][]byte{}
	for key, file := range map[string]string{"ca_file": s.CAFile, "cert_file": s.CertFile, "key_file": s.KeyFile} {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, [sha256.Size]byte{}, &tlsFileError{key, "cannot be read: " + err.Error()}
		}
		content[key] = text
	}
	for _, key := range []string{"ca_file", "cert_file", "key_file"} {
		fmt.Fprintf(sum, "%d\n%s", len(content[key]), content[key])
	}
	if s.CAFile != "" {
		pool, err := pemfile.Parse(content["ca_file"])
		if err != nil {
			return nil, [sha256.Size]byte{}, &tlsFileError{"ca_file", s.CAFile + " " + err.Error()}
		}
		config.RootCAs = pool
	}
	if s.CertFile != "" {
		pair, err := tls.X509KeyPair(content["cert_file"], content["key_file"])
		if err != nil {
			return nil, [sha256.Size]byte{}, &tlsFileError{"cert_file", fmt.Sprintf("%s and key_file %s are no pair: %v", s.CertFile, s.KeyFile, err)}
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, [sha256.Size]byte(sum.Sum(nil)), nil
}

// tlsFileError says what is wrong with a file of upstream_tls.
type tlsFileError struct{ key, problem string }

func (e *tlsFileError) Error() string { return "upstream_tls." + e.key + ": " + e.problem }

// parseUpstream returns the URL of a target: scheme, host and port.
func parseUpstream(text string) (*url.URL, error) {
	u, err := upstream.ParseTarget(text)
	if err != nil {
		return nil, err
	}
	if _, err := canonical.Host(u.Host); err != nil {
		return nil, fmt.Errorf("%q: %w", text, err)
	}
	return u, nil
}
